//! Takes what we wrote out of an object's status again, and nothing else.
//!
//! Whose a field is, the API server notes in `metadata.managedFields`. While we write, whatever somebody else puts into
//! our conditions is put right at once, so on an object that we wrote conditions of our types are ours. Of the other
//! two fields those go that nobody has overwritten since.

use serde_json::{Map, Value, json};

use crate::api::conditions::{ACCEPTED, MANAGER, OURS, READY};

/// What we write besides conditions.
const FIELDS: [&str; 2] = ["observedGeneration", "validationMessages"];

/// The merge patch that takes our part out of the status of `object`, which has its `managedFields`; `None` when
/// nothing of ours is there.
pub fn removal_patch(object: &Value) -> Option<Value> {
    let status = object["status"].as_object()?;
    let ownership = Ownership::of(object)?;
    let mut patch = Map::new();
    let fields = FIELDS.into_iter();
    for name in fields.filter(|name| status.contains_key(*name) && ownership.holds(name)) {
        patch.insert(name.to_owned(), Value::Null);
    }
    let conditions = status.get("conditions").and_then(Value::as_array);
    let (ours, theirs): (Vec<&Value>, Vec<&Value>) = conditions
        .into_iter()
        .flatten()
        .partition(|condition| ownership.holds_condition(condition));
    if !ours.is_empty() {
        let left = if theirs.is_empty() {
            Value::Null
        } else {
            json!(theirs)
        };
        patch.insert("conditions".to_owned(), left);
    }
    if patch.is_empty() {
        return None;
    }
    let nothing_left = status
        .keys()
        .all(|name| patch.get(name).is_some_and(Value::is_null));
    let patch = if nothing_left {
        Value::Null
    } else {
        Value::Object(patch)
    };
    Some(json!({ "status": patch }))
}

/// What we wrote of an object's status.
enum Ownership<'a> {
    /// Our `f:status`, one for each version of the API that we wrote in.
    Noted(Vec<&'a Value>),
    /// A tool has removed `managedFields`; the conditions are recognized by their types.
    Forgotten,
}

