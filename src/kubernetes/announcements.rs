//! Events for the owners of pods: what surprises about a pod is said where people look, on the workload.
//!
//! Any replica announces. The same thing about the same object is one Event an hour, whoever says it and however often:
//! the Event's name is made from what it says, so of several replicas the API server takes the first. Nothing waits
//! for an announcement: too many are dropped and counted, and those that failed are made again by the next pod.
//!
//! Whoever reaches the webhook's port can name workloads that do not exist. To look for them takes a pace and a queue
//! of their own, so that what is said of others does not wait for it.

use std::{
    collections::HashSet,
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    events::NOTE_LIMIT,
    owners::{LookError, Owners},
    pace::Pace,
};
use crate::{analysis::Snapshot, audit::notes, world::Controller};

/// How many may wait.
const QUEUE: usize = 1024;
/// How many may wait for a look at the workload that they name.
const LOOKS: usize = 256;
/// How much of what was said this hour is remembered; beyond that the API server says that it knows.
const REMEMBERED: usize = 16_384;
/// How long a write may take.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Longest part of an object's name in that of an Event about it.
const NAME_LIMIT: usize = 200;

/// What an announcement is about.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// The topmost workload above the controller of a pod.
    Workload {
        /// The namespace of both.
        namespace: String,
        /// The pod's controller.
        controller: Controller,
    },
    /// An object.
    Object(Box<ObjectReference>),
}

impl About {
    fn uid(&self) -> &str {
        match self {
            Self::Workload { controller, .. } => &controller.uid,
            Self::Object(object) => object.uid.as_deref().unwrap_or_default(),
        }
    }
}

/// How often the same is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Once in an hour, which is how long the API server keeps Events.
    Hourly,
    /// As long as the API server keeps the Event, not again.
    Never,
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// About whom.
    pub about: About,
    /// Whether it is a warning.
    pub warning: bool,
    /// What was done, or looked at: a stable word in CamelCase.
    pub action: &'static str,
    /// A stable word in CamelCase.
    pub reason: &'static str,
    /// For people.
    pub text: String,
    /// What tells it from others of the same reason about the same object.
    pub subject: String,
    /// How often it is said.
    pub repeat: Repeat,
    /// Whether what to do about it is to make the pods anew.
    pub anew: bool,
}

impl Announcement {
    /// The same for the same thing about the object of this uid, in every replica of one build.
    fn identity(&self, uid: &str, now: Timestamp) -> u64 {
        let hour = match self.repeat {
            Repeat::Hourly => now.as_second() / (60 * 60),
            Repeat::Never => 0,
        };
        let mut hasher = DefaultHasher::new();
        (uid, self.reason, &self.subject, hour).hash(&mut hasher);
        hasher.finish()
    }
}

/// Takes announcements without ever waiting. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Announcements {
    sender: mpsc::Sender<(Announcement, u64)>,
    said: Arc<Mutex<HashSet<u64>>>,
    dropped: Counter,
}

impl Announcements {
    /// Queues what was not said before; drops it if too many wait.
    pub fn send(&self, announcement: Announcement) {
        let identity = announcement.identity(announcement.about.uid(), Timestamp::now());
        let mut said = lock(&self.said);
        if said.contains(&identity) {
            return;
        }
        match self.sender.try_send((announcement, identity)) {
            Ok(()) => {
                // What was said in hours before is forgotten with the rest: it costs a refused write each.
                if said.len() >= REMEMBERED {
                    said.clear();
                }
                said.insert(identity);
            }
            Err(_) => {
                self.dropped.inc();
            }
        }
    }
}

fn lock(said: &Mutex<HashSet<u64>>) -> MutexGuard<'_, HashSet<u64>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes announcements as Events.
pub struct Announcer {
    queue: mpsc::Receiver<(Announcement, u64)>,
    writer: Writer,
}

struct Writer {
    client: Client,
    instance: String,
    owners: Owners,
    said: Arc<Mutex<HashSet<u64>>>,
    written: Counter,
    failed: Counter,
    unproven: Counter,
    dropped: Counter,
}

/// What an announcement is about is known.
struct Proven {
    announcement: Announcement,
    identity: u64,
    about: ObjectReference,
}

