//! What would be said if an object were applied or deleted: for admission, before it is stored.

use serde_json::Value;

use crate::api::kind::Kind;
use crate::world::ObjectKey;

use super::message::{Level, Message};
use super::snapshot::Snapshot;

/// What would be said of an object, and what would newly be wrong with others, if it were stored as it is here. The
/// Snapshot stays as it is. Nothing for JSON that is no object of a kind that is read.
pub fn preview(snapshot: &Snapshot, object: &Value) -> Vec<Message> {
    let mut world = snapshot.world().clone();
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("resourceVersion");
    }
    match world.apply(&object) {
        Ok(Some(change)) => {
            let (next, concerned) = snapshot.update(world, std::slice::from_ref(&change));
            let mut messages = next.messages(&change.key).to_vec();
            messages.extend(news(snapshot, &next, &concerned, &change.key));
            messages
        }
        Ok(None) => stored(snapshot, &object).to_vec(),
        Err(_) => Vec::new(),
    }
}

/// What is said of an object that is stored just as it is here.
fn stored<'a>(snapshot: &'a Snapshot, object: &Value) -> &'a [Message] {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let kind = Kind::of(text("apiVersion"), text("kind"));
    kind.map_or(&[], |kind| snapshot.messages(&ObjectKey::of(kind, object)))
}

/// What would newly be wrong with other objects if this one were deleted.
pub fn preview_delete(snapshot: &Snapshot, key: &ObjectKey) -> Vec<Message> {
    let mut world = snapshot.world().clone();
    let Some(change) = world.delete(key) else {
        return Vec::new();
    };
    let (next, concerned) = snapshot.update(world, &[change]);
    news(snapshot, &next, &concerned, key)
}

/// What is merely worth knowing of others is no news to whoever changes this one.
fn news(
    before: &Snapshot,
    after: &Snapshot,
    concerned: &[ObjectKey],
    apart_from: &ObjectKey,
) -> Vec<Message> {
    concerned
        .iter()
        .filter(|key| *key != apart_from)
        .flat_map(|key| {
            after
                .messages(key)
                .iter()
                .filter(|message| message.level != Level::Info)
                .filter(|message| before.messages(key).binary_search(message).is_err())
        })
        .cloned()
        .collect()
}