impl<'a> Ownership<'a> {
    /// `None` when nothing is ours.
    fn of(object: &'a Value) -> Option<Self> {
        let noted = object["metadata"]["managedFields"].as_array();
        let mut of_status = noted
            .into_iter()
            .flatten()
            .filter(|entry| !entry["fieldsV1"]["f:status"].is_null())
            .peekable();
        if of_status.peek().is_none() {
            let has = |kind: &str| {
                let conditions = object["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|condition| condition["type"] == kind)
            };
            return (has(ACCEPTED) && has(READY)).then_some(Self::Forgotten);
        }
        let ours: Vec<&Value> = of_status
            .filter(|entry| entry["manager"] == MANAGER)
            .map(|entry| &entry["fieldsV1"]["f:status"])
            .collect();
        (!ours.is_empty()).then_some(Self::Noted(ours))
    }

    fn holds(&self, field: &str) -> bool {
        match self {
            Self::Noted(entries) => entries
                .iter()
                .any(|fields| !fields[format!("f:{field}")].is_null()),
            Self::Forgotten => true,
        }
    }

    fn holds_condition(&self, condition: &Value) -> bool {
        let kind = condition["type"].as_str().unwrap_or_default();
        OURS.contains(&kind)
            && match self {
                Self::Noted(entries) => {
                    let key = format!("k:{}", json!({ "type": kind }));
                    let keys = entries
                        .iter()
                        .filter_map(|fields| fields["f:conditions"].as_object());
                    let mut keyed = keys
                        .flat_map(|keys| keys.keys())
                        .filter(|key| key.starts_with("k:"))
                        .peekable();
                    // Under Istio's own CRDs the list is one whole, and has no keys here.
                    keyed.peek().is_none() || keyed.any(|noted| *noted == key)
                }
                Self::Forgotten => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str) -> Value {
        json!({"type": kind, "status": "True"})
    }

    fn object(managed: Value, conditions: &[&str]) -> Value {
        let conditions: Vec<Value> = conditions.iter().map(|kind| condition(kind)).collect();
        json!({
            "metadata": {"name": "reviews", "managedFields": managed},
            "status": {"conditions": conditions, "observedGeneration": 3, "validationMessages": []},
        })
    }

    fn entry(manager: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": fields}})
    }

    fn everything() -> Value {
        let conditions =
            json!({r#"k:{"type":"Accepted"}"#: {".": {}}, r#"k:{"type":"Ready"}"#: {".": {}}});
        json!({"f:conditions": conditions, "f:observedGeneration": {}, "f:validationMessages": {}})
    }

    #[test]
    fn where_all_is_ours_no_status_is_left() {
        let object = object(
            json!([entry(MANAGER, everything())]),
            &["Accepted", "Ready"],
        );
        assert_eq!(removal_patch(&object), Some(json!({"status": null})));
    }

    #[test]
    fn conditions_and_members_of_others_stay() {
        let theirs = json!({"f:conditions": {r#"k:{"type":"example.com/Seen"}"#: {}}});
        let managed = json!([entry("other", theirs), entry(MANAGER, everything())]);
        let mut object = object(managed, &["Accepted", "example.com/Seen", "Ready"]);
        object["status"]["custom"] = json!(true);
        let left = json!([condition("example.com/Seen")]);
        let patch = json!({"status": {"conditions": left, "observedGeneration": null, "validationMessages": null}});
        assert_eq!(removal_patch(&object), Some(patch));
    }

    #[test]
    fn what_somebody_else_has_written_since_is_theirs() {
        let ours =
            json!({"f:conditions": {r#"k:{"type":"Accepted"}"#: {}}, "f:validationMessages": {}});
        let theirs =
            json!({"f:conditions": {r#"k:{"type":"Ready"}"#: {}}, "f:observedGeneration": {}});
        let managed = json!([entry(MANAGER, ours), entry("other", theirs)]);
        let patch = removal_patch(&object(managed, &["Accepted", "Ready"])).unwrap();
        assert_eq!(
            patch,
            json!({"status": {"conditions": [condition("Ready")], "validationMessages": null}})
        );
    }

    #[test]
    fn what_we_wrote_in_several_versions_of_the_api_is_all_ours() {
        let before =
            json!({"f:conditions": {r#"k:{"type":"Accepted"}"#: {}}, "f:validationMessages": {}});
        let now =
            json!({"f:conditions": {r#"k:{"type":"Ready"}"#: {}}, "f:observedGeneration": {}});
        let managed = json!([entry(MANAGER, before), entry(MANAGER, now)]);
        let patch = removal_patch(&object(managed, &["Accepted", "Ready"]));
        assert_eq!(patch, Some(json!({"status": null})));
    }

    #[test]
    fn an_object_that_we_did_not_write_is_left_alone() {
        let managed = json!([entry("pilot", everything())]);
        assert_eq!(
            removal_patch(&object(managed, &["Accepted", "Ready"])),
            None
        );
        assert_eq!(removal_patch(&object(json!(null), &["Ready"])), None);
        assert_eq!(removal_patch(&json!({"metadata": {}, "spec": {}})), None);
    }

    #[test]
    fn in_a_list_without_keys_and_without_managed_fields_conditions_are_known_by_their_types() {
        let ours =
            json!({"f:conditions": {}, "f:observedGeneration": {}, "f:validationMessages": {}});
        for managed in [json!([entry(MANAGER, ours)]), json!([{}]), json!(null)] {
            let object = object(managed, &["Accepted", "Theirs", "Ready"]);
            let left = json!([condition("Theirs")]);
            let patch = json!({"status": {"conditions": left, "observedGeneration": null, "validationMessages": null}});
            assert_eq!(removal_patch(&object), Some(patch));
        }
    }

    #[test]
    fn after_it_nothing_is_left_to_remove() {
        let mut object = object(
            json!([entry(MANAGER, everything())]),
            &["Accepted", "Ready"],
        );
        let patch = removal_patch(&object).unwrap();
        json_patch::merge(&mut object, &patch);
        assert_eq!(removal_patch(&object), None);
    }
}
