//! Kubernetes' strategic merge patch on JSON: lists of named things merge by name, other lists are replaced, and a
//! patch can say otherwise by directives.
//!
//! | directive | where | effect |
//! |---|---|---|
//! | `$patch: replace` | in an object | the object is the patch's |
//! | `$patch: delete` | in an object | the object goes |
//! | `- $patch: replace` | item of a list | the list is the patch's |
//! | `$retainKeys: [a, b]` | in an object | other fields go |
//! | `$deleteFromPrimitiveList/NAME: [x]` | beside the list | these items go |
//! | `$setElementOrder/NAME: [x, y]` | beside the list | these items come in this order, each where one of them was |
//!
//! `null` takes a field away. The keys of the lists are those of the pod's types ([`keys`]).

mod keys;

use serde_json::{Map, Value};

use keys::{ListKind, list_kind};

/// Directive inside an object of a patch.
const PATCH: &str = "$patch";
/// The only fields that an object keeps.
const RETAIN_KEYS: &str = "$retainKeys";
/// Prefix of a list's name: scalars that go.
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
/// Prefix of a list's name: the order of its items.
const SET_ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `target`. What is new there is moved, not copied: that is most of a pod's template.
pub fn strategic_merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    match directive(&patch) {
        Some("replace") => target.clear(),
        Some("delete") => {
            target.clear();
            return;
        }
        _ => {}
    }
    let (directives, fields): (Vec<_>, Vec<_>) = patch
        .into_iter()
        .partition(|(field, _)| field.starts_with('$'));
    for (field, value) in &directives {
        if let Some(list) = field.strip_prefix(DELETE_FROM) {
            delete_scalars(target, list, value);
        }
    }
    for (field, value) in fields {
        match value {
            Value::Null => {
                // Not `swap_remove`: the order of a person's keys stays.
                target.shift_remove(&field);
            }
            Value::Object(patch) => merge_object(target, field, patch),
            Value::Array(items) => merge_list(target, field, items),
            scalar => {
                target.insert(field, scalar);
            }
        }
    }
    for (field, value) in &directives {
        if let Some(list) = field.strip_prefix(SET_ORDER) {
            set_order(target, list, value);
        }
    }
    for (field, value) in &directives {
        if let (RETAIN_KEYS, Value::Array(kept)) = (field.as_str(), value) {
            target.retain(|field, _| kept.iter().any(|kept| kept == field));
        }
    }
}

/// The problem of a patch that [`strategic_merge`] would pass over in silence: an item of a merged list without the
/// field that names it, or an unknown directive. With the path of the place.
pub fn problem(patch: &Map<String, Value>) -> Option<String> {
    problem_at(patch, "")
}

fn problem_at(patch: &Map<String, Value>, path: &str) -> Option<String> {
    patch.iter().find_map(|(field, value)| {
        let path = match path {
            "" => field.clone(),
            path => format!("{path}.{field}"),
        };
        if field == PATCH {
            let known = matches!(value.as_str(), Some("replace" | "delete" | "merge"));
            return (!known).then(|| format!("{path}: {value} must be replace, delete or merge"));
        }
        if field.starts_with('$') {
            let known = [DELETE_FROM, SET_ORDER]
                .iter()
                .any(|prefix| field.starts_with(prefix))
                || field == RETAIN_KEYS;
            return match (known, value) {
                (false, _) => Some(format!(
                    "{path}: is no directive of strategic merge patches"
                )),
                (true, Value::Array(_)) => None,
                (true, _) => Some(format!("{path}: must be a list")),
            };
        }
        match value {
            Value::Object(inner) => problem_at(inner, &path),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| item_problem(field, item, &format!("{path}[{index}]"))),
            _ => None,
        }
    })
}

fn item_problem(list: &str, item: &Value, path: &str) -> Option<String> {
    let ListKind::Keyed(key) = list_kind(list) else {
        return item.as_object().and_then(|item| problem_at(item, path));
    };
    match item {
        Value::Object(item) if is_replace_directive(item) || item.contains_key(key) => {
            problem_at(item, path)
        }
        Value::Object(_) => Some(format!(
            "{path}.{key}: is required, it tells the items apart"
        )),
        _ => Some(format!("{path}: must be a map")),
    }
}

