//! What is watched, and how far that has come.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{api::kind::Kind, world::ObjectKey};

/// What one watch brings: the objects of a kind, in the whole cluster or in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<Arc<str>>,
}

impl Source {
    /// The Secrets of a namespace.
    pub fn secrets(namespace: &str) -> Self {
        Self {
            kind: Kind::Secret,
            namespace: Some(namespace.into()),
        }
    }

    /// Whether it brings this object, as long as that exists.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        key.kind == self.kind
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl From<Kind> for Source {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            namespace: None,
        }
    }
}

/// `gateways`, `secrets of edge`
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.unique_plural())?;
        match &self.namespace {
            Some(namespace) => write!(f, " of {namespace}"),
            None => Ok(()),
        }
    }
}

/// How far the watch of a kind has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Neither list nor refusal has come yet.
    #[default]
    Waiting,
    /// The last attempt failed, and none has succeeded yet.
    Failing(String),
    /// Its CRD is not installed.
    Absent,
    /// This program's account may not read it.
    Denied(String),
    /// Listed, and watched since, in this version.
    Watched {
        /// The version that is watched, and in which the kind is written.
        version: &'static str,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("not listed yet"),
            Self::Failing(why) => write!(f, "not listed yet: {why}"),
            Self::Absent => f.write_str("not installed"),
            Self::Denied(why) => write!(f, "may not be read: {why}"),
            Self::Watched { version } => write!(f, "watched as {version}"),
        }
    }
}

/// The state of every watch.
pub type States = BTreeMap<Source, State>;
