//! Templates of the installation's own: partial pods in YAML.
//!
//! The YAML is read when the settings are; expressions are evaluated afterwards, inside the texts that were read. So a
//! value can change what a text says, and never what stands beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::yaml;
use crate::inject::{context::Context, merge};

use super::expressions::{self, Expressions, Variables};

/// A partial pod whose texts may hold expressions.
#[derive(Debug, Clone)]
pub(in crate::inject) struct CustomTemplate {
    /// A map, with only the fields that a pod has.
    partial: Map<String, Value>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {template:?}: {why}")]
pub struct TemplateError {
    /// Its name.
    pub template: String,
    /// What is wrong, and where.
    pub why: String,
}

/// The fields that a partial pod may have; the first two say nothing more.
const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

impl CustomTemplate {
    /// Reads a template as it stands in the values: YAML in a text, as in Istio's values, or the map itself.
    ///
    /// # Errors
    /// It is no partial pod, or an expression in it has no valid syntax.
    pub fn read(written: &Value) -> Result<Self, String> {
        let mut partial = match written {
            Value::String(text) => yaml::parse_map(text).map_err(|problem| {
                format!("{problem} (texts with expressions have to be in quotes: \"{{{{ … }}}}\")")
            })?,
            Value::Object(map) => map.clone(),
            _ => return Err("must be a partial pod: a map, or YAML of one".to_owned()),
        };
        if let Some(field) = partial.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(format!("{field}: a pod has no such field"));
        }
        partial.shift_remove("apiVersion");
        partial.shift_remove("kind");
        for (field, value) in &partial {
            if !value.is_object() {
                return Err(format!("{field}: must be a map"));
            }
        }
        if let Some(problem) = merge::problem(&partial) {
            return Err(problem);
        }
        expressions::check(&partial)?;
        Ok(Self { partial })
    }

    /// The partial pod for one pod.
    ///
    /// # Errors
    /// An expression cannot be evaluated; the text names it and its place.
    pub fn render(
        &self,
        expressions: &Expressions,
        variables: &Variables,
    ) -> Result<Map<String, Value>, String> {
        let rendered = expressions.evaluate(&self.partial, variables)?;
        // An expression may have left out what names an item.
        match merge::problem(&rendered) {
            Some(problem) => Err(problem),
            None => Ok(rendered),
        }
    }
}

/// The custom templates of an installation, each of them readable or with the reason why it is not.
#[derive(Debug, Clone, Default)]
pub(in crate::inject) struct CustomTemplates {
    by_name: BTreeMap<String, Result<CustomTemplate, TemplateError>>,
    expressions: Option<Expressions>,
}

impl CustomTemplates {
    /// Reads all; a broken one is kept as such, and refuses the pods that ask for it.
    pub fn read(written: &BTreeMap<String, Value>, values: &Value, mesh: &Value) -> Self {
        let by_name: BTreeMap<_, _> = written
            .iter()
            .map(|(name, template)| {
                let read = CustomTemplate::read(template).map_err(|why| TemplateError {
                    template: name.clone(),
                    why,
                });
                (name.clone(), read)
            })
            .collect();
        let expressions = (!by_name.is_empty()).then(|| Expressions::new(values, mesh));
        Self {
            by_name,
            expressions,
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// What is wrong with the templates that cannot be used.
    pub fn problems(&self) -> impl Iterator<Item = &TemplateError> {
        self.by_name.values().filter_map(|read| read.as_ref().err())
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Renders the template of this name; nothing if there is none.
    ///
    /// # Errors
    /// It is broken, or an expression in it cannot be evaluated for this pod.
    pub fn render(
        &self,
        name: &str,
        pod: &Value,
        context: &Context<'_>,
    ) -> Result<Map<String, Value>, TemplateError> {
        let (Some(template), Some(expressions)) = (self.by_name.get(name), &self.expressions)
        else {
            return Ok(Map::new());
        };
        let template = template.as_ref().map_err(Clone::clone)?;
        let variables = expressions.variables(pod, context);
        template
            .render(expressions, &variables)
            .map_err(|why| TemplateError {
                template: name.to_owned(),
                why,
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(written: &str) -> String {
        CustomTemplate::read(&json!(written)).unwrap_err()
    }

    #[test]
    fn a_template_is_read_from_text_or_map() {
        let map =
            json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "volumes": [{ "name": "v" }] } });
        let text = yaml::write(&map).unwrap();
        for written in [map, json!(text)] {
            let template = CustomTemplate::read(&written).unwrap();
            assert_eq!(
                Value::Object(template.partial),
                json!({ "spec": { "volumes": [{ "name": "v" }] } })
            );
        }
    }

    #[test]
    fn what_is_no_partial_pod_is_told() {
        assert_eq!(why("spec: 1"), "spec: must be a map");
        assert_eq!(why("containers: []"), "containers: a pod has no such field");
        assert!(why("spec: [").contains("in quotes"), "{}", why("spec: ["));
        assert!(why("spec:\n  image: {{ x }}").contains("in quotes"));
        assert_eq!(
            why("spec: {containers: [{image: x}]}"),
            "spec.containers[0].name: is required, it tells the items apart"
        );
        assert_eq!(
            CustomTemplate::read(&json!(1)).unwrap_err(),
            "must be a partial pod: a map, or YAML of one"
        );
    }
}
