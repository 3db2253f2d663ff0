//! The annotation `sidecar.istio.io/status`: what was injected, for people, tools and the next injection.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pod::name_of;

/// Names of what was injected; a list without entries is `null`, as Istio writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub init_containers: Option<Vec<String>>,
    pub containers: Option<Vec<String>>,
    pub volumes: Option<Vec<String>>,
    pub image_pull_secrets: Option<Vec<String>>,
    pub revision: String,
}

impl Status {
    /// What the merged templates contain.
    pub fn of(template: &Map<String, Value>, revision: &str) -> Self {
        let names = |list: &str| -> Option<Vec<String>> {
            let items = template.get("spec")?.get(list)?.as_array()?;
            let names: Vec<String> = items.iter().map(|item| name_of(item).to_owned()).collect();
            (!names.is_empty()).then_some(names)
        };
        Self {
            init_containers: names("initContainers"),
            containers: names("containers"),
            volumes: names("volumes"),
            image_pull_secrets: names("imagePullSecrets"),
            revision: revision.to_owned(),
        }
    }

    /// Reads the annotation; a broken one lists nothing.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a container of this name was put into `list` by the injection that wrote this.
    pub fn lists_container(&self, list: &str, name: &str) -> bool {
        let names = match list {
            "containers" => &self.containers,
            _ => &self.init_containers,
        };
        names.iter().flatten().any(|listed| listed == name)
    }
}
