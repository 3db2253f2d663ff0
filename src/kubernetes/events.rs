//! Kubernetes Events about conditions that changed: a warning when one turns bad, a normal one when all is well again.
//!
//! Events are news for people, not state: under load the oldest wait, the newest are dropped and counted, and so are those
//! of an object that turns to and fro; the conditions still say it all.

use std::{collections::HashMap, pin::pin, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    lease::{Leadership, WriteError},
    pace::{Pace, PerObject},
};
use crate::{
    analysis::{
        conditions::{ACCEPTED, CONFLICTED, Condition, PORTS_EXPOSED, READY, RESOLVED_REFS},
        diagnoses,
    },
    world::ObjectKey,
};

/// How many notices may wait.
const QUEUE: usize = 1024;
/// What is said again within this time is counted on the Event that said it first; as client-go does it.
const SERIES: Duration = Duration::from_secs(6 * 60);
/// Of how many Events that is remembered.
const MOST_SERIES: usize = 1024;
/// Longest note of an event, in bytes; the API server refuses more.
pub const NOTE_LIMIT: usize = 1024;

/// A condition that changed so that people should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transition {
    /// Whether it turned bad; else it is a cure.
    pub warning: bool,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// The transitions of one object.
#[derive(Debug)]
pub struct Notice {
    /// The object.
    pub object: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// Its `apiVersion`.
    pub api_version: String,
    /// What to say about it.
    pub transitions: Vec<Transition>,
}

/// What changes for people from a live status to these conditions.
pub fn transitions(live: Option<&Value>, desired: &[Condition]) -> Vec<Transition> {
    let is_bad = |condition: &Condition| condition.is_bad() || is_remarkable(condition);
    let of = |kind: &str| desired.iter().find(|condition| condition.kind == kind);
    let transition = |warning: bool, condition: &Condition| Transition {
        warning,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    };
    let turned_bad = [ACCEPTED, RESOLVED_REFS, CONFLICTED, PORTS_EXPOSED]
        .into_iter()
        .filter_map(|kind| {
            let now = of(kind).filter(|condition| is_bad(condition))?;
            let before = Condition::read(live, kind);
            (before.as_ref() != Some(now)).then(|| transition(true, now))
        });
    let cured = of(READY).filter(|now| {
        let was_bad = Condition::read(live, READY).is_some_and(|before| is_bad(&before));
        was_bad && !is_bad(now)
    });
    let cured = cured.map(|now| transition(false, now));
    let mut transitions: Vec<Transition> = turned_bad.chain(cured).collect();
    // Ports over which Gateways conflict turn two conditions in the same words.
    transitions.dedup();
    transitions
}

/// Whether `ResolvedRefs` tells more than that it holds: a certificate that ends soon, a Secret that may not be read.
fn is_remarkable(condition: &Condition) -> bool {
    let nothing_more = [RESOLVED_REFS, diagnoses::UNREADABLE.reason];
    condition.kind == RESOLVED_REFS
        && condition.status != "False"
        && !nothing_more.contains(&&*condition.reason)
}

/// Takes notices without ever waiting.
#[derive(Debug, Clone)]
pub struct Notices {
    sender: mpsc::Sender<Notice>,
    dropped: Counter,
}

impl Notices {
    /// Queues a notice, or drops it if too many wait.
    pub fn send(&self, notice: Notice) {
        if !notice.transitions.is_empty() && self.sender.try_send(notice).is_err() {
            self.dropped.inc();
        }
    }
}

/// Writes Events.
pub struct EventWriter {
    recorders: Recorders,
    notices: mpsc::Receiver<Notice>,
    leadership: Leadership,
    written: Counter,
    failed: Counter,
    dropped: Counter,
}

