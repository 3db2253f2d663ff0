//! Takes what the status writer wrote out of the status of every object again: when status is switched off, and when
//! the control plane goes.
//!
//! An object that changes meanwhile is met again at the next look, so no write needs to be repeated: everything is
//! looked at until there is nothing to take, page by page, with a bounded number of writes at a time.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    Pages,
    lease::{Election, Leadership, SeizeError, WriteError},
};
use crate::{
    analysis::removal::removal_patch,
    api::{conditions::MANAGER, kind::Kind},
};

/// Writes at a time.
const CONCURRENCY: usize = 32;
/// Between two looks of which the first one left something.
const AGAIN: Duration = Duration::from_secs(1);

/// What was done, and what keeps the rest.
#[derive(Debug, Default)]
pub struct Report {
    /// How many objects were written.
    pub cleared: usize,
    /// Who held the Leases before.
    pub former: Vec<String>,
    /// What the API server refuses for good: kinds that may not be listed or written.
    pub refused: BTreeSet<String>,
    /// What failed last and was to be tried again.
    pub failing: Option<String>,
}

/// Why something of ours may be left.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The Lease could not be taken from the control plane, which would go on writing.
    #[error("cannot take the Lease {namespace}/{name} of the control plane: {source}")]
    Lease {
        /// The Lease's namespace.
        namespace: String,
        /// The Lease's name.
        name: String,
        /// Why not.
        source: SeizeError,
    },
    /// The time was not enough.
    #[error(
        "not done after {timeout:?}; {cleared} objects were cleared{}",
        because(.failing)
    )]
    Late {
        /// The time that was given.
        timeout: Duration,
        /// How many objects were cleared.
        cleared: usize,
        /// What failed last.
        failing: Option<String>,
    },
    /// Another process took the Lease, or it could not be renewed.
    #[error("the Lease was lost after {cleared} objects were cleared")]
    Displaced {
        /// How many objects were cleared.
        cleared: usize,
    },
    /// The API server does not allow it.
    #[error("{cleared} objects were cleared, others may not be: {}", refused.iter().map(String::as_str).collect::<Vec<_>>().join("; "))]
    Refused {
        /// How many objects were cleared.
        cleared: usize,
        /// What it said, by kind.
        refused: BTreeSet<String>,
    },
}

fn because(failing: &Option<String>) -> String {
    failing
        .as_ref()
        .map(|why| format!(", then: {why}"))
        .unwrap_or_default()
}

/// A Lease whose holder may write status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    /// Its namespace: that of the control plane.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Takes the Leases from whoever holds them, clears every status, and keeps the Leases until that is done; they are not
/// given back, so that a replica that is about to end does not begin to write once more. `identity` is the holder's name.
///
/// # Errors
/// Something of ours may be left; says what and why.
pub async fn uninstall(
    client: &Client,
    leases: &[LeaseName],
    identity: &str,
    timeout: Duration,
) -> Result<Report, RemovalError> {
    let deadline = Instant::now() + timeout;
    let mut holds = JoinSet::new();
    let mut ends = Vec::new();
    let (mut settled, mut former) = (Instant::now(), Vec::new());
    let mut leadership = Leadership::unchallenged();
    for lease in leases {
        let api: Api<Lease> = Api::namespaced(client.clone(), &lease.namespace);
        let (mut election, held) = Election::new(
            api,
            lease.name.clone(),
            identity.to_owned(),
            &mut Registry::default(),
        );
        let seized = timeout_at(deadline, election.seize()).await;
        let seized =
            seized
                .unwrap_or(Err(SeizeError::Slow))
                .map_err(|source| RemovalError::Lease {
                    namespace: lease.namespace.clone(),
                    name: lease.name.clone(),
                    source,
                })?;
        settled = settled.max(seized.settled);
        former.extend(seized.former);
        let (end, ended) = oneshot::channel::<()>();
        ends.push(end);
        holds.spawn(election.keep(async {
            let _ = ended.await;
        }));
        leadership = held;
    }
    let mut removal = Removal::new(client.clone(), leadership);
    let done = timeout_at(deadline, removal.until_nothing_is_left(settled)).await;
    // Ends the renewals, with a last one.
    drop(ends);
    while holds.join_next().await.is_some() {}
    let Report {
        cleared,
        refused,
        failing,
        ..
    } = removal.report;
    match done {
        Ok(true) if refused.is_empty() => Ok(Report {
            cleared,
            former,
            ..Report::default()
        }),
        Ok(true) => Err(RemovalError::Refused { cleared, refused }),
        Ok(false) => Err(RemovalError::Displaced { cleared }),
        Err(_) => Err(RemovalError::Late {
            timeout,
            cleared,
            failing,
        }),
    }
}

