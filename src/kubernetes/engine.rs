//! Takes what the watches found out into the World and publishes a new Snapshot of it, at most every few milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
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
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::watch::{Input, Source, State, States};
use crate::{
    analysis::Snapshot,
    api::kind::Kind,
    world::{Change, ObjectKey, SecretAccess, Settings, World},
};

/// A Snapshot is made once no change has come for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … or the first of them waits for this long.
const AT_MOST: Duration = Duration::from_millis(250);

/// How often certificates are looked at for their age.
const AGEING: Duration = Duration::from_secs(60);

/// How many inputs may wait to be taken in; more hold up the watches. Each is a whole object, of ten kilobytes and more.
pub const QUEUE: usize = 256;

/// A Snapshot and what changed since the one that its reader saw before.
#[derive(Debug, Clone)]
pub struct News {
    /// The newest Snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The objects that changed, or whose verdict did, each with the time of its first change.
    pub changed: BTreeMap<ObjectKey, Instant>,
    /// What the Snapshot was made from: the kinds that were listed, are not installed or may not be read. The watches
    /// themselves are ahead of it, so only this tells what the Snapshot lacks.
    pub inputs: Arc<States>,
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
            inputs: Arc::clone(&news.inputs),
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
    /// Sources whose first list (or refusal) is still to come: before that a Snapshot would miss objects.
    unlisted: BTreeSet<Source>,
    /// What is known of the sources that are not unlisted any more.
    states: Arc<States>,
    pending: Pending,
    metrics: Metrics,
}

/// What has come since the last Snapshot; however long that takes, no more than an entry for each object.
#[derive(Default)]
struct Pending {
    changes: BTreeMap<ObjectKey, Waiting>,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// The changes of one object.
struct Waiting {
    content: bool,
    since: Instant,
}

impl Pending {
    fn note(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn add(&mut self, change: Change, now: Instant) {
        self.note(now);
        let waiting = self.changes.entry(change.key).or_insert(Waiting {
            content: false,
            since: now,
        });
        waiting.content |= change.content;
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
    /// An engine that waits for the first lists of `sources`, under `settings`.
    pub fn new(
        inputs: mpsc::Receiver<Input>,
        settings: Settings,
        sources: impl IntoIterator<Item = impl Into<Source>>,
        registry: &mut Registry,
    ) -> Self {
        let mut world = World::new(settings).at(Timestamp::now());
        world.set_secret_access(SecretAccess::In(imbl::OrdMap::new()));
        let snapshot = Arc::new(Snapshot::new(world.clone()));
        Self {
            inputs,
            world,
            snapshots: watch::Sender::new(Arc::clone(&snapshot)),
            snapshot,
            subscribers: Vec::new(),
            unlisted: sources.into_iter().map(Into::into).collect(),
            states: Arc::default(),
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
            inputs: Arc::clone(&self.states),
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
        let mut ageing = interval(AGEING);
        ageing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.pending.due().filter(|_| self.unlisted.is_empty());
            tokio::select! {
                () = &mut shutdown => return,
                () = until(due) => self.publish(),
                _ = ageing.tick() => self.age(),
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
            Input::Listed(source, version, keys) => {
                self.retain(&source, &keys, now);
                self.settle(source, State::Watched { version }, now);
            }
            Input::Absent(source) => {
                self.retain(&source, &HashSet::new(), now);
                self.settle(source, State::Absent, now);
            }
            Input::Denied(source, why) => {
                if source.namespace.is_some() {
                    // What rests on a whole kind is held back while it may not be read; this goes on without.
                    self.retain(&source, &HashSet::new(), now);
                }
                self.settle(source, State::Denied(why), now);
            }
            Input::PortWrite(service, write) => {
                if let Some(change) = self.world.note_port_write(&service, write) {
                    self.pending.add(change, now);
                }
            }
            Input::Settings(settings) => {
                self.world = self.world.clone().with_settings(settings);
                self.pending.note(now);
            }
        }
    }

    fn retain(&mut self, source: &Source, keys: &HashSet<ObjectKey>, now: Instant) {
        let keep = |key: &ObjectKey| keys.contains(key) || !source.holds(key);
        for change in self.world.retain(source.kind, keep) {
            self.pending.add(change, now);
        }
    }

    /// What is known of a source is to be told with the next Snapshot, even if no object has changed.
    fn settle(&mut self, source: Source, state: State, now: Instant) {
        self.unlisted.remove(&source);
        if self.states.get(&source) == Some(&state) {
            return;
        }
        if let (Kind::Secret, Some(namespace)) = (source.kind, &source.namespace) {
            let mut access = self.world.secret_access().clone();
            let readable = matches!(state, State::Watched { .. });
            access.note(Arc::clone(namespace), readable);
            self.world.set_secret_access(access);
        }
        Arc::make_mut(&mut self.states).insert(source, state);
        self.pending.note(now);
    }

    /// Certificates grow old without an event.
    fn age(&mut self) {
        let now = Timestamp::now();
        let (aged, _) = self.world.clone().at(now).secrets_seen_anew(&self.world);
        if !aged.is_empty() {
            self.pending.note(Instant::now());
        }
    }

    fn publish(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.world = self.world.clone().at(Timestamp::now());
        let changes: Vec<Change> = pending
            .changes
            .iter()
            .map(|(key, waiting)| Change {
                key: key.clone(),
                content: waiting.content,
            })
            .collect();
        let started = Instant::now();
        let (snapshot, concerned) = self.snapshot.update(self.world.clone(), &changes);
        self.snapshot = Arc::new(snapshot);
        let took = started.elapsed();
        self.metrics.builds.observe(took.as_secs_f64());
        for kind in Kind::all() {
            let labels = Labels {
                kind: kind.unique_plural(),
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
        let first = pending.first.unwrap_or(started);
        for subscriber in &self.subscribers {
            let mut news = lock(subscriber);
            news.snapshot = Arc::clone(&self.snapshot);
            news.inputs = Arc::clone(&self.states);
            for key in &concerned {
                let since = pending
                    .changes
                    .get(key)
                    .map_or(first, |waiting| waiting.since);
                news.changed.entry(key.clone()).or_insert(since);
            }
        }
        self.snapshots.send_replace(Arc::clone(&self.snapshot));
    }
}

/// Ready at a time; never, where there is none.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(resource_version: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "reviews", "namespace": "shop", "resourceVersion": resource_version},
        })
    }

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::Service, "shop", "reviews")
    }

