//! What lies around a pod and has a say in its injection: its namespace, and the ProxyConfig objects for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{metadata::Metadata, networking::ProxyConfigSpec};

/// What is known of a pod's surroundings; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Surroundings<'a> {
    /// Metadata of the pod's namespace; `None` where it is not known.
    pub namespace: Option<&'a Metadata>,
    /// ProxyConfig objects for the pod.
    pub proxy_configs: ProxyConfigs<'a>,
}

/// A ProxyConfig with its metadata.
pub type ProxyConfigObject<'a> = (&'a Metadata, &'a ProxyConfigSpec);

/// The ProxyConfig objects that may concern a pod. Of several for the same the oldest counts, as in Istio.
#[derive(Debug, Clone, Default)]
pub struct ProxyConfigs<'a> {
    /// Those of the mesh's root namespace: those without a selector are for all namespaces.
    mesh: Vec<ProxyConfigObject<'a>>,
    /// Those of the pod's own namespace.
    own: Vec<ProxyConfigObject<'a>>,
}

impl<'a> ProxyConfigs<'a> {
    /// Those of the mesh's root namespace, and those of the pod's own; for a pod of the root namespace both are the
    /// same.
    pub fn new(
        root: impl IntoIterator<Item = ProxyConfigObject<'a>>,
        own: impl IntoIterator<Item = ProxyConfigObject<'a>>,
    ) -> Self {
        let sorted = |objects: &mut Vec<ProxyConfigObject<'a>>| {
            objects.sort_by(|(a, _), (b, _)| (a.created, &a.name).cmp(&(b.created, &b.name)));
        };
        let mut configs = Self {
            mesh: root.into_iter().collect(),
            own: own.into_iter().collect(),
        };
        sorted(&mut configs.mesh);
        sorted(&mut configs.own);
        configs
    }

    /// What is set for the whole mesh.
    pub(super) fn for_mesh(&self) -> Option<Map<String, Value>> {
        unselective(&self.mesh).map(fields)
    }

    /// What is set for the pod's namespace.
    pub(super) fn for_namespace(&self) -> Option<Map<String, Value>> {
        unselective(&self.own).map(fields)
    }

    /// What is set for pods with these labels.
    pub(super) fn for_labels(
        &self,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<Map<String, Value>> {
        let selected = self.own.iter().find(|(_, spec)| {
            selector(spec).is_some_and(|wanted| {
                wanted
                    .iter()
                    .all(|(name, value)| label(name) == Some(value.as_str()))
            })
        });
        selected.map(|(_, spec)| fields(spec))
    }
}

fn unselective<'a>(objects: &[ProxyConfigObject<'a>]) -> Option<&'a ProxyConfigSpec> {
    let found = objects.iter().find(|(_, spec)| selector(spec).is_none());
    found.map(|(_, spec)| *spec)
}

/// The labels that workloads must have; `None` for an object that is for all.
fn selector(spec: &ProxyConfigSpec) -> Option<&BTreeMap<String, String>> {
    let labels = &spec.selector.as_ref()?.match_labels;
    (!labels.is_empty()).then_some(labels)
}

/// The object as fields of the mesh configuration's `ProxyConfig`.
fn fields(spec: &ProxyConfigSpec) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(concurrency) = spec.concurrency {
        fields.insert("concurrency".to_owned(), json!(concurrency));
    }
    if !spec.environment_variables.is_empty() {
        let variables = json!(spec.environment_variables);
        fields.insert("proxyMetadata".to_owned(), variables);
    }
    if let Some(image) = &spec.image {
        let image = json!({ "imageType": image.image_type });
        fields.insert("image".to_owned(), image);
    }
    fields
}
