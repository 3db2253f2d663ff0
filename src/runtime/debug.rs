//! `/debug/snapshot`: what the control plane knows and says, for people who look for the cause of something.

use std::sync::Arc;

use axum::{Router, http::header, routing::get};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::{analysis::Snapshot, api::kind::Kind};

/// The debug pages. For a loopback address only: they show every object's name and what is said about it.
pub fn pages(snapshots: watch::Receiver<Arc<Snapshot>>) -> Router {
    let page = async move || {
        let snapshot = Arc::clone(&snapshots.borrow());
        let json = [(header::CONTENT_TYPE, "application/json")];
        (json, page(&snapshot).to_string())
    };
    Router::new().route("/debug/snapshot", get(page))
}

/// Every object with its version and its messages, by kind.
fn page(snapshot: &Snapshot) -> Value {
    let world = snapshot.world();
    let kinds = Kind::all().map(|kind| {
        let objects = world.keys(kind).into_iter().map(|key| {
            let meta = world.metadata(&key);
            let messages = snapshot.messages(&key).iter().map(ToString::to_string);
            let object = json!({
                "generation": meta.map(|meta| meta.generation),
                "resourceVersion": meta.map(|meta| meta.resource_version.as_str()),
                "messages": messages.collect::<Vec<_>>(),
            });
            (key.qualified_name(), object)
        });
        (
            kind.unique_plural().to_owned(),
            Value::Object(objects.collect()),
        )
    });
    Value::Object(kinds.collect::<Map<_, _>>())
}
