//! Expressions in the texts of custom templates, in the language of Jinja.
//!
//! Variables have the names that Istio gives them in its Go templates, without the dot: `ObjectMeta`, `Spec`,
//! `TypeMeta`, `DeploymentMeta`, `Values`, `MeshConfig`, `ProxyConfig`, `ProxyImage`, `ProxyUID`, `ProxyGID`,
//! `Revision`, `NativeSidecars`. Functions: `annotation(NAME, DEFAULT)`, `label(NAME, DEFAULT)`.
//!
//! A variable that does not exist is an error. What a pod says is a value and never evaluated itself.

use std::{io, sync::Arc};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value as JinjaValue,
    context, value::Serde,
};
use serde_json::{Map, Value, json};

use crate::inject::context::Context;

/// Steps of evaluation per text: far more than any text needs, a few milliseconds at most.
const FUEL: u64 = 20_000;
/// Longest result of one text, in bytes: that of all annotations of an object together.
const LONGEST: usize = 256 << 10;

/// Fields whose members or items the API has as texts: numbers and booleans there become texts, so that nobody has to
/// think of it.
const OF_TEXTS: [&str; 5] = ["labels", "annotations", "nodeSelector", "args", "command"];

/// Evaluates expressions.
#[derive(Debug, Clone)]
pub(super) struct Expressions {
    environment: Arc<Environment<'static>>,
    values: JinjaValue,
    mesh: JinjaValue,
}

/// What expressions may name, for one pod.
pub(super) struct Variables(JinjaValue);

fn jinja(value: impl serde::Serialize) -> JinjaValue {
    JinjaValue::from(Serde(value))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.add_function(
        "annotation",
        |state: &State<'_, '_>, name: &str, or: Option<JinjaValue>| {
            of_pod(state, "annotations", name, or)
        },
    );
    environment.add_function(
        "label",
        |state: &State<'_, '_>, name: &str, or: Option<JinjaValue>| {
            of_pod(state, "labels", name, or)
        },
    );
    environment
}

/// A label or annotation of the pod, or what the template says instead.
fn of_pod(
    state: &State<'_, '_>,
    what: &str,
    name: &str,
    or: Option<JinjaValue>,
) -> Result<JinjaValue, Error> {
    let found = state
        .lookup("ObjectMeta")
        .and_then(|metadata| metadata.get_attr(what).ok())
        .and_then(|entries| entries.get_item(&JinjaValue::from(name)).ok())
        .filter(|value| !value.is_undefined());
    found.or(or).ok_or_else(|| {
        let detail = format!("the pod has no {name:?} among its {what}, and no default is given");
        Error::new(ErrorKind::UndefinedError, detail)
    })
}

/// Checks the syntax of every expression in a template.
///
/// # Errors
/// The first one that has none, with its place.
pub(super) fn check(partial: &Map<String, Value>) -> Result<(), String> {
    let environment = environment();
    let mut checker = |text: &str, path: &str| {
        let checked = match sole_expression(text) {
            Some(expression) => environment.compile_expression_owned(expression).map(drop),
            None => environment.template_from_named_str("", text).map(drop),
        };
        checked.map_err(|error| told(path, text, &error))
    };
    for (field, value) in partial {
        visit(value, field, &mut checker)?;
    }
    Ok(())
}

fn visit(
    value: &Value,
    path: &str,
    checker: &mut impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    match value {
        Value::String(text) if has_expression(text) => checker(text, path),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| visit(item, &format!("{path}[{index}]"), checker)),
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(field, value)| visit(value, &format!("{path}.{field}"), checker)),
        _ => Ok(()),
    }
}

impl Expressions {
    /// With these settings of the mesh as variables.
    pub fn new(values: &Value, mesh: &Value) -> Self {
        Self {
            environment: Arc::new(environment()),
            values: jinja(values),
            mesh: jinja(mesh),
        }
    }

    /// The variables for one pod.
    pub fn variables(&self, pod: &Value, context: &Context<'_>) -> Variables {
        let part = |name: &str| pod.get(name).cloned().unwrap_or_else(|| json!({}));
        let mut metadata = part("metadata");
        if let Value::Object(metadata) = &mut metadata {
            for map in ["labels", "annotations"] {
                metadata.entry(map).or_insert_with(|| json!({}));
            }
            metadata.insert("namespace".to_owned(), json!(context.pod.namespace()));
        }
        let workload = context.workload;
        let (user, group) = context.user_ids();
        let deployment = json!({ "name": workload.name, "namespace": context.pod.namespace() });
        let type_meta = json!({ "kind": workload.kind, "apiVersion": workload.api_version });
        Variables(context! {
            ObjectMeta => jinja(metadata),
            Spec => jinja(part("spec")),
            TypeMeta => jinja(type_meta),
            DeploymentMeta => jinja(deployment),
            Values => self.values.clone(),
            MeshConfig => self.mesh.clone(),
            ProxyConfig => jinja(context.proxy.effective_fields()),
            ProxyImage => context.image(&context.config.values.global.proxy.image),
            ProxyUID => user,
            ProxyGID => group,
            Revision => context.revision(),
            NativeSidecars => context.native,
        })
    }