impl Announcer {
    /// A writer that reports as `instance` (the pod's name), and what feeds it. `snapshots` have the pods that are there.
    pub fn new(
        client: Client,
        instance: String,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        registry: &mut Registry,
    ) -> (Self, Announcements) {
        let registry = registry.sub_registry_with_prefix("announcements");
        let [written, failed, unproven, dropped] = [
            (
                "written",
                "Events written on owners of pods and on namespaces",
            ),
            (
                "failed",
                "Events on owners of pods and on namespaces that could not be written",
            ),
            (
                "unproven",
                "Events not written because the workload that a caller of the webhook named is not known to exist",
            ),
            (
                "dropped",
                "Events on owners of pods and on namespaces dropped because too many waited",
            ),
        ]
        .map(|(name, help)| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        });
        let (sender, queue) = mpsc::channel(QUEUE);
        let said = Arc::<Mutex<HashSet<u64>>>::default();
        let writer = Writer {
            owners: Owners::new(client.clone(), snapshots),
            client,
            instance,
            said: Arc::clone(&said),
            written,
            failed,
            unproven,
            dropped: dropped.clone(),
        };
        let announcer = Self { queue, writer };
        let announcements = Announcements {
            sender,
            said,
            dropped,
        };
        (announcer, announcements)
    }

    /// Writes until `shutdown` is ready.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { queue, writer } = self;
        let (to_look, unproven) = mpsc::channel(LOOKS);
        let (to_write, proven) = mpsc::channel(QUEUE);
        let mut shutdown = pin!(shutdown);
        let work = async {
            tokio::join!(
                writer.sort(queue, to_look, to_write.clone()),
                writer.look(unproven, to_write),
                writer.write_all(proven),
            )
        };
        tokio::select! {
            () = &mut shutdown => return,
            _ = work => {}
        }
        // Nobody is left who could announce.
        shutdown.await;
    }
}

impl Writer {
    /// Parts what can be said at once from what needs a look first.
    async fn sort(
        &self,
        mut queue: mpsc::Receiver<(Announcement, u64)>,
        to_look: mpsc::Sender<(Announcement, u64)>,
        to_write: mpsc::Sender<Proven>,
    ) {
        while let Some((announcement, identity)) = queue.recv().await {
            let about = match &announcement.about {
                About::Object(object) => Some(Ok((**object).clone())),
                About::Workload {
                    namespace,
                    controller,
                } => self.owners.known(namespace, controller),
            };
            match about {
                Some(about) => {
                    let about = about.map_err(LookError::from);
                    self.pass(announcement, identity, about, &to_write).await;
                }
                None => {
                    if to_look.try_send((announcement, identity)).is_err() {
                        lock(&self.said).remove(&identity);
                        self.dropped.inc();
                    }
                }
            }
        }
    }

    /// Looks for the workloads that announcements name, one after the other.
    async fn look(
        &self,
        mut queue: mpsc::Receiver<(Announcement, u64)>,
        to_write: mpsc::Sender<Proven>,
    ) {
        let mut pace = Pace::new(Instant::now());
        while let Some((announcement, identity)) = queue.recv().await {
            let about = match &announcement.about {
                About::Object(object) => Ok((**object).clone()),
                About::Workload {
                    namespace,
                    controller,
                } => {
                    // The look for another announcement may have told by now.
                    if let Some(known) = self.owners.known(namespace, controller) {
                        known.map_err(LookError::from)
                    } else {
                        sleep_until(pace.next(Instant::now())).await;
                        self.owners.look(namespace, controller).await
                    }
                }
            };
            self.pass(announcement, identity, about, &to_write).await;
        }
    }

    /// Hands on what is proven, and counts what is not.
    async fn pass(
        &self,
        announcement: Announcement,
        identity: u64,
        about: Result<ObjectReference, LookError>,
        to_write: &mpsc::Sender<Proven>,
    ) {
        match about {
            Ok(about) => {
                let proven = Proven {
                    announcement,
                    identity,
                    about,
                };
                // It only fails when everything ends.
                let _ = to_write.send(proven).await;
            }
            Err(error) => self.not_said(&announcement, identity, &error.into()),
        }
    }

