//! Namespaces whose labels say two things.

use crate::{
    inject::namespace::SWITCHES,
    world::{NamespaceSpec, ObjectKey, World},
};

/// A namespace whose two switches of injection differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The namespace.
    pub namespace: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The version in which it says so.
    pub resource_version: String,
    /// What it says, what that means, and what to do.
    pub text: String,
}

/// All namespaces whose two switches of injection are set and differ.
pub fn contradictions(world: &World) -> Vec<Contradiction> {
    let [own, istio] = SWITCHES;
    world
        .all::<NamespaceSpec>()
        .iter()
        .filter_map(|(key, namespace)| {
            let labels = &namespace.meta.labels;
            let (ours, theirs) = (labels.get(own)?, labels.get(istio)?);
            (ours != theirs).then(|| Contradiction {
                namespace: key.clone(),
                uid: namespace.meta.uid.clone(),
                resource_version: namespace.meta.resource_version.clone(),
                text: format!(
                    "labels {own}={ours} and {istio}={theirs} mean the same switch and differ: no pod of this namespace \
                     gets a proxy until both say enabled or one of them is removed"
                ),
            })
        })
        .collect()
}
