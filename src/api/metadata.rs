//! The part of an object's metadata that the pure layers read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// Metadata of one object, read leniently: a member of the wrong type counts as absent, because the API server has
/// checked `metadata` and a file on disk should not fail for a label that is a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Namespace; empty for cluster-scoped objects and for files that leave it out.
    pub namespace: String,
    /// Name within namespace and kind.
    pub name: String,
    /// Identity across deletion and re-creation; empty for objects from files.
    pub uid: String,
    /// Counts changes to the spec; 0 for objects from files.
    pub generation: i64,
    /// Version of the stored object; empty for objects from files.
    pub resource_version: String,
    /// When the API server created the object.
    pub created: Option<Timestamp>,
    /// Whether deletion has begun (`deletionTimestamp` is set).
    pub deleting: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Reads `metadata` of an object.
    pub fn of(object: &Value) -> Metadata {
        let metadata = &object["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        Metadata {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            resource_version: text("resourceVersion"),
            created: metadata["creationTimestamp"]
                .as_str()
                .and_then(|time| time.parse().ok()),
            deleting: !metadata["deletionTimestamp"].is_null(),
            labels: strings(&metadata["labels"]),
            annotations: strings(&metadata["annotations"]),
        }
    }
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let members = map.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_read_from_an_object_of_the_api_server() {
        let meta = Metadata::of(&json!({"metadata": {
            "namespace": "shop", "name": "reviews", "uid": "u", "generation": 3, "resourceVersion": "17",
            "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:04:06Z",
            "labels": {"app": "reviews"}, "annotations": {"a": "b"},
        }}));
        assert_eq!(
            (meta.namespace.as_str(), meta.name.as_str(), meta.generation),
            ("shop", "reviews", 3)
        );
        assert_eq!(
            meta.created.map(|time| time.to_string()).as_deref(),
            Some("2026-01-02T03:04:05Z")
        );
        assert!(meta.deleting);
        assert_eq!(meta.labels["app"], "reviews");
    }

    #[test]
    fn members_of_the_wrong_type_count_as_absent() {
        let meta = Metadata::of(
            &json!({"metadata": {"name": 7, "labels": {"a": 1, "b": "c"}, "annotations": []}}),
        );
        assert_eq!(meta.name, "");
        assert_eq!(meta.labels.len(), 1);
        assert_eq!(Metadata::of(&json!(null)), Metadata::default());
    }
}
