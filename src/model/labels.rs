//! Pods by their labels, Deployments by those of the pods that they make, Services by the labels that they select.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdSet};

use super::print::print;
use super::visit;
use crate::api::kind::Kind;
use crate::api::networking::SidecarSpec;
use crate::api::policies::{Policy, TelemetrySpec};
use crate::world::{Content, DeploymentSpec, Object, ObjectKey, PodSpec, ServiceSpec};

/// Objects by label. Pods that have ended are left out: nothing is sent to them. What [selects](Selecting) pods stands under
/// one label of its selector, so that it is found by the pods' labels.
#[derive(Debug, Clone, Default)]
pub struct LabelIndex {
    objects: GenericHashMap<Label, Keys, RandomState, DefaultSharedPtr>,
}

/// The objects with one label; at least one.
#[derive(Debug, Clone)]
enum Keys {
    One(ObjectKey),
    Several(OrdSet<ObjectKey>),
}

impl Keys {
    /// Those of a kind, or of a namespace of it, in order, and whatever comes after them; one alone is given as it is. Who
    /// asks compares.
    fn from<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&Arc<str>>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let (one, several) = match self {
            Keys::One(key) => (Some(key), None),
            Keys::Several(keys) => {
                let namespace = namespace.cloned().unwrap_or_default();
                let first = ObjectKey::new(kind, namespace, Arc::default());
                (None, Some(keys.range(first..)))
            }
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    fn insert(&mut self, key: ObjectKey) {
        match self {
            Keys::One(own) if *own == key => {}
            Keys::One(own) => *self = Keys::Several([own.clone(), key].into_iter().collect()),
            Keys::Several(keys) => {
                keys.insert(key);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, key: &ObjectKey) -> bool {
        match self {
            Keys::One(own) => own == key,
            Keys::Several(keys) => {
                keys.remove(key);
                if keys.len() < 2
                    && let Some(last) = keys.get_min()
                {
                    *self = Keys::One(last.clone());
                }
                false
            }
        }
    }
}

/// Stands for a label with its value. Two may share one: who finds objects by it compares their labels as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(u64);

impl Label {
    /// What stands for a label and its value. Told from all others that are likely to come by 64 bits, which cost a
    /// search in the index much less than texts.
    pub fn new(key: &str, value: &str) -> Label {
        Label(print((key, value)))
    }
}

impl LabelIndex {
    /// The objects of a kind with a label, in one namespace or in all, by namespace and name.
    pub fn with<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&Arc<str>>,
        label: Label,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let all = self.objects.get(&label);
        let all = all.map(|keys| keys.from(kind, namespace));
        let namespace = namespace.cloned();
        all.into_iter()
            .flatten()
            .inspect(|_| visit())
            .take_while(move |key| {
                let is_here = |own: &Arc<str>| key.namespace == *own;
                key.kind == kind && namespace.as_ref().is_none_or(is_here)
            })
    }

    /// The label that the fewest of such objects have, which costs no more to find than to look at so many for each
    /// label.
    pub fn rarest(
        &self,
        kind: Kind,
        namespace: Option<&Arc<str>>,
        labels: &[Label],
    ) -> Option<Label> {
        let start = |label: &Label| (*label, self.with(kind, namespace, *label));
        let mut searches: Vec<_> = labels.iter().map(start).collect();
        if searches.len() < 2 {
            return labels.first().copied();
        }
        loop {
            for (label, search) in &mut searches {
                if search.next().is_none() {
                    return Some(*label);
                }
            }
        }
    }

    pub(super) fn insert(&mut self, key: &ObjectKey, labels: &[Label]) {
        for label in labels {
            match self.objects.get_mut(label) {
                Some(keys) => keys.insert(key.clone()),
                None => {
                    self.objects.insert(*label, Keys::One(key.clone()));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey, labels: &[Label]) {
        for label in labels {
            let keys = self.objects.get_mut(label);
            if keys.is_some_and(|keys| keys.remove(key)) {
                self.objects.remove(label);
            }
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
pub(super) fn of_pod(pod: &Object<PodSpec>) -> Vec<Label> {
    if pod.spec().is_some_and(PodSpec::has_ended) {
        return Vec::new();
    }
    all(&pod.meta.labels)
}

/// The labels of the pods that a Deployment makes.
pub(super) fn of_deployment(deployment: &Object<DeploymentSpec>) -> Vec<Label> {
    let template = deployment.spec().map(|spec| &spec.template);
    template.map_or_else(Vec::new, |template| all(&template.metadata.labels))
}

fn all(labels: &BTreeMap<String, String>) -> Vec<Label> {
    labels
        .iter()
        .map(|(key, value)| Label::new(key, value))
        .collect()
}

/// What selects pods of its namespace by their labels.
pub trait Selecting: Content {
    /// The labels; none of them selects all pods, `None` selects none.
    fn selector(&self) -> Option<&BTreeMap<String, String>>;
}

impl Selecting for ServiceSpec {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        (!self.selector.is_empty()).then_some(&self.selector)
    }
}

impl Selecting for SidecarSpec {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        static ALL: BTreeMap<String, String> = BTreeMap::new();
        let selector = self.workload_selector.as_ref();
        Some(selector.map_or(&ALL, |selector| &selector.labels))
    }
}

impl Selecting for TelemetrySpec {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        static ALL: BTreeMap<String, String> = BTreeMap::new();
        let target = self.target();
        (!target.names_objects()).then(|| target.labels().unwrap_or(&ALL))
    }
}

/// Labels that many workloads of a namespace share: those of a Helm release, or all of an application's parts.
const SHARED: [&str; 12] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "chart",
    "env",
    "heritage",
    "release",
    "team",
    "tier",
    "version",
];

/// The one label by which what selects pods is found, one that few workloads share if there is such; for what selects all of
/// them, see [`every_pod`].
pub(super) fn of_selecting<S: Selecting>(object: &Object<S>) -> Option<Label> {
    let selector = object.spec()?.selector()?;
    let is_shared = |key: &str| SHARED.contains(&key);
    let chosen = selector.iter().min_by_key(|(key, _)| is_shared(key));
    Some(chosen.map_or_else(every_pod, |(key, value)| Label::new(key, value)))
}

/// Stands for the label that every pod has.
pub fn every_pod() -> Label {
    Label::new("", "")
}
