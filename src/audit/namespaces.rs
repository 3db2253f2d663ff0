//! Namespaces whose labels say two things.

use crate::{
    inject::namespace,
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
    world
        .all::<NamespaceSpec>()
        .iter()
        .filter_map(|(key, namespace)| {
            let text = namespace::contradiction(&namespace.meta.labels)?;
            Some(Contradiction {
                namespace: key.clone(),
                uid: namespace.meta.uid.clone(),
                resource_version: namespace.meta.resource_version.clone(),
                text,
            })
        })
        .collect()
}
