//! Which CustomResourceDefinitions there are: kinds whose definition is missing cost no request.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::LOOK_AGAIN;
use crate::{api::kind::Kind, world::ObjectKey};

/// Which CustomResourceDefinitions there are, as far as their watch knows; shared by the watches of all kinds.
#[derive(Debug, Clone)]
pub struct Definitions(Arc<watch::Sender<Option<BTreeSet<String>>>>);

impl Default for Definitions {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Definitions {
    /// Whether a kind's definition is known to be missing; if nothing is known of any, after waiting a little.
    pub(super) async fn lack(&self, kind: Kind) -> bool {
        let mut known = self.0.subscribe();
        let known = timeout(LOOK_AGAIN, known.wait_for(Option::is_some)).await;
        let Ok(Ok(known)) = known else { return false };
        known
            .as_ref()
            .is_some_and(|names| !names.contains(&kind.qualified_plural()))
    }

    /// Waits for a kind's definition to come. Where it is there already, or cannot be known, waits this long.
    pub(super) async fn coming(&self, kind: Kind, pause: Duration) {
        let name = kind.qualified_plural();
        let mut known = self.0.subscribe();
        let is_missing = known
            .borrow_and_update()
            .as_ref()
            .is_some_and(|names| !names.contains(&name));
        if is_missing {
            let comes = |names: &Option<BTreeSet<String>>| {
                names.as_ref().is_none_or(|names| names.contains(&name))
            };
            // The sender lives as long as this.
            let _ = known.wait_for(comes).await;
        } else {
            sleep(pause).await;
        }
    }

    pub(super) fn list(&self, names: &HashSet<ObjectKey>) {
        let names = names.iter().map(|key| key.name.to_string()).collect();
        self.0.send_replace(Some(names));
    }

    pub(super) fn add(&self, name: &str) {
        self.0.send_if_modified(|names| {
            names
                .as_mut()
                .is_some_and(|names| names.insert(name.to_owned()))
        });
    }

    pub(super) fn remove(&self, name: &str) {
        self.0
            .send_if_modified(|names| names.as_mut().is_some_and(|names| names.remove(name)));
    }

    pub(super) fn forget(&self) {
        self.0.send_replace(None);
    }
}
