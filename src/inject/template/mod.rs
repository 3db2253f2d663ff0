//! The partial pods that injection merges into a pod.
//!
//! They are built as JSON values, never as text, so nothing that a pod says can add to their structure.

mod capture;
mod gateway;
mod proxy;
mod sidecar;
mod volumes;

use serde_json::{Map, Value};

pub(super) use volumes::user_entries;

use super::context::Context;

type Render = fn(&Context<'_>) -> Map<String, Value>;

/// The built-in templates, by the names that `inject.istio.io/templates` uses.
const TEMPLATES: [(&str, Render); 2] = [("sidecar", sidecar::render), ("gateway", gateway::render)];

/// A template that does not exist was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("requested template {requested:?} not found; there are: {known}")]
pub struct UnknownTemplate {
    requested: String,
    known: String,
}

/// The templates of these names, in order.
pub(super) fn find<'n>(
    names: impl Iterator<Item = &'n str>,
) -> Result<Vec<Render>, UnknownTemplate> {
    names
        .map(|name| {
            TEMPLATES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, render)| *render)
                .ok_or_else(|| UnknownTemplate {
                    requested: name.to_owned(),
                    known: TEMPLATES.map(|(name, _)| name).join(", "),
                })
        })
        .collect()
}

/// A JSON object of entries, some of which may be left out.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}
