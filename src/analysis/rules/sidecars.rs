//! Sidecars: one for each workload.

use std::collections::BTreeMap;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::SidecarSpec;
use crate::model::selects;
use crate::world::{ObjectKey, PodSpec};

use super::gateways::listed;
use super::injection::{is_ambient, is_ambient_namespace};
use super::{Inspected, Report};

/// The selector matches a pod of the namespace, and no other Sidecar selects that pod; without a selector it is the
/// only such Sidecar of its namespace. Istio: IST0101 (selector), IST0110, IST0111.
pub(super) fn workloads_have_one_sidecar(
    view: &View<'_>,
    object: &Inspected<'_, SidecarSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    let others = view
        .objects::<SidecarSpec>(namespace)
        .filter(|(key, _)| *key != object.key);
    let mut others = others.filter_map(|(key, other)| Some((key, other.spec()?)));
    let Some(selector) = labels(object.spec) else {
        if let Some((other, _)) = others.find(|(_, spec)| labels(spec).is_none()) {
            let text = format!(
                "{other} has no workloadSelector either; a namespace may have one such Sidecar"
            );
            report
                .say(&say::SIDECARS_AMBIGUOUS, "spec.workloadSelector", text)
                .concerning(other);
        }
        return;
    };
    let pods: Vec<&ObjectKey> = view.pods_of(namespace, selector).collect();
    if pods.is_empty() {
        let text = format!(
            "no pod of namespace {namespace} has the labels {}",
            listed(selector)
        );
        report.say(
            &say::WORKLOAD_NOT_FOUND,
            "spec.workloadSelector.labels",
            text,
        );
    }
    for (other, spec) in others {
        let Some(other_selector) = labels(spec) else {
            continue;
        };
        let shared = pods.iter().find(|pod| {
            view.labels(pod)
                .is_some_and(|labels| selects(other_selector, labels))
        });
        if let Some(pod) = shared {
            let text = format!("{other} selects {pod} too; a workload may have one Sidecar");
            let path = "spec.workloadSelector.labels";
            let message = report.say(&say::SIDECARS_CONFLICT, path, text);
            message.concerning(other).concerning(pod);
        }
    }
}

/// The labels of its selector; `None` when it is for all workloads of the namespace.
fn labels(spec: &SidecarSpec) -> Option<&BTreeMap<String, String>> {
    spec.workload_selector
        .as_ref()
        .map(|selector| &selector.labels)
        .filter(|labels| !labels.is_empty())
}

/// The pods that the Sidecar is for have sidecars: they are not in ambient mode. Istio: IST0167.
pub(super) fn pods_have_sidecars(
    view: &View<'_>,
    object: &Inspected<'_, SidecarSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    match labels(object.spec) {
        Some(selector) => {
            for pod in view.pods_of(namespace, selector) {
                let meta = view.object::<PodSpec>(pod).map(|pod| &pod.meta);
                if meta.is_some_and(|meta| is_ambient(&meta.annotations)) {
                    let text = format!("{pod} is in ambient mode, and has no sidecar");
                    report
                        .say(
                            &say::POLICY_INEFFECTIVE,
                            "spec.workloadSelector.labels",
                            text,
                        )
                        .concerning(pod);
                }
            }
        }
        None if is_ambient_namespace(view, namespace) => {
            let text = format!(
                "the pods of namespace {namespace} are in ambient mode, and have no sidecars"
            );
            report.say(&say::POLICY_INEFFECTIVE, "spec", text);
        }
        None => {}
    }
}
