//! Istio's policies: whom they select, what they name.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::{GatewaySpec, VirtualServiceSpec};
use crate::api::policies::{
    AccessLogging, AuthorizationPolicySpec, Policy, RequestAuthenticationSpec, TelemetrySpec,
};
use crate::model::{gateway_key, selects};
use crate::world::{Content, NamespaceSpec, Object, ObjectKey, PodSpec};

use super::gateways::listed;
use super::injection::{is_ambient, is_in_mesh};
use super::selectors::MOST_PODS;
use super::{Inspected, Report};

/// On pods that Istio made for a Gateway of the Gateway API: the name of that Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// What a condition on claims of a token begins with.
const CLAIMS: &str = "@request.auth.claims";

/// The policy selects a workload of the mesh. Istio: IST0127.
pub(super) fn authorization_policies_select_workloads(
    view: &View<'_>,
    object: &Inspected<'_, AuthorizationPolicySpec>,
    report: &mut Report<'_>,
) {
    let target = object.spec.target();
    let namespace = &object.key.namespace;
    let is_mesh_wide = **namespace == *view.settings().root_namespace;
    let in_mesh = |key: &ObjectKey, pod: &Object<PodSpec>| {
        let meta = &pod.meta;
        let spec = pod.spec().filter(|spec| !spec.has_ended());
        spec.is_some_and(|spec| {
            is_ambient(&meta.annotations)
                || is_in_mesh(view, &key.namespace, &meta.labels, &meta.annotations, spec)
        })
    };
    let of_namespace = || {
        view.objects::<PodSpec>(namespace)
            .any(|(key, pod)| in_mesh(key, pod))
    };
    let (found, path, wanted) = match target.labels() {
        Some(labels) => {
            let found = view
                .pods(labels)
                .filter(|pod| is_mesh_wide || pod.namespace == *namespace)
                .filter_map(|pod| Some((pod, view.object::<PodSpec>(pod)?)))
                .any(|(key, pod)| in_mesh(key, pod));
            let of = if is_mesh_wide {
                String::new()
            } else {
                format!(" of namespace {namespace}")
            };
            let wanted = format!("no pod{of} in the mesh has the labels {}", listed(labels));
            (found, "spec.selector.matchLabels", wanted)
        }
        None if is_mesh_wide || target.names_objects() => return,
        None => {
            let wanted = format!("namespace {namespace} has no pod in the mesh");
            (of_namespace(), "spec", wanted)
        }
    };
    if !found {
        report.say(&say::POLICY_WITHOUT_WORKLOADS, path, wanted);
    }
}

/// Every namespace that a rule names exists; a name may have a wildcard at one end. Istio: IST0101 (namespace).
pub(super) fn namespaces_of_rules_exist(
    view: &View<'_>,
    object: &Inspected<'_, AuthorizationPolicySpec>,
    report: &mut Report<'_>,
) {
    for (i, rule) in object.spec.rules.iter().enumerate() {
        for (j, from) in rule.from.iter().enumerate() {
            let Some(source) = &from.source else { continue };
            let lists = [
                ("namespaces", &source.namespaces),
                ("notNamespaces", &source.not_namespaces),
            ];
            for (list, names) in lists {
                for (k, name) in names.iter().enumerate() {
                    let path = format!("spec.rules[{i}].from[{j}].source.{list}[{k}]");
                    namespace_exists(view, name, path, report);
                }
            }
        }
    }
}

fn namespace_exists(view: &View<'_>, name: &str, path: String, report: &mut Report<'_>) {
    let names = || view.all::<NamespaceSpec>().map(|(key, _)| &*key.name);
    let is_meant = |namespace: &str| match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(suffix), _) => namespace.ends_with(suffix),
        (None, Some(prefix)) => namespace.starts_with(prefix),
        (None, None) => namespace.eq_ignore_ascii_case(name),
    };
    if !names().any(is_meant) {
        let hint = report.hints.did_you_mean(name, names());
        let text = if name.contains('*') {
            format!("no namespace is like \"{name}\"")
        } else {
            format!("namespace \"{name}\" does not exist{hint}")
        };
        report.say(&say::NAMESPACE_NOT_FOUND, path, text);
    }
}

