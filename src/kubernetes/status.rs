//! Writes the status of routing objects: level-triggered, desired against live, and equal means no write.
//!
//! A write is a merge patch of the status subresource with the resource version that the verdict was compared with.
//! If the object has changed meanwhile (409) or is gone (404), the write is dropped: the watch brings what is new,
//! and that is compared at once. But no event need follow, neither after another failure nor after every 409 or 404
//! (they may come from an admission webhook, or while a CRD is replaced), so the object is also compared a while later.

mod holds;
mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use super::{
    engine::{Changes, News, until},
    events::{self, Notices},
    lease::{Leadership, WriteError},
    resource,
    retries::Retries,
    shallow::Shallow,
    watch::{State, States},
    writer::{self, Writer},
};
use crate::{
    analysis::{
        Snapshot,
        conditions::{self, Condition},
    },
    api::{conditions::MANAGER, kind::Kind},
    gateway::GatewayPlan,
    world::ObjectKey,
};
use holds::{Holds, Why};
use metrics::Metrics;

/// Writes at a time.
const CONCURRENCY: usize = 32;
/// When every object is compared again, after so many ticks.
const RESYNC: u32 = 12;

/// Whether everything that verdicts rest on can be read. While one of these kinds may not be, what is said about the
/// objects that name it would be wrong, so nothing is written.
pub fn can_judge(states: &States) -> bool {
    let denied = |kind: Kind| matches!(states.get(&kind.into()), Some(State::Denied(_)));
    !Kind::bearing_verdicts().any(denied)
}

/// The status writer.
pub struct StatusWriter {
    changes: Changes,
    leadership: Leadership,
    work: Work,
}

/// What the writer knows and does.
struct Work {
    client: Client,
    leadership: Leadership,
    notices: Notices,
    metrics: Metrics,

    snapshot: Option<Arc<Snapshot>>,
    /// What the Snapshot was made from.
    inputs: Arc<States>,
    /// Objects to compare, each with the time since which it waits.
    pending: BTreeMap<ObjectKey, Instant>,
    /// Objects whose write failed or was dropped.
    failed: Retries,
    /// Objects whose write waits for what it says to last.
    holds: Holds,
    /// Which resource version the last write of an object was based on. Until the watch brings another one, a
    /// comparison would be with what that write has already replaced.
    based_on: HashMap<ObjectKey, String>,
    writes: JoinSet<Written>,
    writing: BTreeSet<ObjectKey>,
    ticks: u32,
}

/// The outcome of a write.
struct Written {
    key: ObjectKey,
    based_on: String,
    waiting_since: Instant,
    notices: events::Notice,
    result: Result<(), WriteError>,
}

impl StatusWriter {
    /// A writer of the objects in `changes`.
    pub fn new(
        client: Client,
        changes: Changes,
        leadership: Leadership,
        notices: Notices,
        registry: &mut Registry,
    ) -> Self {
        let work = Work {
            client,
            leadership: leadership.clone(),
            notices,
            metrics: Metrics::register(registry),
            snapshot: None,
            inputs: Arc::default(),
            pending: BTreeMap::new(),
            failed: Retries::default(),
            holds: Holds::default(),
            based_on: HashMap::new(),
            writes: JoinSet::new(),
            writing: BTreeSet::new(),
            ticks: 0,
        };
        Self {
            changes,
            leadership,
            work,
        }
    }

    /// Writes until `shutdown` is ready, then waits for the writes in flight.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        writer::run(self.work, self.changes, self.leadership, shutdown).await;
    }
}

impl Writer for Work {
    /// Objects whose write failed are compared again.
    const TICK: Duration = Duration::from_secs(5);

    fn take(&mut self, news: News) {
        self.snapshot = Some(news.snapshot);
        let now = Instant::now();
        for (key, since) in news.changed {
            self.holds.changed(&key, now);
            self.pending.entry(key).or_insert(since);
        }
        if self.inputs != news.inputs {
            self.inputs = news.inputs;
            // What was held back for want of a kind may be due now.
            self.compare_all();
        }
    }

    fn lease_changed(&mut self) {
        self.holds.clear();
        self.compare_all();
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(RESYNC) {
            self.compare_all();
        }
        let now = Instant::now();
        for key in self.failed.tick() {
            self.pending.entry(key).or_insert(now);
        }
    }

    async fn progress(&mut self) {
        let due = self.holds.due();
        tokio::select! {
            Some(written) = self.writes.join_next() => match written {
                Ok(written) => self.settle(written),
                // Nobody aborts a write, so it panicked; so does this task then, which ends the process.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = until(due) => {
                for (key, since) in self.holds.take_due(Instant::now()) {
                    let waits = self.pending.entry(key).or_insert(since);
                    *waits = since.min(*waits);
                }
            }
        }
    }

    async fn write(&mut self) {
        self.write_pending();
    }

    async fn finish(mut self) {
        while self.writes.join_next().await.is_some() {}
    }
}

impl Work {
    fn compare_all(&mut self) {
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        let now = Instant::now();
        for key in Kind::with_status().flat_map(|kind| snapshot.world().keys(kind)) {
            self.pending.entry(key).or_insert(now);
        }
    }