    fn running() -> (mpsc::Sender<Input>, Changes) {
        let (inputs, queue) = mpsc::channel(QUEUE);
        let kinds = [Kind::Service];
        let mut engine = Engine::new(queue, Settings::default(), kinds, &mut Registry::default());
        let changes = engine.changes();
        tokio::spawn(engine.run(std::future::pending()));
        (inputs, changes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_counts_as_read_only_with_the_snapshot_that_holds_all_of_it() {
        let (inputs, mut changes) = running();
        let denied = State::Denied("forbidden".to_owned());
        inputs
            .send(Input::Denied(Kind::Service.into(), "forbidden".to_owned()))
            .await
            .unwrap();
        let news = changes.next().await;
        assert_eq!(news.inputs.get(&Kind::Service.into()), Some(&denied));

        // It may be read now, and the list has begun.
        inputs.send(Input::Apply(service("1"))).await.unwrap();
        let news = changes.next().await;
        assert_eq!(news.inputs.get(&Kind::Service.into()), Some(&denied));

        let listed = Input::Listed(Kind::Service.into(), "v1", HashSet::from([key()]));
        inputs.send(listed).await.unwrap();
        let news = changes.next().await;
        let watched = State::Watched { version: "v1" };
        assert_eq!(news.inputs.get(&Kind::Service.into()), Some(&watched));
        assert!(news.snapshot.world().contains(&key()));
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_list_is_complete_nothing_is_published_and_an_object_waits_once() {
        let (_inputs, queue) = mpsc::channel(QUEUE);
        let kinds = [Kind::Service];
        let mut engine = Engine::new(queue, Settings::default(), kinds, &mut Registry::default());
        for version in 1..=100 {
            engine.take(Input::Apply(service(&version.to_string())));
        }
        assert_eq!(engine.pending.changes.len(), 1);
        assert!(engine.pending.changes[&key()].content);
        let mut published = engine.snapshots();
        tokio::spawn(engine.run(std::future::pending()));
        tokio::time::timeout(AT_MOST * 2, published.changed())
            .await
            .unwrap_err();
    }
}
