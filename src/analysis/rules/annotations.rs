//! Annotations of Istio on the kinds of Kubernetes: known, in their place, with a value that can be read.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::labels::INJECT;
use crate::api::text::enumeration;
use crate::inject::annotations::problem;
use crate::world::{ObjectKey, on_store};

use super::Report;

/// A kind of object that an annotation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Any,
    Pod,
    Service,
    Namespace,
    /// Kinds that are not checked here.
    Other(&'static str),
}

impl On {
    fn name(self) -> &'static str {
        match self {
            On::Any => "any object",
            On::Pod => "Pod",
            On::Service => "Service",
            On::Namespace => "Namespace",
            On::Other(name) => name,
        }
    }

    fn is(self, kind: Kind) -> bool {
        self == On::Any || self.name() == kind.as_str()
    }
}

/// An annotation that Istio knows.
struct Known {
    name: &'static str,
    on: &'static [On],
    deprecated: bool,
}

const fn known(name: &'static str, on: &'static [On]) -> Known {
    Known {
        name,
        on,
        deprecated: false,
    }
}

const fn deprecated(name: &'static str, on: &'static [On]) -> Known {
    Known {
        name,
        on,
        deprecated: true,
    }
}

const POD: &[On] = &[On::Pod];
const SERVICE: &[On] = &[On::Service];
const ANY: &[On] = &[On::Any];
const NAMESPACE: &[On] = &[On::Namespace];
const GATEWAY: &[On] = &[On::Other("Gateway")];
const WORKLOAD_ENTRY: &[On] = &[On::Other("WorkloadEntry")];

/// The registry of `istio.io/api/annotation`.
const KNOWN: &[Known] = &[
    deprecated("alpha.istio.io/canonical-serviceaccounts", SERVICE),
    deprecated("alpha.istio.io/kubernetes-serviceaccounts", SERVICE),
    known("ambient.istio.io/bypass-inbound-capture", POD),
    known("ambient.istio.io/dns-capture", POD),
    known("ambient.istio.io/redirection", POD),
    known(
        "ambient.istio.io/waypoint-inbound-binding",
        &[On::Other("GatewayClass"), On::Other("Gateway")],
    ),
    known("galley.istio.io/analyze-suppress", ANY),
    known("gateway.istio.io/controller-version", ANY),
    known("gateway.istio.io/name-override", GATEWAY),
    known("gateway.istio.io/service-account", GATEWAY),
    known("gateway.istio.io/tls-cipher-suites", GATEWAY),
    known("gateway.istio.io/tls-terminate-mode", GATEWAY),
    known("inject.istio.io/templates", POD),
    known("install.operator.istio.io/chart-owner", ANY),
    known("install.operator.istio.io/owner-generation", ANY),
    known("install.operator.istio.io/version", ANY),
    known("istio.io/autoRegistrationGroup", WORKLOAD_ENTRY),
    known("istio.io/connectedAt", WORKLOAD_ENTRY),
    known("istio.io/disconnectedAt", WORKLOAD_ENTRY),
    known("istio.io/dry-run", &[On::Other("AuthorizationPolicy")]),
    known("istio.io/reroute-virtual-interfaces", POD),
    known("istio.io/rev", POD),
    known("istio.io/workloadController", WORKLOAD_ENTRY),
    known("kubernetes.io/ingress.class", &[On::Other("Ingress")]),
    known("networking.istio.io/address-type", GATEWAY),
    known("networking.istio.io/exportTo", SERVICE),
    known("networking.istio.io/service-type", GATEWAY),
    known(
        "networking.istio.io/traffic-distribution",
        &[On::Service, On::Other("ServiceEntry"), On::Namespace],
    ),
    known("prometheus.istio.io/merge-metrics", POD),
    known("prometheus.istio.io/scrape-targets", POD),
    known("proxy.istio.io/config", POD),
    known("proxy.istio.io/overrides", POD),
    known("readiness.status.sidecar.istio.io/applicationPorts", POD),
    known("readiness.status.sidecar.istio.io/failureThreshold", POD),
    known("readiness.status.sidecar.istio.io/initialDelaySeconds", POD),
    known("readiness.status.sidecar.istio.io/periodSeconds", POD),
    known("sidecar.istio.io/agentLogLevel", POD),
    known("sidecar.istio.io/bootstrapOverride", POD),
    known("sidecar.istio.io/capNetBindService", POD),
    known("sidecar.istio.io/componentLogLevel", POD),
    deprecated("sidecar.istio.io/controlPlaneAuthPolicy", POD),
    deprecated("sidecar.istio.io/discoveryAddress", POD),
    known("sidecar.istio.io/enableCoreDump", POD),
    deprecated("sidecar.istio.io/extraStatTags", POD),
    deprecated(INJECT, POD),
    known("sidecar.istio.io/interceptionMode", POD),
    known("sidecar.istio.io/logLevel", POD),
    known("sidecar.istio.io/nativeSidecar", POD),
    known("sidecar.istio.io/proxyCPU", POD),
    known("sidecar.istio.io/proxyCPULimit", POD),
    known("sidecar.istio.io/proxyImage", POD),
    known("sidecar.istio.io/proxyImageType", POD),
    known("sidecar.istio.io/proxyMemory", POD),
    known("sidecar.istio.io/proxyMemoryLimit", POD),
    known("sidecar.istio.io/rewriteAppHTTPProbers", POD),
    known("sidecar.istio.io/statsCompression", POD),
    known("sidecar.istio.io/statsHistogramBuckets", POD),
    deprecated("sidecar.istio.io/statsInclusionPrefixes", POD),
    deprecated("sidecar.istio.io/statsInclusionRegexps", POD),
    deprecated("sidecar.istio.io/statsInclusionSuffixes", POD),
    known("sidecar.istio.io/status", POD),
    known("sidecar.istio.io/userVolume", POD),
    known("sidecar.istio.io/userVolumeMount", POD),
    known("status.sidecar.istio.io/port", POD),
    known("topology.istio.io/controlPlaneClusters", NAMESPACE),
    known("traffic.istio.io/nodeSelector", SERVICE),
    known("traffic.sidecar.istio.io/excludeInboundPorts", POD),
    known("traffic.sidecar.istio.io/excludeInterfaces", POD),
    known("traffic.sidecar.istio.io/excludeOutboundIPRanges", POD),
    known("traffic.sidecar.istio.io/excludeOutboundPorts", POD),
    known("traffic.sidecar.istio.io/includeInboundPorts", POD),
    known("traffic.sidecar.istio.io/includeOutboundIPRanges", POD),
    known("traffic.sidecar.istio.io/includeOutboundPorts", POD),
    deprecated("traffic.sidecar.istio.io/kubevirtInterfaces", POD),
];

