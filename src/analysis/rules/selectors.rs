//! Objects that select workloads of their namespace, of which a workload may have one.

use std::collections::BTreeSet;

use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::model::Selecting;
use crate::world::ObjectKey;

use super::gateways::listed;
use super::{Inspected, Report};

/// How many other objects are told that select the same pods.
const MOST_RIVALS: usize = 16;

/// How many pods with the labels of a selector are looked at one by one: those with the same labels are mostly alike.
pub(super) const MOST_PODS: usize = 100;

/// How a kind writes its selector, and what is said of two of its objects.
pub(super) struct Words {
    selector: &'static str,
    labels: &'static str,
    /// Both are for all workloads of a namespace.
    ambiguous: &'static Diagnosis,
    /// Both are for one pod.
    conflict: &'static Diagnosis,
}

/// What is said of Sidecars. Istio: IST0101 (selector), IST0110, IST0111.
pub(super) const SIDECARS: Words = Words {
    selector: "workloadSelector",
    labels: "labels",
    ambiguous: &say::SIDECARS_AMBIGUOUS,
    conflict: &say::SIDECARS_CONFLICT,
};

/// What is said of Telemetries. Istio: IST0101 (selector), IST0159, IST0160.
pub(super) const TELEMETRIES: Words = Words {
    selector: "selector",
    labels: "matchLabels",
    ambiguous: &say::TELEMETRIES_AMBIGUOUS,
    conflict: &say::TELEMETRIES_CONFLICT,
};

/// The selector matches a pod of the namespace, and no other object of the kind selects that pod; without a selector it is
/// the only such object of its namespace.
pub(super) fn workloads_have_one<S: Selecting>(
    view: &View<'_>,
    object: &Inspected<'_, S>,
    words: &Words,
    report: &mut Report<'_>,
) {
    let (namespace, kind) = (&object.key.namespace, S::KIND);
    let Some(selector) = object.spec.selector() else {
        return;
    };
    let path = format!("spec.{}", words.selector);
    if selector.is_empty() {
        let mut others = view.selecting_all::<S>(namespace).map(|(key, _)| key);
        if let Some(other) = others.find(|key| *key != object.key) {
            let text = format!(
                "{other} has no {} either; a namespace may have one such {kind}",
                words.selector
            );
            report.say(words.ambiguous, path, text).concerning(other);
        }
        return;
    }
    let path = format!("{path}.{}", words.labels);
    let pods = view.pods_of(namespace, selector);
    let mut pods = pods.take(MOST_PODS).peekable();
    if pods.peek().is_none() {
        let text = format!(
            "no pod of namespace {namespace} has the labels {}",
            listed(selector)
        );
        report.say(&say::WORKLOAD_NOT_FOUND, path, text);
        return;
    }
    let shared = pods.flat_map(|pod| {
        let labels = view.labels(pod).into_iter();
        let others = labels.flat_map(|labels| view.selecting::<S>(namespace, labels));
        others.map(move |(other, _)| (other, pod))
    });
    let mut told: BTreeSet<&ObjectKey> = BTreeSet::new();
    let rivals = shared.filter(|(other, _)| *other != object.key && told.insert(other));
    for (other, pod) in rivals.take(MOST_RIVALS) {
        let text = format!("{other} selects {pod} too; a workload may have one {kind}");
        let message = report.say(words.conflict, &*path, text);
        message.concerning(other).concerning(pod);
    }
}
