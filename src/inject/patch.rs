//! The difference of two JSON documents as an RFC 6902 patch that adds rather than replaces.
//!
//! Items of lists are told apart by their `name`, so that a container put in front of others is one addition and
//! not a rewriting of the whole list: what other webhooks see, and what audit logs keep, is what was meant.

use std::collections::HashSet;

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf,
};
use serde_json::{Map, Value};

/// The patch that makes `to` of `from`.
pub fn diff(from: &Value, to: &Value) -> Patch {
    let mut operations = Vec::new();
    diff_values(from, to, &mut PointerBuf::new(), &mut operations);
    Patch(operations)
}

fn diff_values(from: &Value, to: &Value, at: &mut PointerBuf, out: &mut Vec<PatchOperation>) {
    match (from, to) {
        _ if from == to => {}
        (Value::Object(from), Value::Object(to)) => diff_objects(from, to, at, out),
        (Value::Array(from), Value::Array(to)) if named(from) && named(to) => {
            diff_named(from, to, at, out);
        }
        (Value::Array(from), Value::Array(to)) if to.starts_with(from) => {
            for item in &to[from.len()..] {
                push(out, at, "-", |path| add(path, item));
            }
        }
        _ => out.push(PatchOperation::Replace(ReplaceOperation {
            path: at.clone(),
            value: to.clone(),
        })),
    }
}

fn diff_objects(
    from: &Map<String, Value>,
    to: &Map<String, Value>,
    at: &mut PointerBuf,
    out: &mut Vec<PatchOperation>,
) {
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        push(out, at, key, remove);
    }
    for (key, value) in to {
        match from.get(key) {
            Some(before) => {
                at.push_back(key.as_str());
                diff_values(before, value, at, out);
                at.pop_back();
            }
            None => push(out, at, key, |path| add(path, value)),
        }
    }
}

/// Both lists have items with different names: walks along `to` and keeps `work`, the list as patched so far.
fn diff_named(from: &[Value], to: &[Value], at: &mut PointerBuf, out: &mut Vec<PatchOperation>) {
    let mut work: Vec<&Value> = from.iter().collect();
    let kept: HashSet<Option<&str>> = to.iter().map(name).collect();
    for index in (0..work.len()).rev() {
        if !kept.contains(&name(work[index])) {
            work.remove(index);
            push(out, at, &index.to_string(), remove);
        }
    }
    for (index, item) in to.iter().enumerate() {
        let found = work
            .iter()
            .skip(index)
            .position(|other| name(other) == name(item))
            .map(|offset| index + offset);
        if found == Some(index) {
            at.push_back(index);
            diff_values(work[index], item, at, out);
            at.pop_back();
            continue;
        }
        if let Some(elsewhere) = found {
            work.remove(elsewhere);
            push(out, at, &elsewhere.to_string(), remove);
        }
        work.insert(index, item);
        push(out, at, &index.to_string(), |path| add(path, item));
    }
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

/// Whether all items have names and no two the same.
fn named(items: &[Value]) -> bool {
    let mut names: Vec<_> = items.iter().map(name).collect();
    names.sort_unstable();
    names.iter().all(Option::is_some) && names.windows(2).all(|pair| pair[0] != pair[1])
}

fn push(
    out: &mut Vec<PatchOperation>,
    at: &mut PointerBuf,
    token: &str,
    operation: impl FnOnce(PointerBuf) -> PatchOperation,
) {
    at.push_back(token);
    out.push(operation(at.clone()));
    at.pop_back();
}

fn add(path: PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path,
        value: value.clone(),
    })
}

fn remove(path: PointerBuf) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(from: &Value, to: &Value) -> Patch {
        let patch = diff(from, to);
        let mut patched = from.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(&patched, to);
        patch
    }

    #[test]
    fn a_container_in_front_is_one_addition() {
        let patch = check(
            &json!({ "containers": [{ "name": "a" }, { "name": "b" }] }),
            &json!({ "containers": [{ "name": "new" }, { "name": "a", "x/y": 1 }, { "name": "b" }] }),
        );
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!([
                { "op": "add", "path": "/containers/0", "value": { "name": "new" } },
                { "op": "add", "path": "/containers/1/x~1y", "value": 1 },
            ])
        );
    }

    fn items() -> impl Strategy<Value = Value> {
        let item = (0..5_u8, 0..3_u8)
            .prop_map(|(name, value)| json!({ "name": name.to_string(), "v": value }));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(Value::Array),
            prop::collection::vec(0..4_u8, 0..5).prop_map(|list| json!(list)),
            (0..3_u8).prop_map(|number| json!(number)),
        ]
    }

    proptest! {
        #[test]
        fn the_patch_always_leads_to_the_target(from in items(), to in items()) {
            check(&json!({ "list": from, "a~b": {} }), &json!({ "list": to }));
        }
    }
}