    async fn write_all(&self, mut queue: mpsc::Receiver<Proven>) {
        let mut pace = Pace::new(Instant::now());
        while let Some(proven) = queue.recv().await {
            sleep_until(pace.next(Instant::now())).await;
            if let Err(error) = self.write(&proven.announcement, proven.about).await {
                self.not_said(&proven.announcement, proven.identity, &error);
            }
        }
    }

    /// It may be announced again.
    fn not_said(&self, announcement: &Announcement, identity: u64, error: &WriteError) {
        lock(&self.said).remove(&identity);
        if let WriteError::Look(LookError::Unproven(why)) = error {
            self.unproven.inc();
            tracing::debug!(reason = announcement.reason, about = ?announcement.about, %why, "nothing is said");
            return;
        }
        self.failed.inc();
        tracing::warn!(reason = announcement.reason, about = ?announcement.about, %error, "cannot write an event");
    }

    async fn write(
        &self,
        announcement: &Announcement,
        about: ObjectReference,
    ) -> Result<(), WriteError> {
        let event = self.event(announcement, about, Timestamp::now());
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let params = PostParams::default();
        match timeout(WRITE_TIME, api.create(&params, &event)).await {
            Ok(Ok(_)) => {
                self.written.inc();
                Ok(())
            }
            // Said already, by another replica or before a restart.
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WriteError::Slow),
        }
    }

    fn event(&self, announcement: &Announcement, about: ObjectReference, now: Timestamp) -> Event {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (kind, namespace, name) =
            (text(&about.kind), text(&about.namespace), text(&about.name));
        let mut note = announcement.text.clone();
        if announcement.anew {
            note += &notes::advice(&kind, &namespace, &name);
        }
        note.truncate(note.floor_char_boundary(NOTE_LIMIT));
        let mut event_name = name;
        event_name.truncate(event_name.floor_char_boundary(NAME_LIMIT));
        // What was cut may end where no part of a name may.
        event_name.truncate(event_name.trim_end_matches(['-', '.']).len());
        let identity = announcement.identity(&text(&about.uid), now);
        // Writing to a String does not fail.
        let _ = write!(event_name, ".{identity:016x}");
        let kind = if announcement.warning {
            "Warning"
        } else {
            "Normal"
        };
        Event {
            metadata: ObjectMeta {
                name: Some(event_name),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            action: Some(announcement.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(announcement.reason.to_owned()),
            regarding: Some(about),
            reporting_controller: Some("outrigger".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(kind.to_owned()),
            ..Event::default()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {WRITE_TIME:?}")]
    Slow,
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        extract::Request,
        http::{Method, StatusCode},
    };

    use super::*;

    fn announcement(subject: &str) -> Announcement {
        let controller = Controller {
            api_version: "apps/v1".to_owned(),
            kind: "ReplicaSet".to_owned(),
            name: "web".to_owned(),
            uid: "u1".to_owned(),
        };
        Announcement {
            about: About::Workload {
                namespace: "shop".to_owned(),
                controller,
            },
            warning: true,
            action: "Inject",
            reason: "RunsAsProxyUser",
            text: "a text".to_owned(),
            subject: subject.to_owned(),
            repeat: Repeat::Hourly,
            anew: false,
        }
    }

    fn announcements(queue: usize) -> (Announcements, mpsc::Receiver<(Announcement, u64)>) {
        let (sender, receiver) = mpsc::channel(queue);
        let announcements = Announcements {
            sender,
            said: Arc::default(),
            dropped: Counter::default(),
        };
        (announcements, receiver)
    }

    #[test]
    fn the_same_is_queued_once_and_what_finds_no_place_is_counted_and_may_come_again() {
        let (announcements, mut queue) = announcements(1);
        announcements.send(announcement("a"));
        announcements.send(announcement("a"));
        assert_eq!(announcements.dropped.get(), 0);
        announcements.send(announcement("b"));
        assert_eq!(announcements.dropped.get(), 1);
        assert_eq!(queue.try_recv().unwrap().0.subject, "a");
        announcements.send(announcement("b"));
        assert_eq!(queue.try_recv().unwrap().0.subject, "b");
    }

    /// An API server that answers reads of workloads with this status, if at all, and takes every Event.
    struct Api {
        requests: Arc<Mutex<Vec<Method>>>,
        client: Client,
    }

    impl Api {
        fn answering_reads(status: Option<StatusCode>) -> Self {
            let requests = Arc::<Mutex<Vec<Method>>>::default();
            let seen = Arc::clone(&requests);
            let answer = async move |request: Request| {
                seen.lock().unwrap().push(request.method().clone());
                if request.method() == Method::POST {
                    return (StatusCode::CREATED, request.into_body());
                }
                let Some(status) = status else {
                    return std::future::pending().await;
                };
                let reason = status.canonical_reason().unwrap().replace(' ', "");
                let body = serde_json::json!({
                    "apiVersion": "v1", "kind": "Status", "status": "Failure",
                    "reason": reason, "code": status.as_u16(),
                });
                (status, Body::from(body.to_string()))
            };
            let router = axum::Router::new().fallback(answer);
            Self {
                requests,
                client: Client::new(router, "default"),
            }
        }

        fn count(&self, method: &Method) -> usize {
            let requests = self.requests.lock().unwrap();
            requests.iter().filter(|one| *one == method).count()
        }

        /// Announces, lets the announcer work for so long, and returns what it counted as failed and as unproven.
        async fn announce(&self, all: Vec<Announcement>, time: Duration) -> (u64, u64) {
            let snapshots = watch::Sender::new(Arc::default()).subscribe();
            let registry = &mut Registry::default();
            let (announcer, announcements) =
                Announcer::new(self.client.clone(), "web-0".to_owned(), snapshots, registry);
            let counters = [&announcer.writer.failed, &announcer.writer.unproven];
            let [failed, unproven] = counters.map(Counter::clone);
            for one in all {
                announcements.send(one);
            }
            announcer.run(tokio::time::sleep(time)).await;
            (failed.get(), unproven.get())
        }
    }

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_looked_up_is_a_failure_and_only_who_does_not_exist_is_unproven() {
        for (status, counted) in [
            (Some(StatusCode::NOT_FOUND), (0, 1)),
            (Some(StatusCode::FORBIDDEN), (1, 0)),
            (Some(StatusCode::INTERNAL_SERVER_ERROR), (1, 0)),
            (None, (1, 0)),
        ] {
            let api = Api::answering_reads(status);
            let found = api.announce(vec![announcement("a")], HOUR).await;
            assert_eq!(found, counted, "{status:?}");
            assert_eq!(api.count(&Method::POST), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_exist_is_looked_for_once_whatever_is_said_of_it() {
        let api = Api::answering_reads(Some(StatusCode::NOT_FOUND));
        let all = (0..200).map(|n| announcement(&n.to_string())).collect();
        assert_eq!(api.announce(all, HOUR).await, (0, 200));
        assert_eq!(api.count(&Method::GET), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_does_not_wait_for_looks_at_what_was_made_up() {
        let api = Api::answering_reads(None);
        let made_up = (0..LOOKS).map(|n| {
            let mut one = announcement("a");
            if let About::Workload { controller, .. } = &mut one.about {
                controller.uid = n.to_string();
            }
            one
        });
        let mut known = announcement("b");
        known.about = About::Object(Box::new(ObjectReference {
            namespace: Some("shop".to_owned()),
            name: Some("web".to_owned()),
            ..ObjectReference::default()
        }));
        let all = made_up.chain([known]).collect();
        // Before the first look has ended.
        api.announce(all, Duration::from_secs(1)).await;
        assert_eq!(api.count(&Method::GET), 1);
        assert_eq!(api.count(&Method::POST), 1);
    }

    #[test]
    fn an_hour_later_the_same_is_news_unless_it_is_said_once() {
        let now: Timestamp = "2026-01-01T00:59:59Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut said = announcement("a");
        assert_ne!(said.identity("u", now), said.identity("u", later));
        said.repeat = Repeat::Never;
        assert_eq!(said.identity("u", now), said.identity("u", later));
        assert_ne!(said.identity("u", now), said.identity("other", now));
    }
}