/// Every annotation of Istio on a Namespace, Service, Pod or Deployment is known, is for that kind, and can be read.
/// Istio: IST0107, IST0108, IST0125, IST0135.
pub(super) fn annotations_are_right(view: &View<'_>, key: &ObjectKey, report: &mut Report<'_>) {
    if !matches!(
        key.kind,
        Kind::Namespace | Kind::Service | Kind::Pod | Kind::Deployment
    ) {
        return;
    }
    let meta = on_store!(key.kind, Spec => view.object::<Spec>(key).map(|object| &object.meta));
    let Some(meta) = meta else { return };
    for (name, value) in &meta.annotations {
        if !is_istios(name) {
            continue;
        }
        let path = format!("metadata.annotations.{name}");
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
            let hint = report
                .hints
                .did_you_mean(name, KNOWN.iter().map(|known| known.name));
            let text = format!("Istio knows no annotation {name}{hint}");
            report.say(&say::UNKNOWN_ANNOTATION, path, text);
            continue;
        };
        if known.deprecated && !(name == INJECT && meta.labels.contains_key(INJECT)) {
            let instead = if name == INJECT {
                "; use the label of the same name"
            } else {
                ""
            };
            let text = format!("annotation {name} is deprecated{instead}");
            report.say(&say::DEPRECATED_ANNOTATION, path.as_str(), text);
        }
        if !known.on.iter().any(|on| on.is(key.kind)) {
            let places = enumeration(known.on.iter().map(|on| on.name()));
            let hint = if key.kind == Kind::Deployment && known.on.contains(&On::Pod) {
                "; its pods have those of spec.template.metadata"
            } else {
                ""
            };
            let text = format!(
                "annotation {name} is read on {places}, not on a {}{hint}",
                key.kind
            );
            report.say(&say::MISPLACED_ANNOTATION, path, text);
        } else if let Some(why) = problem(name, value) {
            report.say(&say::INVALID_ANNOTATION, path, format!("{value:?}: {why}"));
        }
    }
}

fn is_istios(name: &str) -> bool {
    let domain = name.split_once('/').map_or(name, |(domain, _)| domain);
    domain == "istio.io" || domain.ends_with(".istio.io") || name == "kubernetes.io/ingress.class"
}
