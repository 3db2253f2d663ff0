//! What Istio has given up: fields, kinds, and versions of CRDs.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::{SidecarSpec, VirtualServiceSpec};
use crate::world::CustomResourceDefinitionSpec;

use super::{Inspected, Report};

/// CRDs of kinds that Istio has removed.
const REMOVED: [(&str, &str); 4] = [
    ("clusterrbacconfigs.rbac.istio.io", "ClusterRbacConfig"),
    ("rbacconfigs.rbac.istio.io", "RbacConfig"),
    ("servicerolebindings.rbac.istio.io", "ServiceRoleBinding"),
    ("serviceroles.rbac.istio.io", "ServiceRole"),
];

/// The oldest release of the Gateway API from which each CRD is read.
const OLDEST: [(&str, Version); 3] = [
    ("backendtlspolicies.gateway.networking.k8s.io", (1, 4, 0)),
    ("grpcroutes.gateway.networking.k8s.io", (1, 1, 0)),
    ("tlsroutes.gateway.networking.k8s.io", (1, 5, 0)),
];

/// On CRDs of the Gateway API: the release that they are of.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

type Version = (u64, u64, u64);

/// Faults are injected by `percentage`. Istio: IST0002.
pub(super) fn faults_name_a_percentage(
    _: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    for (index, route) in object.spec.http.iter().enumerate() {
        let delay = route.fault.as_ref().and_then(|fault| fault.delay.as_ref());
        if delay.is_some_and(|delay| delay.percent > 0) {
            let path = format!("spec.http[{index}].fault.delay.percent");
            report.say(
                &say::DEPRECATED,
                path,
                "percent is deprecated; use percentage",
            );
        }
    }
}

/// No Sidecar names an egress proxy, which is ignored. Istio: IST0002.
pub(super) fn sidecars_name_no_egress_proxy(
    _: &View<'_>,
    object: &Inspected<'_, SidecarSpec>,
    report: &mut Report<'_>,
) {
    let policy = object.spec.outbound_traffic_policy.as_ref();
    if policy.is_some_and(|policy| policy.egress_proxy.is_some()) {
        let path = "spec.outboundTrafficPolicy.egressProxy";
        report.say(&say::DEPRECATED, path, "egressProxy is ignored");
    }
}

/// No CRD defines a kind that Istio has removed, and those of the Gateway API are new enough. Istio: IST0002, IST0176.
pub(super) fn definitions_are_read(
    _: &View<'_>,
    object: &Inspected<'_, CustomResourceDefinitionSpec>,
    report: &mut Report<'_>,
) {
    let name = &*object.key.name;
    if let Some((_, kind)) = REMOVED.iter().find(|(removed, _)| *removed == name) {
        let text =
            format!("{kind} of rbac.istio.io was removed; AuthorizationPolicy has taken its place");
        report.say(&say::DEPRECATED, "", text);
    }
    let Some((_, oldest)) = OLDEST.iter().find(|(known, _)| *known == name) else {
        return;
    };
    let Some(written) = object.meta.annotations.get(BUNDLE_VERSION) else {
        return;
    };
    if version(written).is_some_and(|version| version < *oldest) {
        let (major, minor, patch) = oldest;
        let text = format!(
            "the CRD is of release {written} of the Gateway API; {major}.{minor}.{patch} is the oldest that is read"
        );
        let path = format!("metadata.annotations.{BUNDLE_VERSION}");
        report.say(&say::GATEWAY_API_TOO_OLD, path, text);
    }
}

/// A version without what follows the three numbers.
fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = text.split(['-', '+']).next()?.split('.').map(str::parse);
    let mut next = || numbers.next().map_or(Some(0), Result::ok);
    Some((next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn version_is_its_three_numbers() {
        assert_eq!(version("v1.4.0-rc.1"), Some((1, 4, 0)));
        assert_eq!(version("1.5"), Some((1, 5, 0)));
        assert!(version("v1.10.0") > version("v1.9.3"));
        assert_eq!(version("latest"), None);
    }
}
