//! The partial pods that injection merges into a pod.
//!
//! They are built as JSON values, never as text, so nothing that a pod says can add to their structure.

mod capture;
mod custom;
mod expressions;
mod gateway;
mod proxy;
mod sidecar;
mod volumes;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{annotations::excerpt, context::Context, values::Values};

pub use custom::TemplateError;
pub(super) use volumes::user_entries;

use custom::CustomTemplates;

type Render = fn(&Context<'_>) -> Map<String, Value>;

/// The built-in templates, by the names that `inject.istio.io/templates` uses.
const BUILT_IN: [(&str, Render); 2] = [("sidecar", sidecar::render), ("gateway", gateway::render)];

/// The template that is used where nobody names one.
const DEFAULT: &str = "sidecar";

/// A template that does not exist was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("requested template {requested:?} not found; there are: {known}")]
pub struct UnknownTemplate {
    requested: String,
    known: String,
}

/// All templates of an installation, and other names for lists of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Templates {
    custom: CustomTemplates,
    aliases: BTreeMap<String, Vec<String>>,
    /// Used where a pod names none.
    defaults: Vec<String>,
}

impl Templates {
    /// Reads those of the values. Beside them: what has no effect, or will refuse the pods that ask for it.
    pub fn read(values: &Values, mesh: &Map<String, Value>) -> (Self, Vec<String>) {
        let webhook = &values.sidecar_injector_webhook;
        let mesh = Value::Object(mesh.clone());
        let templates = Self {
            custom: CustomTemplates::read(&webhook.templates, &values.all, &mesh),
            aliases: webhook.template_aliases.clone(),
            defaults: match webhook.default_templates.as_slice() {
                [] => vec![DEFAULT.to_owned()],
                named => named.to_vec(),
            },
        };
        let problems = templates.problems();
        (templates, problems)
    }

    fn problems(&self) -> Vec<String> {
        let broken = self
            .custom
            .problems()
            .map(|error| format!("templates: {error}: pods that ask for it are refused"));
        let hidden = BUILT_IN
            .iter()
            .filter(|(name, _)| self.custom.contains(name))
            .map(|(name, _)| {
                format!("templates: {name:?} is the name of a built-in template and has no effect; choose another")
            });
        let unknown_of = |place: String, names: &[String]| -> Vec<String> {
            let unknown = names.iter().filter(|name| !self.exists(name));
            unknown
                .map(|name| format!("{place}: there is no template {name:?}"))
                .collect()
        };
        let in_aliases = self
            .aliases
            .iter()
            .flat_map(|(alias, names)| unknown_of(format!("templateAliases.{alias}"), names));
        let in_defaults = self
            .defaults
            .iter()
            .filter(|name| !self.exists(name) && !self.aliases.contains_key(*name))
            .map(|name| format!("defaultTemplates: there is no template {name:?}"));
        broken
            .chain(hidden)
            .chain(in_aliases)
            .chain(in_defaults)
            .map(|problem| format!("sidecarInjectorWebhook.{problem}"))
            .collect()
    }

    /// Whether this is one of the installation's own.
    pub fn is_custom(&self, name: &str) -> bool {
        built_in(name).is_none() && self.custom.contains(name)
    }

    fn exists(&self, name: &str) -> bool {
        built_in(name).is_some() || self.custom.contains(name)
    }

    /// The names of the templates for a pod with this wish (a comma-separated list), in order. Aliases are looked up
    /// once, as in Istio: an alias of an alias is no template.
    ///
    /// # Errors
    /// One of them does not exist.
    pub fn chosen<'n>(&'n self, wish: Option<&'n str>) -> Result<Vec<&'n str>, UnknownTemplate> {
        let named: Vec<&str> = match wish {
            Some(names) => names.split(',').map(str::trim).collect(),
            None => self.defaults.iter().map(String::as_str).collect(),
        };
        let mut chosen = Vec::with_capacity(named.len());
        for name in named {
            match self.aliases.get(name) {
                Some(names) => chosen.extend(names.iter().map(String::as_str)),
                None => chosen.push(name),
            }
        }
        match chosen.iter().find(|name| !self.exists(name)) {
            Some(unknown) => Err(self.unknown(unknown)),
            None => Ok(chosen),
        }
    }

    fn unknown(&self, requested: &str) -> UnknownTemplate {
        let built_in = BUILT_IN.iter().map(|(name, _)| *name);
        let aliases = self.aliases.keys().map(String::as_str);
        let known: Vec<&str> = built_in.chain(self.custom.names()).chain(aliases).collect();
        UnknownTemplate {
            requested: excerpt(requested),
            known: known.join(", "),
        }
    }

    /// Renders a template from the pod as its author wrote it.
    ///
    /// # Errors
    /// A custom template is broken or cannot be evaluated for this pod.
    pub fn render(
        &self,
        name: &str,
        pod: &Value,
        context: &Context<'_>,
    ) -> Result<Map<String, Value>, TemplateError> {
        match built_in(name) {
            Some(render) => Ok(render(context)),
            None => self.custom.render(name, pod, context),
        }
    }
}

fn built_in(name: &str) -> Option<Render> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    Some(found.1)
}

/// A JSON object of entries, some of which may be left out.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// A list that is left out when it is empty.
fn non_empty(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Array(items))
}

/// `imagePullSecrets` of the mesh's own registry.
fn image_pull_secrets(context: &Context<'_>) -> Option<Value> {
    let names = &context.config.values.global.image_pull_secrets;
    non_empty(names.iter().map(|name| json!({ "name": name })).collect())
}
