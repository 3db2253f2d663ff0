//! `/validate`: the validating webhook for Istio's kinds. Answers from memory alone; it makes no call.
//!
//! What is invalid in itself is refused, with every problem named. What it names and what it conflicts with is said as
//! warnings, which `kubectl apply` shows, also with `--dry-run=server`: such an object may become right when another one
//! is applied after it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::HeaderMap,
    response::Response,
    routing::post,
};
use http_body_util::BodyExt as _;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    analysis::{self, Level, Message, Snapshot, diagnoses, validation},
    api::kind::Kind,
    world::ObjectKey,
};

use super::review::{Review, ReviewError};

/// The path under which the webhook is registered.
pub const PATH: &str = "/validate";

/// The API server passes on about 4 KiB of warnings; what is beyond is only counted. The status has them all.
const MOST_WARNINGS: usize = 12;

/// Whether the Snapshot knows every object that verdicts rest on.
pub type Complete = dyn Fn() -> bool + Send + Sync;

/// What the handler needs.
#[derive(Clone)]
pub struct Validator {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    complete: Arc<Complete>,
    decisions: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    decision: &'static str,
}

/// The answer to one question.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    /// Why not, if it is refused.
    refusal: Option<String>,
    warnings: Vec<String>,
}

impl Validator {
    /// `complete` is asked at each call: while objects are unknown, nothing is said about what an object names.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        complete: Arc<Complete>,
        registry: &mut Registry,
    ) -> Validator {
        let decisions = Family::default();
        registry.register(
            "validation_requests",
            "Objects that were asked about, by kind and decision (allowed, warned, denied, ignored)",
            decisions.clone(),
        );
        Validator {
            snapshots,
            complete,
            decisions,
        }
    }

    /// The routes of validation, to be merged with those of other webhooks.
    pub fn router(self) -> Router {
        Router::new().route(PATH, post(handle)).with_state(self)
    }

    /// Answers one request, given its headers and whole body.
    pub fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let review = match Review::read(headers, body) {
            Ok(review) => review,
            Err(error) => {
                tracing::warn!(%error, "not an admission review");
                return error.into_response();
            }
        };
        let Some(kind) = kind_of(&review) else {
            self.count("other", "ignored");
            return review.allow(&[], &[]);
        };
        let snapshot = (self.complete)().then(|| self.snapshots.borrow().clone());
        let decision = decide(&review, kind, snapshot.as_deref());
        match &decision.refusal {
            Some(refusal) => {
                self.count(kind.as_str(), "denied");
                tracing::info!(%kind, namespace = review.text("namespace"), name = review.text("name"), refusal, "denied");
                review.deny(refusal, &decision.warnings)
            }
            None => {
                self.count(
                    kind.as_str(),
                    if decision.warnings.is_empty() {
                        "allowed"
                    } else {
                        "warned"
                    },
                );
                review.allow(&[], &decision.warnings)
            }
        }
    }

    fn count(&self, kind: &'static str, decision: &'static str) {
        self.decisions
            .get_or_create(&Labels { kind, decision })
            .inc();
    }
}

async fn handle(State(validator): State<Validator>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // The server has read the whole body already, within its limits.
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ReviewError::Undecodable(error.to_string()).into_response(),
    };
    // Regular expressions and large objects take a while; connections are served meanwhile.
    match tokio::task::spawn_blocking(move || validator.answer(&head.headers, &body)).await {
        Ok(response) => response,
        Err(error) => ReviewError::Undecodable(error.to_string()).into_response(),
    }
}

/// The kind that is asked about; `None` for subresources and for what is not Istio's.
fn kind_of(review: &Review) -> Option<Kind> {
    let (group, version) = (
        review.inner_text("kind", "group"),
        review.inner_text("kind", "version"),
    );
    let kind = Kind::of(
        &format!("{group}/{version}"),
        review.inner_text("kind", "kind"),
    )?;
    (kind.has_status() && review.text("subResource").is_empty()).then_some(kind)
}

