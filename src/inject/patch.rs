//! The difference of two JSON documents as an RFC 6902 patch that adds rather than replaces.
//!
//! Items of lists are told apart by their `name`, so that a container put in front of others is one addition and
//! not a rewriting of the whole list: what other webhooks see, and what audit logs keep, is what was meant.

use std::collections::HashSet;

use json_patch::jsonptr::PointerBuf;
use serde::Serialize;
use serde_json::{Map, Value};

/// One step of a patch. The values stay where they are: a patch is written once and forgotten.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation<'v> {
    /// Puts a value where none is, or into a list before the item that is there.
    Add {
        /// Where.
        path: PointerBuf,
        /// What.
        value: &'v Value,
    },
    /// Takes away what is there.
    Remove {
        /// Where.
        path: PointerBuf,
    },
    /// Puts another value in the place of the one that is there.
    Replace {
        /// Where.
        path: PointerBuf,
        /// What.
        value: &'v Value,
    },
}

/// The patch that makes `to` of `from`.
pub fn diff<'v>(from: &'v Value, to: &'v Value) -> Vec<Operation<'v>> {
    let mut operations = Vec::new();
    diff_values(from, to, &mut PointerBuf::new(), &mut operations);
    operations
}

fn diff_values<'v>(
    from: &'v Value,
    to: &'v Value,
    at: &mut PointerBuf,
    out: &mut Vec<Operation<'v>>,
) {
    match (from, to) {
        // Objects are equal when none of their fields differs: asking first would compare what lies deep once for
        // each level above it.
        (Value::Object(from), Value::Object(to)) => diff_objects(from, to, at, out),
        _ if from == to => {}
        (Value::Array(from), Value::Array(to)) if named(from) && named(to) => {
            diff_named(from, to, at, out);
        }
        (Value::Array(from), Value::Array(to)) if to.starts_with(from) => {
            for item in &to[from.len()..] {
                push(out, at, "-", |path| Operation::Add { path, value: item });
            }
        }
        _ => out.push(Operation::Replace {
            path: at.clone(),
            value: to,
        }),
    }
}

fn diff_objects<'v>(
    from: &'v Map<String, Value>,
    to: &'v Map<String, Value>,
    at: &mut PointerBuf,
    out: &mut Vec<Operation<'v>>,
) {
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        push(out, at, key, |path| Operation::Remove { path });
    }
    for (key, value) in to {
        match from.get(key) {
            Some(before) => {
                at.push_back(key.as_str());
                diff_values(before, value, at, out);
                at.pop_back();
            }
            None => push(out, at, key, |path| Operation::Add { path, value }),
        }
    }
}

/// Both lists have items with different names: walks along `to` and keeps `work`, the list as patched so far.
fn diff_named<'v>(
    from: &'v [Value],
    to: &'v [Value],
    at: &mut PointerBuf,
    out: &mut Vec<Operation<'v>>,
) {
    let mut work: Vec<&Value> = from.iter().collect();
    let kept: HashSet<Option<&str>> = to.iter().map(name).collect();
    for index in (0..work.len()).rev() {
        if !kept.contains(&name(work[index])) {
            work.remove(index);
            push(out, at, &index.to_string(), |path| Operation::Remove {
                path,
            });
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
            push(out, at, &elsewhere.to_string(), |path| Operation::Remove {
                path,
            });
        }
        work.insert(index, item);
        push(out, at, &index.to_string(), |path| Operation::Add {
            path,
            value: item,
        });
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

fn push<'v>(
    out: &mut Vec<Operation<'v>>,
    at: &mut PointerBuf,
    token: &str,
    operation: impl FnOnce(PointerBuf) -> Operation<'v>,
) {
    at.push_back(token);
    out.push(operation(at.clone()));
    at.pop_back();
}

/// The patch as a reader of RFC 6902 understands what is written.
#[cfg(test)]
pub(super) fn written(from: &Value, to: &Value) -> json_patch::Patch {
    let written = serde_json::to_vec(&diff(from, to)).unwrap();
    serde_json::from_slice(&written).unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(from: &Value, to: &Value) -> json_patch::Patch {
        let patch = written(from, to);
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
