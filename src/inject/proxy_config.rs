//! The configuration of one pod's proxy, from everything that has a say in it.

use std::borrow::Cow;

use crate::api::{mesh::ProxyConfig, yaml};

use super::{
    Config,
    annotations::{self, InvalidAnnotation},
    pod::Pod,
    surroundings::Surroundings,
};

/// What counts for this pod, in Istio's order, later over earlier: the mesh's `defaultConfig`, the ProxyConfig of the
/// root namespace, that of the pod's namespace, the pod's annotation, a ProxyConfig that selects the pod.
///
/// # Errors
/// The annotation is no such configuration. Objects are not to blame on the pod: their types have been checked.
pub(super) fn effective<'c>(
    config: &'c Config,
    pod: &Pod<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Cow<'c, ProxyConfig>, InvalidAnnotation> {
    let annotation = pod.annotation(annotations::PROXY_CONFIG);
    let invalid = |why: String| InvalidAnnotation {
        name: annotations::PROXY_CONFIG.to_owned(),
        value: annotation.unwrap_or_default().to_owned(),
        why,
    };
    let written = annotation
        .map(yaml::parse_map)
        .transpose()
        .map_err(invalid)?;
    let objects = &surroundings.proxy_configs;
    let overlays: Vec<_> = [
        objects.for_mesh(),
        objects.for_namespace(),
        written,
        objects.for_labels(|name| pod.label(name)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if overlays.is_empty() {
        return Ok(Cow::Borrowed(&config.proxy));
    }
    let overlays: Vec<_> = overlays.iter().collect();
    let proxy = config
        .mesh
        .proxy_config(&overlays)
        .map_err(|error| invalid(error.to_string()))?;
    match proxy.problem() {
        Some(problem) if annotation.is_some() => Err(invalid(problem)),
        _ => Ok(Cow::Owned(proxy)),
    }
}
