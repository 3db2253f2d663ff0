//! A pod as JSON: the little of its shape that injection relies on, checked once, so that the steps need not.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A part of the pod has another type than the API gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: must be {wanted}, is {found}")]
pub struct ShapeError {
    /// Field path in the pod.
    pub path: String,
    /// What the API has there.
    pub wanted: &'static str,
    /// What is there.
    pub found: &'static str,
}

/// A pod (or a pod template) whose shape has been checked.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    namespace: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
    spec: &'a Map<String, Value>,
    name: &'a str,
}

/// The lists of a pod whose items have a name, and so are merged by it.
pub(super) const NAMED_LISTS: [&str; 4] = [
    "containers",
    "initContainers",
    "volumes",
    "imagePullSecrets",
];

impl<'a> Pod<'a> {
    /// Looks at `pod`; `namespace` is used where the pod itself names none.
    ///
    /// # Errors
    /// The part of the pod that has the wrong type.
    pub fn new(pod: &'a Value, namespace: &'a str) -> Result<Self, ShapeError> {
        let pod = object(pod, "pod")?;
        let metadata = optional(pod, "metadata", "metadata", object)?;
        let spec = match pod.get("spec") {
            Some(spec) => object(spec, "spec")?,
            None => return Err(shape("spec", "an object", &Value::Null)),
        };
        for list in NAMED_LISTS {
            check_named(spec, list)?;
        }
        for list in ["containers", "initContainers"] {
            check_containers(spec, list)?;
        }
        let own_namespace = metadata
            .and_then(|m| m.get("namespace"))
            .and_then(Value::as_str)
            .filter(|namespace| !namespace.is_empty());
        Ok(Self {
            namespace: own_namespace.unwrap_or(namespace),
            name: metadata
                .and_then(|m| m.get("name"))
                .and_then(Value::as_str)
                .unwrap_or_default(),
            labels: texts(metadata, "labels")?,
            annotations: texts(metadata, "annotations")?,
            spec,
        })
    }

    /// The namespace; empty where nobody knows it.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// `metadata.name`; empty for a pod that a controller makes.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.get(name).copied()
    }

    /// An annotation's value.
    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        self.annotations.get(name).copied()
    }

    /// All annotations.
    pub fn annotations(&self) -> &BTreeMap<&'a str, &'a str> {
        &self.annotations
    }

    /// All labels, in the type that selectors want.
    pub fn labels_owned(&self) -> BTreeMap<String, String> {
        self.labels
            .iter()
            .map(|(&name, &value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// A boolean field of the spec; absent is false.
    pub fn spec_bool(&self, field: &str) -> bool {
        self.spec.get(field).and_then(Value::as_bool) == Some(true)
    }

    /// A text field of the spec; absent is empty.
    pub fn spec_text(&self, field: &str) -> &'a str {
        self.spec
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `spec.securityContext`.
    pub fn security_context(&self) -> Option<&'a Value> {
        self.spec.get("securityContext")
    }

    /// `spec.containers`.
    pub fn containers(&self) -> &'a [Value] {
        list(self.spec, "containers")
    }

    /// `spec.initContainers`.
    pub fn init_containers(&self) -> &'a [Value] {
        list(self.spec, "initContainers")
    }

    /// The container of this name, wherever it stands.
    pub fn container(&self, name: &str) -> Option<&'a Value> {
        find(self.containers(), name).or_else(|| find(self.init_containers(), name))
    }
}

/// The item of this name.
pub fn find<'v>(items: &'v [Value], name: &str) -> Option<&'v Value> {
    items.iter().find(|item| name_of(item) == name)
}

/// `name` of a list item; empty where there is none.
pub fn name_of(item: &Value) -> &str {
    item.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(spec: &'v Map<String, Value>, field: &str) -> &'v [Value] {
    spec.get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn shape(path: impl Into<String>, wanted: &'static str, found: &Value) -> ShapeError {
    let found = match found {
        Value::Null => "absent",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    ShapeError {
        path: path.into(),
        wanted,
        found,
    }
}

fn object<'v>(value: &'v Value, path: &str) -> Result<&'v Map<String, Value>, ShapeError> {
    value
        .as_object()
        .ok_or_else(|| shape(path, "an object", value))
}

/// An item of the list at `path`; the item's own path is written only when it is needed, since lists can be long.
fn item_object<'v>(
    item: &'v Value,
    path: &str,
    index: usize,
) -> Result<&'v Map<String, Value>, ShapeError> {
    item.as_object()
        .ok_or_else(|| shape(format!("{path}[{index}]"), "an object", item))
}

/// Absent and `null` are the same to the API.
fn optional<'v, T>(
    parent: &'v Map<String, Value>,
    field: &str,
    path: &str,
    read: impl Fn(&'v Value, &str) -> Result<T, ShapeError>,
) -> Result<Option<T>, ShapeError> {
    match parent.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value, path).map(Some),
    }
}

fn array<'v>(value: &'v Value, path: &str) -> Result<&'v Vec<Value>, ShapeError> {
    value.as_array().ok_or_else(|| shape(path, "a list", value))
}

fn texts<'v>(
    metadata: Option<&'v Map<String, Value>>,
    field: &str,
) -> Result<BTreeMap<&'v str, &'v str>, ShapeError> {
    let path = format!("metadata.{field}");
    let Some(metadata) = metadata else {
        return Ok(BTreeMap::new());
    };
    let Some(entries) = optional(metadata, field, &path, object)? else {
        return Ok(BTreeMap::new());
    };
    entries
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name.as_str(), text.as_str())),
            Value::Null => Ok((name.as_str(), "")),
            other => Err(shape(format!("{path}[{name}]"), "a string", other)),
        })
        .collect()
}

fn check_named(spec: &Map<String, Value>, field: &str) -> Result<(), ShapeError> {
    let path = format!("spec.{field}");
    let Some(items) = optional(spec, field, &path, array)? else {
        return Ok(());
    };
    for (index, item) in items.iter().enumerate() {
        let item = item_object(item, &path, index)?;
        match item.get("name") {
            Some(Value::String(_)) => {}
            // A reference to a secret may lack its name; the API server lets it pass.
            None if field == "imagePullSecrets" => {}
            other => {
                return Err(shape(
                    format!("{path}[{index}].name"),
                    "a string",
                    other.unwrap_or(&Value::Null),
                ));
            }
        }
    }
    Ok(())
}

fn check_containers(spec: &Map<String, Value>, field: &str) -> Result<(), ShapeError> {
    for (index, container) in list(spec, field).iter().enumerate() {
        let Some(container) = container.as_object() else {
            continue;
        };
        for inner in ["env", "ports", "volumeMounts"] {
            let path = format!("spec.{field}[{index}].{inner}");
            for (index, item) in optional(container, inner, &path, array)?
                .into_iter()
                .flatten()
                .enumerate()
            {
                item_object(item, &path, index)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let pod = json!({ "spec": { "containers": [{ "name": "app", "env": [1] }] } });
        let error = Pod::new(&pod, "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.containers[0].env[0]: must be an object, is a number"
        );
    }

    #[test]
    fn null_counts_as_absent() {
        let pod = json!({
            "metadata": { "labels": null },
            "spec": { "containers": null, "volumes": null },
        });
        assert!(Pod::new(&pod, "").is_ok());
    }
}