    /// Compares what is pending and starts the writes that are due, as many as may run.
    fn write_pending(&mut self) {
        if !self.leadership.is_held() || !can_judge(&self.inputs) {
            // Gaining the Lease, or reading what was missing, compares everything.
            self.pending.clear();
            self.failed.clear();
            self.holds.clear();
            self.metrics.forget();
            return;
        }
        let Some(snapshot) = self.snapshot.clone() else {
            return;
        };
        let mut postponed = BTreeMap::new();
        while self.writes.len() < CONCURRENCY {
            let Some((key, since)) = self.pending.pop_first() else {
                break;
            };
            if self.writing.contains(&key) {
                postponed.insert(key, since);
            } else {
                self.compare(&snapshot, key, since);
            }
        }
        self.pending.append(&mut postponed);
        let waiting =
            self.pending.len() + self.failed.len() + self.holds.len() + self.writing.len();
        self.metrics.waiting(waiting);
    }

    /// Compares one object's status with its verdict, and starts a write if they differ.
    fn compare(&mut self, snapshot: &Snapshot, key: ObjectKey, waiting_since: Instant) {
        if !key.kind.has_status() {
            return;
        }
        let world = snapshot.world();
        let Some(meta) = world.metadata(&key) else {
            self.based_on.remove(&key);
            self.metrics.gone(&key);
            self.holds.release(&key);
            self.failed.settled(&key);
            return;
        };
        if self.based_on.get(&key) == Some(&meta.resource_version) {
            return;
        }
        self.based_on.remove(&key);
        let Some(&State::Watched { version }) = self.inputs.get(&key.kind.into()) else {
            self.holds.release(&key);
            return;
        };
        let live = world.status(&key);
        let messages = snapshot.messages(&key);
        let standing = snapshot.standing(&key);
        let desired = conditions::desired(messages, &standing);
        if self.is_held(snapshot, &key, waiting_since, live.as_ref(), &desired) {
            return;
        }
        self.metrics.judged(&key, &desired);
        let now = Timestamp::now();
        let Some(patch) =
            conditions::status_patch(live.as_ref(), meta.generation, messages, &standing, now)
        else {
            self.metrics.no_op(&key);
            self.failed.settled(&key);
            self.holds.release(&key);
            return;
        };
        let resource = resource(key.kind, version);
        let notices = events::Notice {
            object: key.clone(),
            uid: meta.uid.clone(),
            api_version: resource.api_version.clone(),
            transitions: events::transitions(live.as_ref(), &desired),
        };
        let write = Write {
            api: Api::namespaced_with(self.client.clone(), &key.namespace, &resource),
            params: PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            },
            patch: based_on(patch, &meta.resource_version),
            leadership: self.leadership.clone(),
        };
        let based_on = meta.resource_version.clone();
        self.writing.insert(key.clone());
        self.writes.spawn(async move {
            let result = write.run(&key.name).await;
            Written {
                key,
                based_on,
                waiting_since,
                notices,
                result,
            }
        });
    }

    /// Whether the write of an object has to wait.
    fn is_held(
        &mut self,
        snapshot: &Snapshot,
        key: &ObjectKey,
        waiting_since: Instant,
        live: Option<&Value>,
        desired: &[Condition],
    ) -> bool {
        let gateway = snapshot.ports().gateways.get(key);
        let why = if gateway.is_some_and(GatewayPlan::is_settling) {
            Why::Settling
        } else if conditions::turn_bad(live, desired) {
            Why::TurnsBad
        } else {
            self.holds.release(key);
            return false;
        };
        let meta = snapshot.world().metadata(key);
        let uid = meta.map_or("", |meta| &meta.uid);
        self.holds
            .holds(key, uid, why, waiting_since, Instant::now())
    }

    fn settle(&mut self, written: Written) {
        let Written {
            key,
            based_on,
            waiting_since,
            notices,
            result,
        } = written;
        self.writing.remove(&key);
        match result {
            Ok(()) => {
                self.metrics.written(&key, waiting_since.elapsed());
                tracing::debug!(object = %key, "wrote status");
                self.notices.send(notices);
                self.failed.settled(&key);
                self.holds.release(&key);
                self.based_on.insert(key, based_on);
            }
            Err(WriteError::Api(kube::Error::Api(status)))
                if status.is_conflict() || status.is_not_found() =>
            {
                self.metrics.conflict(&key);
                self.failed.failed(key);
            }
            Err(WriteError::NotLeader) => {}
            Err(error) => {
                self.metrics.failure(&key);
                tracing::warn!(object = %key, %error, "cannot write status; trying again");
                self.failed.failed(key);
            }
        }
    }
}

/// One status write, ready to go.
struct Write {
    api: Api<Shallow>,
    params: PatchParams,
    patch: Value,
    leadership: Leadership,
}

impl Write {
    async fn run(self, name: &str) -> Result<(), WriteError> {
        let patch = Patch::Merge(&self.patch);
        let write = self.api.patch_status(name, &self.params, &patch);
        self.leadership.write(write).await.map(drop)
    }
}

/// The patch, to be refused unless the object still has this resource version.
fn based_on(mut patch: Value, resource_version: &str) -> Value {
    if let Some(patch) = patch.as_object_mut() {
        let metadata = json!({ "resourceVersion": resource_version });
        patch.insert("metadata".to_owned(), metadata);
    }
    patch
}