/// Whether a value has instructions for merging anywhere.
pub fn has_directives(value: &Value) -> bool {
    match value {
        Value::Object(object) => {
            object.keys().any(|key| key.starts_with('$')) || object.values().any(has_directives)
        }
        Value::Array(items) => items.iter().any(has_directives),
        _ => false,
    }
}

/// The instructions for merging of one object of a patch.
pub fn directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let own = patch.iter().filter(|(field, _)| field.starts_with('$'));
    own.map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

fn directive(patch: &Map<String, Value>) -> Option<&str> {
    patch.get(PATCH)?.as_str()
}

fn merge_object(target: &mut Map<String, Value>, field: String, patch: Map<String, Value>) {
    if directive(&patch) == Some("delete") {
        target.shift_remove(&field);
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

fn merge_list(target: &mut Map<String, Value>, field: String, patch: Vec<Value>) {
    let kind = list_kind(&field);
    let in_front = keys::adds_in_front(&field);
    let slot = target.entry(field).or_insert(Value::Null);
    if kind == ListKind::Atomic || !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Value::Array(items) = slot else { return };
    match kind {
        ListKind::Keyed(key) => merge_keyed(items, patch, key, in_front),
        ListKind::Set => {
            for item in patch.into_iter().map(without_directives) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
        }
        ListKind::Atomic => items.extend(patch.into_iter().map(without_directives)),
    }
}

fn merge_keyed(items: &mut Vec<Value>, patch: Vec<Value>, key: &str, in_front: bool) {
    let replaces = |entry: &Value| entry.as_object().is_some_and(is_replace_directive);
    if patch.iter().any(replaces) {
        items.clear();
    }
    let mut front = 0;
    for entry in patch {
        let Value::Object(entry) = entry else {
            continue;
        };
        let Some(id) = entry.get(key).filter(|id| !id.is_null()) else {
            continue;
        };
        let is_it = |item: &Value| item.get(key) == Some(id);
        if directive(&entry) == Some("delete") {
            items.retain(|item| !is_it(item));
            front = front.min(items.len());
            continue;
        }
        match items.iter().position(is_it) {
            Some(index) => {
                if let Some(Value::Object(item)) = items.get_mut(index) {
                    strategic_merge(item, entry);
                }
            }
            None => {
                let item = without_directives(Value::Object(entry));
                if in_front {
                    items.insert(front, item);
                    front += 1;
                } else {
                    items.push(item);
                }
            }
        }
    }
}

/// `- $patch: replace` as an item of its own replaces the whole list by the other items.
fn is_replace_directive(item: &Map<String, Value>) -> bool {
    item.len() == 1 && directive(item) == Some("replace")
}

fn delete_scalars(target: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Value::Array(gone)) = (target.get_mut(list), gone) {
        items.retain(|item| !gone.contains(item));
    }
}

/// Puts the items that `order` names into its order; each of them takes a place that one of them had, so the others
/// stay where they are.
fn set_order(target: &mut Map<String, Value>, list: &str, order: &Value) {
    let (Some(Value::Array(items)), Value::Array(order)) = (target.get_mut(list), order) else {
        return;
    };
    let rank = |item: &Value| {
        order.iter().position(|wanted| match list_kind(list) {
            ListKind::Keyed(key) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            _ => wanted == item,
        })
    };
    let places: Vec<usize> = (0..items.len())
        .filter(|index| rank(&items[*index]).is_some())
        .collect();
    let mut named: Vec<Value> = places.iter().map(|place| items[*place].take()).collect();
    named.sort_by_key(&rank);
    for (place, item) in places.into_iter().zip(named) {
        items[place] = item;
    }
}

/// What an item of a replaced list is without instructions for merging.
fn without_directives(value: Value) -> Value {
    match value {
        Value::Object(patch) => {
            let mut object = Map::with_capacity(patch.len());
            strategic_merge(&mut object, patch);
            Value::Object(object)
        }
        Value::Array(items) => items.into_iter().map(without_directives).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests;