/// The leader's part where status is switched off: clears every status once it has the Lease, until `shutdown` is ready.
pub async fn keep_clear(
    client: Client,
    mut leadership: Leadership,
    shutdown: impl Future<Output = ()>,
) {
    let clearing = async {
        loop {
            if leadership.is_held() {
                let mut removal = Removal::new(client.clone(), leadership.clone());
                // Nobody else writes: who leads does so alone.
                let done = removal.until_nothing_is_left(Instant::now()).await;
                let Report {
                    cleared, refused, ..
                } = removal.report;
                if done {
                    tracing::info!(
                        cleared,
                        "status is switched off and what was written is removed"
                    );
                }
                for why in refused {
                    tracing::warn!(why, "cannot remove what was written into status");
                }
            }
            leadership.changed().await;
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = clearing => {}
    }
}

/// Looks at every object and clears what it finds.
struct Removal {
    client: Client,
    leadership: Leadership,
    report: Report,
}

/// One write, for people.
struct Cleared {
    what: String,
    result: Result<(), WriteError>,
}

impl Removal {
    fn new(client: Client, leadership: Leadership) -> Self {
        Self {
            client,
            leadership,
            report: Report::default(),
        }
    }

    /// Returns once a look that began at `settled` or later found nothing that can be taken; false when this process may
    /// not write any more.
    async fn until_nothing_is_left(&mut self, settled: Instant) -> bool {
        while self.leadership.is_held() {
            let began = Instant::now();
            let (before, again) = (self.report.cleared, self.look().await);
            let found = again || self.report.cleared > before;
            if !found && began >= settled {
                return true;
            }
            if !found {
                sleep_until(settled).await;
            } else if again {
                sleep(AGAIN).await;
            }
        }
        false
    }

    /// Looks at every object once; says whether something is to be tried again.
    async fn look(&mut self) -> bool {
        self.report.failing = None;
        self.report.refused.clear();
        for kind in Kind::with_status() {
            let mut pages = Pages::new(self.client.clone(), kind, None);
            loop {
                match pages.next().await {
                    Ok(Some(page)) => self.clear(page).await,
                    Ok(None) => break,
                    Err(error) => {
                        self.note(format!("listing {}", kind.unique_plural()), error.into());
                        break;
                    }
                }
            }
        }
        self.report.failing.is_some()
    }

    async fn clear(&mut self, page: super::Page) {
        let mut writes = JoinSet::new();
        for object in page.objects {
            let Some((api, name, patch)) = self.write_of(&page.resource, object) else {
                continue;
            };
            if writes.len() >= CONCURRENCY
                && let Some(done) = writes.join_next().await
            {
                self.settle(done);
            }
            let leadership = self.leadership.clone();
            let what = format!("writing {} {name}", page.resource.plural);
            writes.spawn(async move {
                let params = PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch = Patch::Merge(&patch);
                let write = api.patch_status(&name, &params, &patch);
                let result = leadership.write(write).await.map(drop);
                Cleared { what, result }
            });
        }
        while let Some(done) = writes.join_next().await {
            self.settle(done);
        }
    }

    /// What is to be sent for an object, if anything of ours is in its status.
    fn write_of(
        &self,
        resource: &kube::api::ApiResource,
        object: DynamicObject,
    ) -> Option<(Api<DynamicObject>, String, Value)> {
        let namespace = object.metadata.namespace.clone()?;
        let name = object.metadata.name.clone()?;
        let version = object.metadata.resource_version.clone();
        let object = serde_json::to_value(object).ok()?;
        let mut patch = removal_patch(&object)?;
        patch["metadata"] = serde_json::json!({ "resourceVersion": version });
        let api = Api::namespaced_with(self.client.clone(), &namespace, resource);
        Some((api, name, patch))
    }

    fn settle(&mut self, done: Result<Cleared, tokio::task::JoinError>) {
        match done {
            Ok(Cleared { result: Ok(()), .. }) => self.report.cleared += 1,
            Ok(Cleared {
                what,
                result: Err(error),
            }) => self.note(what, error),
            // Nobody aborts a write, so it panicked; so does this task then.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn note(&mut self, what: String, error: WriteError) {
        match &error {
            WriteError::Api(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                self.report.refused.insert(status.message.clone());
            }
            WriteError::Api(kube::Error::Api(status)) if status.code == 404 => {}
            _ => self.report.failing = Some(format!("{what}: {error}")),
        }
    }
}
