//! Of which namespaces the Secrets are known.

use std::sync::Arc;

use imbl::OrdMap;

/// The namespaces whose Secrets are among the objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SecretAccess {
    /// All of them: a Secret that is not here does not exist.
    #[default]
    Everywhere,
    /// Those that were asked for, and whether they may be read.
    In(OrdMap<Arc<str>, bool>),
}

/// Whether the Secrets of one namespace are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// They are.
    Yes,
    /// They were asked for, and the API server refuses them.
    Refused,
    /// They were not asked for.
    NotAsked,
}

impl SecretAccess {
    /// Whether the Secrets of a namespace are known.
    pub fn of(&self, namespace: &str) -> Readable {
        match self {
            SecretAccess::Everywhere => Readable::Yes,
            SecretAccess::In(namespaces) => match namespaces.get(namespace) {
                Some(true) => Readable::Yes,
                Some(false) => Readable::Refused,
                None => Readable::NotAsked,
            },
        }
    }

    /// Notes of one more namespace whether its Secrets may be read.
    pub fn note(&mut self, namespace: Arc<str>, readable: bool) {
        match self {
            SecretAccess::Everywhere => {
                *self = SecretAccess::In(OrdMap::unit(namespace, readable));
            }
            SecretAccess::In(namespaces) => {
                namespaces.insert(namespace, readable);
            }
        }
    }

    /// The namespaces that the two differ about. None where either is [`SecretAccess::Everywhere`]: that never changes
    /// while a World lives.
    pub(in crate::world) fn differing(&self, other: &SecretAccess) -> Vec<Arc<str>> {
        let (SecretAccess::In(one), SecretAccess::In(two)) = (self, other) else {
            return Vec::new();
        };
        let mut found: Vec<Arc<str>> = one
            .keys()
            .chain(two.keys())
            .filter(|namespace| one.get(*namespace) != two.get(*namespace))
            .cloned()
            .collect();
        found.dedup();
        found
    }
}
