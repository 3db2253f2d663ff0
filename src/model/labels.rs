//! Pods by their labels, Deployments by those of the pods that they make, Services by the labels that they select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdSet;

use crate::api::kind::Kind;
use crate::world::{DeploymentSpec, Object, ObjectKey, PodSpec, ServiceSpec};

/// Objects by label. Pods that have ended are left out: nothing is sent to them. A Service stands under one label of its
/// selector, so that those which select a pod are found by the pod's labels.
#[derive(Debug, Clone, Default)]
pub struct LabelIndex {
    objects: OrdSet<(Label, ObjectKey)>,
}

/// A label with its value, as `key=value`.
pub type Label = Arc<str>;

/// A label with its value, in the form of the index.
pub fn label(key: &str, value: &str) -> Label {
    format!("{key}={value}").into()
}

impl LabelIndex {
    /// The objects with a label, by kind, namespace and name.
    pub fn with<'a>(&'a self, label: &Label) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let label = label.clone();
        let first = ObjectKey::new(FIRST, "", "");
        self.objects
            .range((label.clone(), first)..)
            .take_while(move |(other, _)| *other == label)
            .map(|(_, key)| key)
    }

    pub(super) fn insert(&mut self, key: &ObjectKey, labels: &BTreeSet<Label>) {
        for label in labels {
            self.objects.insert((label.clone(), key.clone()));
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey, labels: &BTreeSet<Label>) {
        for label in labels {
            self.objects.remove(&(label.clone(), key.clone()));
        }
    }
}

/// The kind that comes before all others in the order of keys.
const FIRST: Kind = Kind::VirtualService;

/// Whether labels hold all of a selector's.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// The labels by which a pod is found.
pub(super) fn of_pod(pod: &Object<PodSpec>) -> BTreeSet<Label> {
    if pod.spec().is_some_and(PodSpec::has_ended) {
        return BTreeSet::new();
    }
    all(&pod.meta.labels)
}

/// The labels of the pods that a Deployment makes.
pub(super) fn of_deployment(deployment: &Object<DeploymentSpec>) -> BTreeSet<Label> {
    let template = deployment.spec().map(|spec| &spec.template);
    template.map_or_else(BTreeSet::new, |template| all(&template.metadata.labels))
}

fn all(labels: &BTreeMap<String, String>) -> BTreeSet<Label> {
    labels
        .iter()
        .map(|(key, value)| label(key, value))
        .collect()
}

/// The one label of its selector by which a Service is found; none where it selects nothing.
pub(super) fn of_service(service: &Object<ServiceSpec>) -> Option<Label> {
    let selector = &service.spec()?.selector;
    selector.iter().next().map(|(key, value)| label(key, value))
}
