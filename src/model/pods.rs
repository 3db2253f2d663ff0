//! Pods by label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdSet;

use crate::api::kind::Kind;
use crate::world::{Object, ObjectKey, PodSpec};

/// Which pods have a label. Pods that have ended are left out: nothing is sent to them.
#[derive(Debug, Clone, Default)]
pub struct PodIndex {
    pods: OrdSet<(Label, ObjectKey)>,
}

/// A label with its value, as `key=value`.
pub type Label = Arc<str>;

/// A label with its value, in the form of the index.
pub fn label(key: &str, value: &str) -> Label {
    format!("{key}={value}").into()
}

impl PodIndex {
    /// The pods with a label, by namespace and name.
    pub fn with<'a>(&'a self, label: &Label) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let label = label.clone();
        let first = ObjectKey::new(Kind::Pod, "", "");
        self.pods
            .range((label.clone(), first)..)
            .take_while(move |(other, _)| *other == label)
            .map(|(_, key)| key)
    }

    pub(super) fn insert(&mut self, key: &ObjectKey, labels: &BTreeSet<Label>) {
        for label in labels {
            self.pods.insert((label.clone(), key.clone()));
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey, labels: &BTreeSet<Label>) {
        for label in labels {
            self.pods.remove(&(label.clone(), key.clone()));
        }
    }
}

/// Whether labels hold all of a selector's.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// The labels by which a pod is found.
pub(super) fn labels_of(pod: &Object<PodSpec>) -> BTreeSet<Label> {
    if pod.spec().is_some_and(PodSpec::has_ended) {
        return BTreeSet::new();
    }
    pod.meta
        .labels
        .iter()
        .map(|(key, value)| label(key, value))
        .collect()
}
