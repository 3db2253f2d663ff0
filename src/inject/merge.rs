//! Kubernetes' strategic merge patch on JSON: lists of named things merge by name, other lists are replaced.
//!
//! The merge keys are those of the pod's types (`patchMergeKey` in k8s.io/api/core/v1).

use serde_json::{Map, Value};

/// Directive inside an object of a patch: `delete`, `replace` or `merge`.
const PATCH: &str = "$patch";

/// Where new items of a merged list go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Front,
    Back,
}

/// By what field the items of the list `field` are told apart, and where new ones go; `None`: the list is replaced.
fn merge_key(field: &str) -> Option<(&'static str, Place)> {
    let key = match field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" => "name",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        // The mesh's own registry comes before the user's.
        "imagePullSecrets" => return Some(("name", Place::Front)),
        _ => return None,
    };
    Some((key, Place::Back))
}

/// Merges `patch` into `target`; a `null` takes a field away.
pub fn strategic_merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return;
        }
        Some("delete") => {
            target.clear();
            return;
        }
        _ => {}
    }
    for (field, value) in patch {
        if field == PATCH {
            continue;
        }
        match value {
            Value::Null => {
                // Not `swap_remove`: the order of a person's keys stays.
                target.shift_remove(field);
            }
            Value::Object(patch) => merge_object(target, field, patch),
            Value::Array(items) => match merge_key(field) {
                Some((key, place)) => merge_list(target, field, items, key, place),
                None => {
                    target.insert(field.clone(), value.clone());
                }
            },
            scalar => {
                target.insert(field.clone(), scalar.clone());
            }
        }
    }
}

fn merge_object(target: &mut Map<String, Value>, field: &str, patch: &Map<String, Value>) {
    if patch.get(PATCH).and_then(Value::as_str) == Some("delete") {
        target.shift_remove(field);
        return;
    }
    let slot = target.entry(field).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Value::Object(inner) = slot {
        strategic_merge(inner, patch);
    }
}

fn merge_list(
    target: &mut Map<String, Value>,
    field: &str,
    patch: &[Value],
    key: &str,
    place: Place,
) {
    let slot = target.entry(field).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Value::Array(items) = slot else { return };
    if patch.iter().any(is_replace_directive) {
        items.clear();
    }
    let mut front = 0;
    for entry in patch {
        let Value::Object(entry) = entry else {
            continue;
        };
        let Some(id) = entry.get(key) else { continue };
        let found = items.iter().position(|item| item.get(key) == Some(id));
        let deletes = entry.get(PATCH).and_then(Value::as_str) == Some("delete");
        match (found, deletes) {
            (Some(index), true) => {
                items.remove(index);
            }
            (Some(index), false) => {
                if let Some(Value::Object(item)) = items.get_mut(index) {
                    strategic_merge(item, entry);
                }
            }
            (None, true) => {}
            (None, false) => {
                let mut item = Map::new();
                strategic_merge(&mut item, entry);
                match place {
                    Place::Front => {
                        items.insert(front, Value::Object(item));
                        front += 1;
                    }
                    Place::Back => items.push(Value::Object(item)),
                }
            }
        }
    }
}

/// `- $patch: replace` as an item of its own replaces the whole list by the other items.
fn is_replace_directive(item: &Value) -> bool {
    item.as_object().is_some_and(|item| {
        item.len() == 1 && item.get(PATCH).and_then(Value::as_str) == Some("replace")
    })
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(field, value)| *field != PATCH && !value.is_null())
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: Value) -> Value {
        strategic_merge(target.as_object_mut().unwrap(), patch.as_object().unwrap());
        target
    }

    #[test]
    fn named_items_merge_and_unknown_fields_survive() {
        let target = json!({ "containers": [{ "name": "a", "image": "x", "future": 1,
            "env": [{ "name": "K", "value": "old" }], "args": ["one"] }] });
        let patch = json!({ "containers": [
            { "name": "a", "env": [{ "name": "K", "value": "new" }, { "name": "L" }], "args": ["two"] },
            { "name": "b" },
        ]});
        assert_eq!(
            merged(target, patch),
            json!({ "containers": [
                { "name": "a", "image": "x", "future": 1,
                  "env": [{ "name": "K", "value": "new" }, { "name": "L" }], "args": ["two"] },
                { "name": "b" },
            ]})
        );
    }

    #[test]
    fn null_and_directives_take_away() {
        let target =
            json!({ "a": 1, "b": { "c": 1 }, "volumes": [{ "name": "v" }, { "name": "w" }] });
        let patch = json!({ "a": null, "b": { "$patch": "replace", "d": 2 },
            "volumes": [{ "name": "v", "$patch": "delete" }] });
        assert_eq!(
            merged(target, patch),
            json!({ "b": { "d": 2 }, "volumes": [{ "name": "w" }] })
        );
    }

    #[test]
    fn the_mesh_s_pull_secrets_come_first() {
        let target = json!({ "imagePullSecrets": [{ "name": "user" }] });
        let patch = json!({ "imagePullSecrets": [{ "name": "m1" }, { "name": "m2" }] });
        assert_eq!(
            merged(target, patch),
            json!({ "imagePullSecrets": [{ "name": "m1" }, { "name": "m2" }, { "name": "user" }] })
        );
    }
}
