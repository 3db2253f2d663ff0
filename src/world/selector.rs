//! Label selectors of Kubernetes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::api::networking::null_is_default;

/// Which sets of labels are selected; one that says nothing selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(deserialize_with = "null_is_default")]
    pub match_labels: BTreeMap<String, String>,
    /// What else must hold.
    #[serde(deserialize_with = "null_is_default")]
    pub match_expressions: Vec<Requirement>,
}

/// What must hold of one label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// The label's name.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    #[serde(deserialize_with = "null_is_default")]
    pub operator: String,
    /// The values for `In` and `NotIn`.
    #[serde(deserialize_with = "null_is_default")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether these labels are selected. An operator that does not exist selects nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let holds = |requirement: &Requirement| {
            let value = labels.get(&requirement.key);
            let is_listed = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.match_labels.iter().all(has) && self.match_expressions.iter().all(holds)
    }

    /// The values that it names for a label, wanted or not.
    pub fn values_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let listed = self.match_expressions.iter();
        let listed = listed.filter(move |requirement| requirement.key == key);
        let listed = listed.flat_map(|requirement| &requirement.values);
        self.match_labels
            .get(key)
            .into_iter()
            .chain(listed)
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn matches(selector: Value, labels: &[(&str, &str)]) -> bool {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        selector.matches(&labels.iter().map(own).collect())
    }

    #[test]
    fn every_requirement_of_a_selector_must_hold() {
        let selector = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "NotIn", "values": ["x"]},
            {"key": "c", "operator": "DoesNotExist"},
        ]});
        assert!(matches(selector.clone(), &[("a", "1")]));
        assert!(matches(selector.clone(), &[("a", "1"), ("b", "y")]));
        assert!(!matches(selector.clone(), &[("a", "1"), ("b", "x")]));
        assert!(!matches(selector.clone(), &[("a", "1"), ("c", "")]));
        assert!(!matches(selector, &[]));
        assert!(matches(json!({"matchExpressions": null}), &[]));
        assert!(!matches(
            json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            &[("a", "1")]
        ));
    }
}