    /// The template with its expressions evaluated. An expression that is a whole text gives its value with its type;
    /// where that is `none`, the field or item is left out.
    ///
    /// # Errors
    /// An expression cannot be evaluated; the text names it and its place.
    pub fn evaluate(
        &self,
        partial: &Map<String, Value>,
        variables: &Variables,
    ) -> Result<Map<String, Value>, String> {
        let walk = Walk {
            expressions: self,
            variables,
        };
        walk.fields(partial, "", false)
    }

    fn text(&self, text: &str, variables: &Variables) -> Result<Value, Error> {
        let variables = variables.0.clone();
        if let Some(expression) = sole_expression(text) {
            let value = self
                .environment
                .compile_expression_owned(expression)?
                .eval(variables)?;
            if value.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            return serde_json::to_value(&value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()));
        }
        let mut output = Bounded(Vec::new());
        self.environment
            .template_from_named_str("", text)?
            .render_captured_to(variables, &mut output)?;
        String::from_utf8(output.0)
            .map(Value::String)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
    }
}

struct Walk<'a> {
    expressions: &'a Expressions,
    variables: &'a Variables,
}

impl Walk<'_> {
    fn fields(
        &self,
        fields: &Map<String, Value>,
        path: &str,
        of_texts: bool,
    ) -> Result<Map<String, Value>, String> {
        let mut evaluated = Map::new();
        for (field, value) in fields {
            let path = match path {
                "" => field.clone(),
                path => format!("{path}.{field}"),
            };
            let is_text = of_texts || field == "value";
            let texts_below = OF_TEXTS.contains(&field.as_str());
            if let Some(value) = self.value(value, &path, is_text, texts_below)? {
                evaluated.insert(field.clone(), value);
            }
        }
        Ok(evaluated)
    }

    /// `is_text`: a scalar here has to be a text; `texts_below`: those below it have to.
    fn value(
        &self,
        value: &Value,
        path: &str,
        is_text: bool,
        texts_below: bool,
    ) -> Result<Option<Value>, String> {
        match value {
            Value::String(text) if has_expression(text) => {
                let evaluated = self
                    .expressions
                    .text(text, self.variables)
                    .map_err(|error| told(path, text, &error))?;
                Ok(match evaluated {
                    Value::Null => None,
                    Value::Number(number) if is_text => Some(json!(number.to_string())),
                    Value::Bool(value) if is_text => Some(json!(value.to_string())),
                    other => Some(other),
                })
            }
            Value::Array(items) => {
                let mut evaluated = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    evaluated.extend(self.value(item, &path, texts_below, false)?);
                }
                Ok(Some(Value::Array(evaluated)))
            }
            Value::Object(fields) => {
                let evaluated = self.fields(fields, path, texts_below)?;
                Ok(Some(Value::Object(evaluated)))
            }
            other => Ok(Some(other.clone())),
        }
    }
}

fn has_expression(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|start| text.contains(start))
}

/// The expression of a text that is nothing but one.
fn sole_expression(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let controls_blanks = inner.starts_with(['-', '+']) || inner.ends_with('-');
    let is_one = !["{{", "}}", "{%", "{#"]
        .iter()
        .any(|mark| inner.contains(mark));
    (is_one && !controls_blanks).then(|| inner.trim().to_owned())
}

/// How much of a text an error repeats, in characters.
const SHOWN: usize = 120;

fn told(path: &str, text: &str, error: &Error) -> String {
    let shown: String = text.trim().chars().take(SHOWN).collect();
    let mut why = error.kind().to_string();
    if let Some(detail) = error.detail() {
        why = format!("{why}: {detail}");
    }
    if error.kind() == ErrorKind::OutOfFuel {
        why = format!("it needs more than {FUEL} steps");
    }
    // The language of Istio's own templates.
    let hint = match text.contains("{{ .") || text.contains("{{.") {
        true => "; expressions are Jinja's, not Go's: `Values.global.hub` without the first dot",
        false => "",
    };
    format!("{path}: cannot evaluate {shown:?}: {why}{hint}")
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::Error::other(format!(
                "the result is longer than {LONGEST} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
