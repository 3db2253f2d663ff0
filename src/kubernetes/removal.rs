//! Takes what the status writer wrote out of the status of every object again: when status is switched off, and when
//! the control plane goes.
//!
//! Everything is looked at, page by page and with a bounded number of writes at a time, until there is nothing to take.
//! What fails meanwhile is tried again by itself, after longer and longer pauses.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    Pages,
    lease::{Election, Leadership, SeizeError, WriteError},
    shallow::Shallow,
};
use crate::{
    analysis::removal::removal_patch,
    api::{conditions::MANAGER, kind::Kind},
};

/// Writes at a time.
const CONCURRENCY: usize = 32;
/// After a look that left or found something; the pause doubles each time, up to [`LONGEST_PAUSE`].
const AGAIN: Duration = Duration::from_secs(1);
/// So often is tried again what always fails, say because a webhook refuses it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Of the time that is given, what is kept for the last renewal of the Leases.
const LAST_RENEWAL: Duration = Duration::from_secs(2);

/// What was done, and what keeps the rest.
#[derive(Debug, Default)]
pub struct Report {
    /// How many objects were written.
    pub cleared: usize,
    /// Who held the Leases before.
    pub former: Vec<String>,
    /// What the API server refuses for good, with its first answer: kinds that may not be listed or written.
    pub refused: BTreeMap<String, String>,
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
    #[error("{cleared} objects were cleared, others may not be: {}", refused.values().map(String::as_str).collect::<Vec<_>>().join("; "))]
    Refused {
        /// How many objects were cleared.
        cleared: usize,
        /// What it said, by kind.
        refused: BTreeMap<String, String>,
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
/// All of it, the last renewals too, is over after `timeout`.
///
/// # Errors
/// Something of ours may be left; says what and why.
pub async fn uninstall(
    client: &Client,
    leases: &[LeaseName],
    identity: &str,
    timeout: Duration,
) -> Result<Report, RemovalError> {
    let began = Instant::now();
    let deadline = began + timeout.saturating_sub(LAST_RENEWAL);
    let mut taken = Taken::nothing();
    for lease in leases {
        taken.seize(client, lease, identity, deadline).await?;
    }
    let leaderships = Leaderships::new(std::mem::take(&mut taken.leaderships));
    let mut removal = Removal::new(client.clone(), leaderships, Counters::default());
    let done = timeout_at(deadline, removal.until_nothing_is_left(taken.settled)).await;
    let former = taken.renew_once_more(began + timeout).await;
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

/// Leases that were taken by force, and are renewed.
struct Taken {
    leaderships: Vec<Leadership>,
    former: Vec<String>,
    /// When the last write of every former holder is over.
    settled: Instant,
    /// Each ends the renewals of one Lease, with a last one.
    ends: Vec<oneshot::Sender<()>>,
    renewals: JoinSet<()>,
}

impl Taken {
    fn nothing() -> Self {
        Self {
            leaderships: Vec::new(),
            former: Vec::new(),
            settled: Instant::now(),
            ends: Vec::new(),
            renewals: JoinSet::new(),
        }
    }

    async fn seize(
        &mut self,
        client: &Client,
        lease: &LeaseName,
        identity: &str,
        deadline: Instant,
    ) -> Result<(), RemovalError> {
        let api: Api<Lease> = Api::namespaced(client.clone(), &lease.namespace);
        let (mut election, leadership) =
            Election::new(api, lease.name.clone(), identity.to_owned());
        let seized = timeout_at(deadline, election.seize()).await;
        let seized =
            seized
                .unwrap_or(Err(SeizeError::Slow))
                .map_err(|source| RemovalError::Lease {
                    namespace: lease.namespace.clone(),
                    name: lease.name.clone(),
                    source,
                })?;
        self.settled = self.settled.max(seized.settled);
        self.former.extend(seized.former);
        let (end, ended) = oneshot::channel::<()>();
        self.ends.push(end);
        self.renewals.spawn(election.keep(async {
            let _ = ended.await;
        }));
        self.leaderships.push(leadership);
        Ok(())
    }

    /// Ends the renewals with a last one each, as far as `deadline` allows; returns who held the Leases before.
    async fn renew_once_more(mut self, deadline: Instant) -> Vec<String> {
        self.ends.clear();
        let all = async { while self.renewals.join_next().await.is_some() {} };
        // Without the last renewal, others may write a few seconds earlier: that is no reason to be late.
        let _ = timeout_at(deadline, all).await;
        self.former
    }
}

/// The right to write, which rests on every Lease that was found.
#[derive(Clone)]
struct Leaderships(Vec<Leadership>);

impl Leaderships {
    /// Where there is no Lease, nobody else writes.
    fn new(mut leaderships: Vec<Leadership>) -> Self {
        if leaderships.is_empty() {
            leaderships.push(Leadership::unchallenged());
        }
        Self(leaderships)
    }

    fn are_held(&self) -> bool {
        self.0.iter().all(Leadership::is_held)
    }

    /// As [`Leadership::write`], where none of them is lost.
    async fn write<T>(
        &self,
        write: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        match self.0.first() {
            Some(first) if self.are_held() => first.write(write).await,
            _ => Err(WriteError::NotLeader),
        }
    }
}

/// What the leader counts where status is switched off.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    cleared: Counter,
    failures: Counter,
}

impl Counters {
    /// Shown in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        registry.register(
            "status_removals",
            "Objects whose status was removed because status is switched off",
            counters.cleared.clone(),
        );
        registry.register(
            "status_removal_failures",
            "Failed attempts to remove the status of an object, or to list the objects of a kind for it",
            counters.failures.clone(),
        );
        counters
    }
}

