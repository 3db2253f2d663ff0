//! Takes what the watches found out into the World and publishes a new Snapshot of it, at most every few milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::watch::Input;
use crate::{
    analysis::Snapshot,
    api::kind::Kind,
    world::{Change, ObjectKey, Settings, World},
};

/// A Snapshot is made once no change has come for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … or the first of them waits for this long.
const AT_MOST: Duration = Duration::from_millis(250);

/// How many inputs may wait to be taken in; more hold up the watches.
pub const QUEUE: usize = 1024;

/// A Snapshot and what changed since the one that its reader saw before.
#[derive(Debug, Clone)]
pub struct News {
    /// The newest Snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The objects that changed, or whose verdict did, each with the time of its first change.
    pub changed: BTreeMap<ObjectKey, Instant>,
}

/// A view of the Snapshots that loses no change, however slowly it is read.
#[derive(Debug)]
pub struct Changes {
    announced: watch::Receiver<Arc<Snapshot>>,
    /// Snapshot and keys behind one lock, so that no key is taken with a Snapshot older than its change.
    news: Arc<Mutex<News>>,
}

impl Changes {
    /// What is new since the last call. Never ready again once the engine has ended.
    pub async fn next(&mut self) -> News {
        if self.announced.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let mut news = lock(&self.news);
        News {
            snapshot: Arc::clone(&news.snapshot),
            changed: std::mem::take(&mut news.changed),
        }
    }
}

fn lock(news: &Mutex<News>) -> MutexGuard<'_, News> {
    news.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Feeds the World and publishes Snapshots.
pub struct Engine {
    inputs: mpsc::Receiver<Input>,
    world: World,
    snapshot: Arc<Snapshot>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    subscribers: Vec<Arc<Mutex<News>>>,
    /// Kinds whose first list (or refusal) is still to come: before that a Snapshot would miss objects.
    unlisted: BTreeSet<Kind>,
    pending: Pending,
    metrics: Metrics,
}

/// What has come since the last Snapshot.
#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    times: BTreeMap<ObjectKey, Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Pending {
    fn note(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn add(&mut self, change: Change, now: Instant) {
        self.note(now);
        self.times.entry(change.key.clone()).or_insert(now);
        self.changes.push(change);
    }

    /// When the next Snapshot is due.
    fn due(&self) -> Option<Instant> {
        Some((self.last? + QUIET).min(self.first? + AT_MOST))
    }
}

struct Metrics {
    builds: Histogram,
    objects: Family<Labels, Gauge>,
    ignored: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            builds: Histogram::new(exponential_buckets(0.0001, 4.0, 8)),
            objects: Family::default(),
            ignored: Counter::default(),
        };
        registry.register(
            "snapshot_build_seconds",
            "Time to derive a snapshot from what changed",
            metrics.builds.clone(),
        );
        registry.register("objects", "Objects in the world", metrics.objects.clone());
        registry.register(
            "unreadable_inputs",
            "Inputs that are no Kubernetes objects",
            metrics.ignored.clone(),
        );
        metrics
    }
}

impl Engine {
    /// An engine that waits for the first lists of `kinds`, under `settings`.
    pub fn new(
        inputs: mpsc::Receiver<Input>,
        settings: Settings,
        kinds: impl IntoIterator<Item = Kind>,
        registry: &mut Registry,
    ) -> Self {
        let world = World::new(settings);
        let snapshot = Arc::new(Snapshot::new(world.clone()));
        Self {
            inputs,
            world,
            snapshots: watch::Sender::new(Arc::clone(&snapshot)),
            snapshot,
            subscribers: Vec::new(),
            unlisted: kinds.into_iter().collect(),
            pending: Pending::default(),
            metrics: Metrics::register(registry),
        }
    }

    /// The Snapshots. The first one that is announced as a change holds every object that could be read.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// The Snapshots with what changed between them.
    pub fn changes(&mut self) -> Changes {
        let news = Arc::new(Mutex::new(News {
            snapshot: Arc::clone(&self.snapshot),
            changed: BTreeMap::new(),
        }));
        self.subscribers.push(Arc::clone(&news));
        Changes {
            announced: self.snapshots.subscribe(),
            news,
        }
    }

    /// Works until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            let due = self.pending.due().filter(|_| self.unlisted.is_empty());
            tokio::select! {
                () = &mut shutdown => return,
                () = until(due) => self.publish(),
                Some(input) = self.inputs.recv() => self.take(input),
            }
        }
    }

    fn take(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Apply(object) => match self.world.apply(&object) {
                Ok(change) => {
                    if let Some(change) = change {
                        self.pending.add(change, now);
                    }
                }
                Err(error) => {
                    self.metrics.ignored.inc();
                    tracing::error!(%error, "cannot take in an object");
                }
            },
            Input::Delete(key) => {
                if let Some(change) = self.world.delete(&key) {
                    self.pending.add(change, now);
                }
            }
            Input::Listed(kind, keys) => {
                for change in self.world.retain(kind, |key| keys.contains(key)) {
                    self.pending.add(change, now);
                }
                self.settle(kind, now);
            }
            Input::Denied(kind) => self.settle(kind, now),
            Input::Settings(settings) => {
                self.world = self.world.clone().with_settings(settings);
                self.pending.note(now);
            }
        }
    }

    /// Once nothing is missing any more there is a Snapshot to publish, even one without objects.
    fn settle(&mut self, kind: Kind, now: Instant) {
        if self.unlisted.remove(&kind) && self.unlisted.is_empty() {
            self.pending.note(now);
        }
    }

    fn publish(&mut self) {
        let Pending {
            changes,
            times,
            first,
            ..
        } = std::mem::take(&mut self.pending);
        let started = Instant::now();
        let (snapshot, concerned) = self.snapshot.update(self.world.clone(), &changes);
        self.snapshot = Arc::new(snapshot);
        let took = started.elapsed();
        self.metrics.builds.observe(took.as_secs_f64());
        for kind in Kind::all() {
            let labels = Labels {
                kind: kind.plural(),
            };
            let count = i64::try_from(self.world.count(kind)).unwrap_or(i64::MAX);
            self.metrics.objects.get_or_create(&labels).set(count);
        }
        tracing::debug!(
            changes = changes.len(),
            concerned = concerned.len(),
            ?took,
            "new snapshot"
        );
        let since = first.unwrap_or(started);
        for subscriber in &self.subscribers {
            let mut news = lock(subscriber);
            news.snapshot = Arc::clone(&self.snapshot);
            for key in &concerned {
                let time = times.get(key).copied().unwrap_or(since);
                news.changed.entry(key.clone()).or_insert(time);
            }
        }
        self.snapshots.send_replace(Arc::clone(&self.snapshot));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
