//! Events for the owners of pods: what surprises about a pod is said where people look, on the workload.
//!
//! Any replica announces. The same thing about the same object is one Event an hour, whoever says it and however often:
//! the Event's name is made from what it says, so of several replicas the API server takes the first. Nothing waits
//! for an announcement: too many are dropped and counted, and those that failed are made again by the next pod.

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
    owners::{Owners, Unproven},
    pace::Pace,
};
use crate::{analysis::Snapshot, audit::notes, world::Controller};

/// How many may wait.
const QUEUE: usize = 1024;
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
    client: Client,
    instance: String,
    owners: Owners,
    queue: mpsc::Receiver<(Announcement, u64)>,
    said: Arc<Mutex<HashSet<u64>>>,
    written: Counter,
    failed: Counter,
    unproven: Counter,
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
        let announcer = Self {
            owners: Owners::new(client.clone(), snapshots),
            client,
            instance,
            queue,
            said: Arc::clone(&said),
            written,
            failed,
            unproven,
        };
        let announcements = Announcements {
            sender,
            said,
            dropped,
        };
        (announcer, announcements)
    }

    /// Writes until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut pace = Pace::new(Instant::now());
        loop {
            let (announcement, identity) = tokio::select! {
                () = &mut shutdown => return,
                Some(next) = self.queue.recv() => next,
            };
            tokio::select! {
                () = &mut shutdown => return,
                () = sleep_until(pace.next(Instant::now())) => {}
            }
            let written = tokio::select! {
                () = &mut shutdown => return,
                written = self.write(&announcement) => written,
            };
            if let Err(error) = written {
                lock(&self.said).remove(&identity);
                if let WriteError::Unproven(why) = &error {
                    self.unproven.inc();
                    tracing::debug!(reason = announcement.reason, about = ?announcement.about, %why, "nothing is said");
                    continue;
                }
                self.failed.inc();
                tracing::warn!(reason = announcement.reason, about = ?announcement.about, %error, "cannot write an event");
            }
        }
    }

    async fn write(&mut self, announcement: &Announcement) -> Result<(), WriteError> {
        let about = match &announcement.about {
            About::Object(object) => (**object).clone(),
            About::Workload {
                namespace,
                controller,
            } => self.owners.topmost(namespace, controller).await?,
        };
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
    Unproven(#[from] Unproven),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {WRITE_TIME:?}")]
    Slow,
}

#[cfg(test)]
mod tests {
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
