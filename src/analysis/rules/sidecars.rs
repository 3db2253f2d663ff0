//! Sidecars: the pods that they are for have one.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::SidecarSpec;
use crate::model::Selecting;
use crate::world::PodSpec;

use super::injection::{is_ambient, is_ambient_namespace};
use super::selectors::MOST_PODS;
use super::{Inspected, Report};

/// The pods that the Sidecar is for have sidecars: they are not in ambient mode. Istio: IST0167.
pub(super) fn pods_have_sidecars(
    view: &View<'_>,
    object: &Inspected<'_, SidecarSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    match object
        .spec
        .selector()
        .filter(|selector| !selector.is_empty())
    {
        Some(selector) => {
            for pod in view.pods_of(namespace, selector).take(MOST_PODS) {
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