impl EventWriter {
    /// A writer that reports as `instance` (the pod's name), and what feeds it.
    pub fn new(
        client: Client,
        instance: String,
        leadership: Leadership,
        registry: &mut Registry,
    ) -> (Self, Notices) {
        let registry = registry.sub_registry_with_prefix("events");
        let [written, failed, dropped] = [
            ("written", "Events written"),
            ("failed", "Events that could not be written"),
            (
                "dropped",
                "Events dropped because too many waited, or because their object had too many",
            ),
        ]
        .map(|(name, help)| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        });
        let reporter = Reporter {
            controller: "outrigger".to_owned(),
            instance: Some(instance),
        };
        let (sender, notices) = mpsc::channel(QUEUE);
        let recorders = Recorders {
            client,
            reporter,
            known: HashMap::new(),
        };
        let writer = Self {
            recorders,
            notices,
            leadership,
            written,
            failed,
            dropped: dropped.clone(),
        };
        (writer, Notices { sender, dropped })
    }

    /// Writes until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut pace = Pace::new(Instant::now());
        let mut per_object = PerObject::default();
        loop {
            let notice = tokio::select! {
                () = &mut shutdown => return,
                Some(notice) = self.notices.recv() => notice,
            };
            for transition in &notice.transitions {
                if !per_object.admits(&notice.object, Instant::now()) {
                    self.dropped.inc();
                    continue;
                }
                tokio::select! {
                    () = &mut shutdown => return,
                    () = sleep_until(pace.next(Instant::now())) => {}
                }
                self.write(&notice, transition).await;
            }
        }
    }

    async fn write(&mut self, notice: &Notice, transition: &Transition) {
        let object = &notice.object;
        let reference = ObjectReference {
            api_version: Some(notice.api_version.clone()),
            kind: Some(object.kind.as_str().to_owned()),
            namespace: Some(object.namespace.to_string()),
            name: Some(object.name.to_string()),
            uid: Some(notice.uid.clone()),
            ..ObjectReference::default()
        };
        let limit = transition.message.floor_char_boundary(NOTE_LIMIT);
        let event = Event {
            type_: if transition.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: transition.reason.clone(),
            note: Some(transition.message[..limit].to_owned()),
            action: "Analyze".to_owned(),
            secondary: None,
        };
        let recorder = self.recorders.of(&notice.uid, transition);
        let publishing = recorder.publish(&event, &reference);
        match self.leadership.write(publishing).await {
            Ok(()) => {
                self.written.inc();
            }
            Err(WriteError::NotLeader) => {}
            Err(error) => {
                self.failed.inc();
                tracing::warn!(%object, %error, "cannot write an event");
            }
        }
    }
}

/// A recorder for each thing that is said of an object. One for all would take the next event of the same reason for a
/// repetition of the first and keep that one's note, which names what was wrong before and not what is wrong now.
struct Recorders {
    client: Client,
    reporter: Reporter,
    known: HashMap<(String, Transition), (Recorder, Instant)>,
}

impl Recorders {
    fn of(&mut self, uid: &str, transition: &Transition) -> Recorder {
        let now = Instant::now();
        self.known
            .retain(|_, (_, last)| now.duration_since(*last) < SERIES);
        if self.known.len() >= MOST_SERIES {
            self.known.clear();
        }
        let new = || Recorder::new(self.client.clone(), self.reporter.clone());
        let said = (uid.to_owned(), transition.clone());
        let (recorder, last) = self.known.entry(said).or_insert_with(|| (new(), now));
        *last = now;
        recorder.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: format!("because of {reason}"),
        }
    }

    fn status(conditions: &[Condition]) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|c| {
                json!({ "type": c.kind, "status": c.status, "reason": c.reason, "message": c.message })
            })
            .collect();
        json!({ "conditions": conditions })
    }

    fn good() -> [Condition; 3] {
        [
            condition(ACCEPTED, "True", "Accepted"),
            condition(RESOLVED_REFS, "True", "ResolvedRefs"),
            condition(READY, "True", "Ready"),
        ]
    }

    fn bad() -> [Condition; 3] {
        [
            condition(ACCEPTED, "True", "Accepted"),
            condition(RESOLVED_REFS, "False", "SubsetNotFound"),
            condition(READY, "False", "SubsetNotFound"),
        ]
    }

    fn reasons(transitions: &[Transition]) -> Vec<(bool, &str)> {
        transitions
            .iter()
            .map(|t| (t.warning, t.reason.as_str()))
            .collect()
    }

    #[test]
    fn a_condition_that_turns_bad_is_a_warning_and_the_cure_is_normal() {
        let warned = transitions(Some(&status(&good())), &bad());
        assert_eq!(reasons(&warned), [(true, "SubsetNotFound")]);
        let cured = transitions(Some(&status(&bad())), &good());
        assert_eq!(reasons(&cured), [(false, "Ready")]);
    }

    #[test]
    fn a_first_verdict_is_news_only_if_it_is_bad() {
        assert_eq!(
            reasons(&transitions(None, &bad())),
            [(true, "SubsetNotFound")]
        );
        assert_eq!(reasons(&transitions(None, &good())), []);
    }

    #[test]
    fn what_stays_as_it_was_is_no_news() {
        assert_eq!(reasons(&transitions(Some(&status(&bad())), &bad())), []);
        assert_eq!(reasons(&transitions(Some(&status(&good())), &good())), []);
    }

    #[test]
    fn a_conflict_is_bad_when_it_is_true() {
        let mut conflict = good().to_vec();
        conflict.push(condition(CONFLICTED, "True", "HostConflict"));
        let warned = transitions(Some(&status(&good())), &conflict);
        assert_eq!(reasons(&warned), [(true, "HostConflict")]);
        conflict.push(condition(PORTS_EXPOSED, "False", "HostConflict"));
        let warned = transitions(Some(&status(&good())), &conflict);
        assert_eq!(reasons(&warned), [(true, "HostConflict")], "the same words");
    }
}
