//! Messages → the status of their object.
//!
//! Conditions: `Accepted` (the object in itself is valid), `ResolvedRefs` (everything it names exists), `Conflicted`
//! (only when it is; also for ports of Gateways), `PortsExposed` (on a Gateway: a Service exposes every port), `Ready` as the summary, and `Stalled=True` with the same reason where waiting cannot cure it (kstatus reads `Ready=False` as in
//! progress), absent otherwise. `validationMessages` has Istio's shape.
//! Live status is read leniently: under Istio's own CRDs every member is optional and `observedGeneration` may be text.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::diagnoses::PORT_CONFLICT;
use super::message::{Aspect, Diagnosis, Level, Message};

/// Longest message of a condition, in bytes; the API server refuses more than 32 KiB.
const MESSAGE_LIMIT: usize = 32 * 1024;

/// Most entries of `validationMessages`.
const VALIDATION_MESSAGES_LIMIT: usize = 100;

pub use crate::api::conditions::{
    ACCEPTED, CONFLICTED, OURS, PORTS_EXPOSED, READY, RESOLVED_REFS, STALLED,
};

/// What [`READY`] says when nothing is wrong.
pub(super) const IS_READY: &str = "The object is valid and everything that it names exists.";

/// One condition without its bookkeeping (generation, transition time).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase, stable.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Condition {
    fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Whether it says that something is wrong.
    pub fn is_bad(&self) -> bool {
        let bad = if [CONFLICTED, STALLED].contains(&&*self.kind) {
            "True"
        } else {
            "False"
        };
        self.status == bad
    }

    /// The condition of one type in a live status, as far as it can be read.
    pub fn read(status: Option<&Value>, kind: &str) -> Option<Condition> {
        let found = live_conditions(status).find(|condition| condition["type"] == kind)?;
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        Some(Condition::new(
            kind,
            text("status"),
            text("reason"),
            text("message"),
        ))
    }
}

/// The conditions that an object with these messages must have; those of [`OURS`] that are not among them must be
/// absent. `standing` are those that rest on no message ([`super::Snapshot::standing`]): each stands where the messages
/// do not turn the condition of its type.
pub fn desired(messages: &[Message], standing: &[Condition]) -> Vec<Condition> {
    let stands = |kind: &str| standing.iter().find(|one| one.kind == kind);
    let of = |aspect| Finding::of(messages, aspect);
    let unreadable = of(Aspect::Readable);
    let is_readable = unreadable.is_none();
    let accepted = unreadable.or_else(|| of(Aspect::Accepted));
    let conflicted = of(Aspect::Conflicted).or_else(|| Finding::said(messages, &PORT_CONFLICT));
    let resolved = of(Aspect::ResolvedRefs);
    let exposed = of(Aspect::PortsExposed)
        .map(|finding| finding.condition(PORTS_EXPOSED, "False"))
        .or_else(|| stands(PORTS_EXPOSED).cloned());
    let mut conditions = vec![
        match &accepted {
            Some(finding) => finding.condition(ACCEPTED, "False"),
            None => Condition::new(ACCEPTED, "True", "Accepted", "The object is valid."),
        },
        match &resolved {
            Some(finding) => finding.condition(RESOLVED_REFS, "False"),
            None if let Some(finding) = of(Aspect::Unresolved) => {
                finding.condition(RESOLVED_REFS, "Unknown")
            }
            None if let Some(finding) = of(Aspect::Resolving) => {
                finding.condition(RESOLVED_REFS, "True")
            }
            None if is_readable => Condition::new(
                RESOLVED_REFS,
                "True",
                "ResolvedRefs",
                "Everything that the object names exists.",
            ),
            None => Condition::new(
                RESOLVED_REFS,
                "Unknown",
                "Invalid",
                "The object cannot be read.",
            ),
        },
    ];
    conditions.extend(
        conflicted
            .as_ref()
            .map(|finding| finding.condition(CONFLICTED, "True")),
    );
    let hidden = exposed.clone().filter(|one| one.status == "False");
    conditions.extend(exposed);
    let stalled = accepted.or(conflicted);
    let worst = stalled.as_ref().or(resolved.as_ref());
    conditions.push(match (worst, hidden) {
        (Some(finding), _) => finding.condition(READY, "False"),
        (None, Some(hidden)) => Condition {
            kind: READY.to_owned(),
            ..hidden
        },
        (None, None) if of(Aspect::Unresolved).is_some() => {
            let text = "The object is valid; not everything that it names could be looked at, see ResolvedRefs.";
            Condition::new(READY, "True", "Ready", text)
        }
        (None, None) => stands(READY)
            .cloned()
            .unwrap_or_else(|| Condition::new(READY, "True", "Ready", IS_READY)),
    });
    conditions.extend(stalled.map(|finding| finding.condition(STALLED, "True")));
    conditions
}

/// Whether one of these conditions says that something is wrong where the live status does not say so.
pub fn turn_bad(live_status: Option<&Value>, desired: &[Condition]) -> bool {
    let was_bad =
        |kind: &str| Condition::read(live_status, kind).is_some_and(|before| before.is_bad());
    let mut bad = desired.iter().filter(|condition| condition.is_bad());
    bad.any(|condition| !was_bad(&condition.kind))
}