/// `snapshot` is what else is known, if it is known.
fn decide(review: &Review, kind: Kind, snapshot: Option<&Snapshot>) -> Decision {
    let pass = Decision {
        refusal: None,
        warnings: Vec::new(),
    };
    let old = review
        .old_object()
        .map(|object| identified(object, review, kind));
    match (review.text("operation"), review.object()) {
        ("DELETE", _) => {
            let messages = snapshot.zip(old).map(|(snapshot, old)| {
                let key = ObjectKey::of(kind, &old);
                (analysis::preview_delete(snapshot, &key), key)
            });
            let warnings = messages.map(|(messages, key)| warnings(&messages, &key));
            Decision {
                refusal: None,
                warnings: warnings.unwrap_or_default(),
            }
        }
        ("CREATE" | "UPDATE", Some(object)) => {
            let object = identified(object, review, kind);
            let leaves = !object["metadata"]["deletionTimestamp"].is_null();
            if leaves
                || old
                    .as_ref()
                    .is_some_and(|old| old["spec"] == object["spec"])
            {
                return pass;
            }
            stored(&object, old.as_ref(), kind, snapshot)
        }
        ("CREATE" | "UPDATE", None) => Decision {
            refusal: Some(format!("request.object: must be a {kind}")),
            warnings: Vec::new(),
        },
        _ => pass,
    }
}

/// Decides on an object that comes or changes.
fn stored(
    object: &Value,
    old: Option<&Value>,
    kind: Kind,
    snapshot: Option<&Snapshot>,
) -> Decision {
    let own = validation::validate(object);
    let before = old.map(validation::validate).unwrap_or_default();
    let refused = new_errors(&before, &own);
    if !refused.is_empty() {
        let lines: Vec<String> = refused.iter().map(|message| message.line()).collect();
        return Decision {
            refusal: Some(lines.join("; ")),
            warnings: Vec::new(),
        };
    }
    let key = ObjectKey::of(kind, object);
    let messages = snapshot.map_or(own, |snapshot| analysis::preview(snapshot, object));
    Decision {
        refusal: None,
        warnings: warnings(&messages, &key),
    }
}

/// Errors that the object did not have before. An error is the same when it stands in another item of a list: a route
/// that is put before a faulty one must not make that one count as new.
fn new_errors<'a>(before: &[Message], now: &'a [Message]) -> Vec<&'a Message> {
    let mut known: Vec<(String, &str)> = before
        .iter()
        .filter(|message| message.level == Level::Error)
        .map(|message| (without_indices(&message.path), message.text.as_str()))
        .collect();
    let is_new = |message: &&Message| {
        let same = known.iter().position(|(path, text)| {
            *text == message.text && *path == without_indices(&message.path)
        });
        same.map(|index| known.swap_remove(index)).is_none()
    };
    now.iter()
        .filter(|message| message.level == Level::Error)
        .filter(is_new)
        .collect()
}

/// A field path with `[]` in the place of `[3]`; keys of maps stay.
fn without_indices(path: &str) -> String {
    let mut stripped = String::with_capacity(path.len());
    for part in path.split_inclusive('[') {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        stripped.push_str(if part[digits..].starts_with(']') {
            &part[digits..]
        } else {
            part
        });
    }
    stripped
}

/// What to say about the object, and about others that it affects, in the API server's measure.
fn warnings(messages: &[Message], key: &ObjectKey) -> Vec<String> {
    let line = |message: &Message| {
        if message.object == *key {
            format!("[{}] {}", message.code, message.line())
        } else {
            format!("[{}] {}: {}", message.code, message.object, message.line())
        }
    };
    let mut told = messages.iter().filter(|message| !is_early(message));
    let mut lines: Vec<String> = told.by_ref().take(MOST_WARNINGS).map(line).collect();
    match told.count() {
        0 => {}
        more => lines.push(format!("and {more} more; see the status")),
    }
    lines
}

/// What is true of every object that comes before those that refer to it, and no reason to warn.
fn is_early(message: &Message) -> bool {
    [
        diagnoses::SERVER_WITHOUT_ROUTES.reason,
        diagnoses::DELEGATE_UNUSED.reason,
    ]
    .contains(&message.reason)
}

/// The object with what the API server knows about it from elsewhere: kind, version, namespace, and a name for one
/// whose name is still to be generated.
fn identified(object: &Value, review: &Review, kind: Kind) -> Value {
    let mut object = object.clone();
    let Some(members) = object.as_object_mut() else {
        return object;
    };
    members.insert("apiVersion".to_owned(), json!(kind.api_version()));
    members.insert("kind".to_owned(), json!(kind.as_str()));
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return object;
    };
    let empty = |value: Option<&Value>| value.and_then(Value::as_str).is_none_or(str::is_empty);
    if empty(metadata.get("namespace")) {
        metadata.insert("namespace".to_owned(), json!(review.text("namespace")));
    }
    if empty(metadata.get("name")) {
        let prefix = metadata
            .get("generateName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = if review.text("name").is_empty() {
            format!("{prefix}(new)")
        } else {
            review.text("name").to_owned()
        };
        metadata.insert("name".to_owned(), json!(name));
    }
    object
}
#[cfg(test)]
mod tests;
