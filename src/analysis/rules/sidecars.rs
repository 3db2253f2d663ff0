//! Sidecars: one for each workload.

use std::collections::BTreeMap;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::SidecarSpec;
use crate::model::selects;
use crate::world::ObjectKey;

use super::gateways::listed;
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
            report.say(&say::SIDECARS_AMBIGUOUS, "spec.workloadSelector", text);
        }
        return;
    };
    let pods: Vec<&ObjectKey> = view
        .pods(selector)
        .filter(|pod| pod.namespace == *namespace)
        .collect();
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
            report.say(
                &say::SIDECARS_CONFLICT,
                "spec.workloadSelector.labels",
                text,
            );
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