/// The merge patch (`{"status": …}`) that brings a live status to what the messages say, or `None` when it is there
/// already. `standing` is as for [`desired`], `generation` is the object's, `now` is the time of conditions whose status changes.
///
/// Conditions of other types, their order, and members of `status` that are not ours stay.
pub fn status_patch(
    live_status: Option<&Value>,
    generation: i64,
    messages: &[Message],
    standing: &[Condition],
    now: Timestamp,
) -> Option<Value> {
    let mut patch = Map::new();
    let mut set = |name: &str, wanted: Value| {
        let live = live_status.map_or(&Value::Null, |status| &status[name]);
        let absent_is_empty = wanted.is_null() && live.as_array().is_some_and(Vec::is_empty);
        if *live != wanted && !absent_is_empty {
            patch.insert(name.to_owned(), wanted);
        }
    };
    set(
        "conditions",
        conditions(live_status, generation, &desired(messages, standing), now),
    );
    set("observedGeneration", json!(generation));
    set("validationMessages", validation_messages(messages));
    (!patch.is_empty()).then(|| json!({ "status": patch }))
}

/// What the messages of one aspect come to.
struct Finding {
    reason: &'static str,
    text: String,
}

impl Finding {
    fn of(messages: &[Message], aspect: Aspect) -> Option<Finding> {
        Self::among(messages, |message| message.aspect == aspect)
    }

    /// What the messages of one diagnosis come to.
    fn said(messages: &[Message], diagnosis: &Diagnosis) -> Option<Finding> {
        let is_it = |message: &Message| {
            (message.code, message.reason) == (diagnosis.code, diagnosis.reason)
        };
        Self::among(messages, is_it)
    }

    fn among(messages: &[Message], concerns: impl Fn(&Message) -> bool) -> Option<Finding> {
        let mut concerned: Vec<&Message> = messages
            .iter()
            .filter(|message| concerns(message))
            .collect();
        concerned.sort();
        Some(Finding {
            reason: concerned.first()?.reason,
            text: summary(&concerned),
        })
    }

    fn condition(&self, kind: &str, status: &str) -> Condition {
        Condition::new(kind, status, self.reason, self.text.clone())
    }
}

/// All lines, as many as fit.
fn summary(messages: &[&Message]) -> String {
    joined(messages.iter().map(|message| message.line()), " | ")
}

/// As many lines as fit into the message of a condition, and how many more there are.
pub(super) fn joined(lines: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    /// Room for saying how many are left out.
    const RESERVE: usize = 64;
    let count = lines.len();
    let mut text = String::new();
    for (index, line) in lines.enumerate() {
        if index > 0 && text.len() + separator.len() + line.len() > MESSAGE_LIMIT - RESERVE {
            text.push_str(&format!("{separator}and {} more", count - index));
            break;
        }
        if index > 0 {
            text.push_str(separator);
        }
        text.push_str(truncated(&line, MESSAGE_LIMIT - RESERVE));
    }
    text
}

fn truncated(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit.min(text.len()))]
}

fn live_conditions(status: Option<&Value>) -> impl Iterator<Item = &Value> {
    status
        .and_then(|status| status["conditions"].as_array())
        .into_iter()
        .flatten()
}

/// The whole list as it must be: live conditions keep their places, those that are new come last.
fn conditions(
    live_status: Option<&Value>,
    generation: i64,
    desired: &[Condition],
    now: Timestamp,
) -> Value {
    let mut missing: Vec<&Condition> = desired.iter().collect();
    let mut list = Vec::new();
    for live in live_conditions(live_status) {
        let kind = live["type"].as_str().unwrap_or_default();
        if !OURS.contains(&kind) {
            list.push(live.clone());
        } else if let Some(place) = missing.iter().position(|condition| condition.kind == kind) {
            list.push(condition(missing.remove(place), live, generation, now));
        }
    }
    list.extend(
        missing
            .into_iter()
            .map(|wanted| condition(wanted, &Value::Null, generation, now)),
    );
    Value::Array(list)
}

fn condition(wanted: &Condition, live: &Value, generation: i64, now: Timestamp) -> Value {
    let since = live["lastTransitionTime"]
        .as_str()
        .filter(|time| {
            live["status"] == wanted.status.as_str() && time.parse::<Timestamp>().is_ok()
        })
        .map_or_else(
            || now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            str::to_owned,
        );
    json!({
        "type": wanted.kind,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    })
}

/// The messages in Istio's shape; `null` (no member) when there are none.
fn validation_messages(messages: &[Message]) -> Value {
    let mut sorted: Vec<&Message> = messages.iter().collect();
    sorted.sort();
    let list: Vec<Value> = sorted
        .into_iter()
        .take(VALIDATION_MESSAGES_LIMIT)
        .map(validation_message)
        .collect();
    if list.is_empty() {
        Value::Null
    } else {
        Value::Array(list)
    }
}

fn validation_message(message: &Message) -> Value {
    let level = match message.level {
        Level::Error => "ERROR",
        Level::Warning => "WARNING",
        Level::Info => "INFO",
    };
    let mut entry = json!({"type": {"code": message.code, "name": message.name}, "level": level});
    if let Some(url) = message.documentation_url() {
        entry["documentationUrl"] = Value::from(url);
    }
    entry
}