/// The leader's part where status is switched off: clears every status once it has the Lease, until `shutdown` is ready.
pub async fn keep_clear(
    client: Client,
    mut leadership: Leadership,
    counters: Counters,
    shutdown: impl Future<Output = ()>,
) {
    let clearing = async {
        loop {
            if leadership.is_held() {
                let leaderships = Leaderships::new(vec![leadership.clone()]);
                let mut removal = Removal::new(client.clone(), leaderships, counters.clone());
                // Nobody else writes: who leads does so alone.
                let done = removal.until_nothing_is_left(Instant::now()).await;
                let Report {
                    cleared, refused, ..
                } = removal.report;
                if done && refused.is_empty() {
                    tracing::info!(
                        cleared,
                        "status is switched off and what was written is removed"
                    );
                }
                for why in refused.into_values() {
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
    leaderships: Leaderships,
    counters: Counters,
    report: Report,
    /// What has failed and was said: it is not said each time that it is tried again.
    said: HashSet<String>,
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Rest {
    kinds: Vec<Kind>,
    objects: Vec<Target>,
}

impl Rest {
    fn everything() -> Self {
        Self {
            kinds: Kind::with_status().collect(),
            objects: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.objects.is_empty()
    }
}

/// An object that may have something of ours.
#[derive(Debug)]
struct Target {
    resource: ApiResource,
    namespace: String,
    name: String,
}

/// The outcome for one object: whether there was something to take.
struct Cleared {
    target: Target,
    result: Result<bool, WriteError>,
}

impl Removal {
    fn new(client: Client, leaderships: Leaderships, counters: Counters) -> Self {
        Self {
            client,
            leaderships,
            counters,
            report: Report::default(),
            said: HashSet::new(),
        }
    }

    /// Returns once a look at everything that began at `settled` or later found nothing that can be taken; false when
    /// this process may not write any more.
    async fn until_nothing_is_left(&mut self, settled: Instant) -> bool {
        let mut rest = Rest::everything();
        let (mut began, mut before) = (Instant::now(), self.report.cleared);
        let mut pause = AGAIN;
        while self.leaderships.are_held() {
            rest = self.look(rest).await;
            let whole = rest.is_empty();
            if whole && began < settled {
                sleep_until(settled).await;
            } else if whole && self.report.cleared == before {
                return true;
            } else {
                // Where everything comes back (somebody else writes it) there is a pause as well.
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            if whole {
                rest = Rest::everything();
                (began, before) = (Instant::now(), self.report.cleared);
                self.report.refused.clear();
            }
        }
        false
    }

    /// Looks at `due` once, and returns what of it is to be tried again.
    async fn look(&mut self, due: Rest) -> Rest {
        self.report.failing = None;
        let mut again = Rest::default();
        let due_objects = due.objects.into_iter().map(|target| (target, None));
        self.clear(due_objects, &mut again).await;
        for kind in due.kinds {
            let mut pages = Pages::new(self.client.clone(), kind, None);
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        let found = page.objects.into_iter().filter_map(|object| {
                            let patch = patch_of(&object)?;
                            let target = Target {
                                resource: page.resource.clone(),
                                namespace: object.metadata.namespace?,
                                name: object.metadata.name?,
                            };
                            Some((target, Some(patch)))
                        });
                        self.clear(found, &mut again).await;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let doing = format!("listing {}", kind.unique_plural());
                        if self.note(doing, "", &error.into()) {
                            again.kinds.push(kind);
                        }
                        break;
                    }
                }
            }
        }
        again
    }

    /// Clears objects; those without a patch are read first.
    async fn clear(
        &mut self,
        targets: impl Iterator<Item = (Target, Option<Value>)>,
        again: &mut Rest,
    ) {
        let mut writes = JoinSet::new();
        for (target, patch) in targets {
            if writes.len() >= CONCURRENCY
                && let Some(done) = writes.join_next().await
            {
                self.settle(done, again);
            }
            let (namespace, resource) = (&target.namespace, &target.resource);
            let api = Api::namespaced_with(self.client.clone(), namespace, resource);
            let leaderships = self.leaderships.clone();
            writes.spawn(async move {
                let write = clear_one(&api, &target.name, patch);
                let result = leaderships.write(write).await;
                Cleared { target, result }
            });
        }
        while let Some(done) = writes.join_next().await {
            self.settle(done, again);
        }
    }

    fn settle(&mut self, done: Result<Cleared, tokio::task::JoinError>, again: &mut Rest) {
        match done {
            Ok(Cleared {
                result: Ok(cleared),
                ..
            }) => {
                self.report.cleared += usize::from(cleared);
                self.counters.cleared.inc_by(u64::from(cleared));
            }
            Ok(Cleared {
                target,
                result: Err(error),
            }) => {
                let doing = format!("writing {}", target.resource.plural);
                let object = format!(" {}/{}", target.namespace, target.name);
                if self.note(doing, &object, &error) {
                    again.objects.push(target);
                }
            }
            // Nobody aborts a write, so it panicked; so does this task then.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Notes what failed (`doing` it to a kind, or to one `object` of the kind); says whether it is to be tried again.
    fn note(&mut self, doing: String, object: &str, error: &WriteError) -> bool {
        let (code, answer) = match error {
            WriteError::Api(kube::Error::Api(status)) => (status.code, status.message.clone()),
            other => (0, other.to_string()),
        };
        if code == 404 {
            return false;
        }
        let what = format!("{doing}{object}");
        let why = format!("{what}: {answer}");
        // The object has changed meanwhile, or another process writes now.
        let usual = code == 409 || matches!(error, WriteError::NotLeader);
        if !usual {
            self.counters.failures.inc();
        }
        if matches!(code, 401 | 403) {
            self.report.refused.entry(doing).or_insert(why);
            return false;
        }
        if !usual && self.said.insert(what) {
            tracing::warn!(
                why,
                "cannot remove what was written into status; trying again"
            );
        }
        self.report.failing = Some(why);
        true
    }
}

/// Takes what is ours out of one object, which is read first if there is no `patch`; says whether there was anything.
async fn clear_one(api: &Api<Shallow>, name: &str, patch: Option<Value>) -> kube::Result<bool> {
    let patch = match patch {
        Some(patch) => Some(patch),
        None => patch_of(&api.get(name).await?.0),
    };
    let Some(patch) = patch else {
        return Ok(false);
    };
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch_status(name, &params, &Patch::Merge(&patch))
        .await?;
    Ok(true)
}

/// What is to be sent for an object, if anything of ours is in its status.
fn patch_of(object: &DynamicObject) -> Option<Value> {
    let version = &object.metadata.resource_version;
    let value = serde_json::to_value(object).ok()?;
    let mut patch = removal_patch(&value)?;
    patch["metadata"] = serde_json::json!({ "resourceVersion": version });
    Some(patch)
}