/// A policy with a selector does not mean pods of a Gateway of the Gateway API, for which only `targetRefs` count.
/// Istio: IST0166.
pub(super) fn selectors_mean_no_kubernetes_gateway<S: Policy + Content>(
    view: &View<'_>,
    object: &Inspected<'_, S>,
    report: &mut Report<'_>,
) {
    let target = object.spec.target();
    let Some(selector) = target.selector.filter(|_| !target.names_objects()) else {
        return;
    };
    let namespace = &object.key.namespace;
    let gateway = |labels: &BTreeMap<String, String>| labels.get(GATEWAY_NAME).cloned();
    let gateways: BTreeSet<String> = if selector.match_labels.is_empty() {
        let pods = view.objects::<PodSpec>(namespace);
        pods.filter_map(|(_, pod)| gateway(&pod.meta.labels))
            .collect()
    } else {
        let pods = view.pods_of(namespace, &selector.match_labels);
        let pods = pods.take(MOST_PODS);
        pods.filter_map(|pod| gateway(view.labels(pod)?)).collect()
    };
    for name in gateways {
        let text = format!(
            "the selector matches pods of Gateway {namespace}/{name} of the Gateway API, which takes policies by targetRefs only"
        );
        report.say(&say::SELECTOR_INEFFECTIVE, "spec.selector", text);
    }
}

/// Access logs name a provider, or the mesh has one for them; traces name none that is no more.
/// Istio: IST0157, IST0002 (Lightstep).
pub(super) fn telemetries_have_providers(
    view: &View<'_>,
    object: &Inspected<'_, TelemetrySpec>,
    report: &mut Report<'_>,
) {
    let settings = view.settings();
    let without = |(_, logging): &(usize, &AccessLogging)| {
        logging.providers.is_empty() && logging.disabled != Some(true)
    };
    let logs = object.spec.access_logging.iter().enumerate();
    for (index, _) in logs.filter(without).filter(|_| !settings.logs_by_default) {
        let text = "no provider is named, and the mesh has none by default (defaultProviders.accessLogging)";
        let path = format!("spec.accessLogging[{index}].providers");
        report.say(&say::NO_TELEMETRY_PROVIDER, path, text);
    }
    for (i, tracing) in object.spec.tracing.iter().enumerate() {
        for (j, provider) in tracing.providers.iter().enumerate() {
            if settings.lightstep_providers.contains(&provider.name) {
                let text = format!(
                    "provider {} is one of Lightstep, which is not supported any more",
                    provider.name
                );
                let path = format!("spec.tracing[{i}].providers[{j}].name");
                report.say(&say::DEPRECATED, path, text);
            }
        }
    }
}

/// Where routes look at claims of a token, every pod of the gateway checks tokens. Istio: IST0149, once for each pod.
pub(super) fn claims_are_checked(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let Some((path, claim)) = first_claim(object.spec) else {
        return;
    };
    let root = view.settings().root_namespace.as_str().into();
    for written in &object.spec.gateways {
        let Some(gateway) = gateway_key(written, &object.key.namespace) else {
            continue;
        };
        let Some(spec) = view
            .object::<GatewaySpec>(&gateway)
            .and_then(|gateway| gateway.spec())
        else {
            continue;
        };
        if spec.selector.is_empty() {
            continue;
        }
        for pod in view.pods(&spec.selector) {
            let Some(labels) = view.labels(pod) else {
                continue;
            };
            let checks = |namespace| {
                view.objects::<RequestAuthenticationSpec>(namespace)
                    .filter_map(|(_, policy)| policy.spec())
                    .any(|policy| {
                        policy
                            .target()
                            .labels()
                            .is_none_or(|own| selects(own, labels))
                    })
            };
            if !checks(&root) && !checks(&pod.namespace) {
                let text = format!(
                    "the routes look at {claim}, but no RequestAuthentication applies to {pod} of {gateway}"
                );
                let message = report.say(&say::CLAIMS_UNCHECKED, path.as_str(), text);
                message.concerning(&gateway).concerning(pod);
            }
        }
    }
}

/// The first condition on a claim.
fn first_claim(spec: &VirtualServiceSpec) -> Option<(String, &str)> {
    spec.http.iter().enumerate().find_map(|(i, route)| {
        route.r#match.iter().enumerate().find_map(|(j, condition)| {
            let lists = [
                ("headers", &condition.headers),
                ("withoutHeaders", &condition.without_headers),
            ];
            lists.into_iter().find_map(|(list, headers)| {
                let claim = headers.keys().find(|name| name.starts_with(CLAIMS))?;
                Some((format!("spec.http[{i}].match[{j}].{list}"), claim.as_str()))
            })
        })
    })
}
