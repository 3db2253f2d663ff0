//! A pod's own containers of our names: what their author wrote wins over the template.
//!
//! At the first injection they are saved in an annotation, so that an injection after another webhook's change
//! still knows what was the author's and what was ours.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    annotations as names,
    context::PROXY,
    merge::{has_directives, strategic_merge},
    pod::{find, name_of},
    status::Status,
};

/// The image that stands for "the injected one".
const AUTO_IMAGE: &str = "auto";

/// The lists that containers stand in.
pub(super) const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The author's containers, by the list in which they end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Overrides {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Value>,
}

impl Overrides {
    fn list(&self, list: &str) -> &[Value] {
        match list {
            "containers" => &self.containers,
            _ => &self.init_containers,
        }
    }

    fn list_mut(&mut self, list: &str) -> &mut Vec<Value> {
        match list {
            "containers" => &mut self.containers,
            _ => &mut self.init_containers,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.init_containers.is_empty()
    }

    /// Whether the author wants another image than the injected one for any of the containers.
    pub fn choose_images(&self) -> bool {
        LISTS
            .iter()
            .flat_map(|list| self.list(list))
            .any(|container| {
                let image = container.get("image").and_then(Value::as_str);
                image.is_some_and(|image| !matches!(image, "" | AUTO_IMAGE))
            })
    }

    /// Adds those of `other` that are not here already and that the templates still produce.
    pub fn extend(&mut self, other: &Self, template: &Map<String, Value>) {
        for list in LISTS {
            for container in other.list(list) {
                let name = name_of(container);
                let produced = find(items(template, list), name).is_some();
                if produced && find(self.list(list), name).is_none() {
                    self.list_mut(list).push(container.clone());
                }
            }
        }
    }

    /// Reads the annotation.
    ///
    /// # Errors
    /// The text is not what an injection writes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let overrides: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let all = overrides
            .containers
            .iter()
            .chain(&overrides.init_containers);
        for container in all {
            if name_of(container).is_empty() {
                return Err("every container must have a name".to_owned());
            }
            if has_directives(container) {
                return Err(format!(
                    "container {:?} must not have fields that begin with `$`",
                    name_of(container)
                ));
            }
        }
        Ok(overrides)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The pod's own versions of the containers that the templates produce.
    pub fn of(pod: &Value, template: &Map<String, Value>, before: Option<&Status>) -> Self {
        let mut found = Self::default();
        for list in LISTS {
            for injected in items(template, list) {
                let name = name_of(injected);
                let own = LISTS.iter().rev().find_map(|own_list| {
                    let listed =
                        before.is_some_and(|status| status.lists_container(own_list, name));
                    let container =
                        find(pod.pointer(&format!("/spec/{own_list}"))?.as_array()?, name)?;
                    (!listed).then_some(container)
                });
                if let Some(own) = own {
                    found.list_mut(list).push(without_auto_image(own));
                }
            }
        }
        found
    }

    /// Lays the author's containers onto the injected ones.
    pub fn apply(&self, spec: &mut Map<String, Value>) {
        for list in LISTS {
            let own = self.list(list);
            if !own.is_empty() {
                let patch = json!({ list: own });
                if let Value::Object(patch) = patch {
                    strategic_merge(spec, patch);
                }
            }
        }
    }

    /// Puts the author's containers (back) into a pod from which the injected ones were taken out.
    fn restore(&self, spec: &mut Map<String, Value>, status: &Status) {
        for list in LISTS {
            let injected = |own: &&Value| status.lists_container(list, name_of(own));
            for own in self.list(list).iter().filter(injected) {
                let slot = spec.entry(list).or_insert_with(|| json!([]));
                if let Value::Array(items) = slot
                    && find(items, name_of(own)).is_none()
                {
                    items.push(own.clone());
                }
            }
        }
    }
}

fn items<'t>(template: &'t Map<String, Value>, list: &str) -> &'t [Value] {
    template
        .get("spec")
        .and_then(|spec| spec.get(list))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn without_auto_image(container: &Value) -> Value {
    let mut container = container.clone();
    if let Value::Object(fields) = &mut container
        && fields.get("image").and_then(Value::as_str) == Some(AUTO_IMAGE)
    {
        fields.shift_remove("image");
    }
    container
}

/// The pod as its author wrote it, as far as that can be told: without what an earlier injection of ours added,
/// with the author's own containers. Most pods come here for the first time, and large ones are not worth a copy.
pub(super) fn without_injected<'p>(
    pod: &'p Value,
    status: Option<&Status>,
    overrides: &Overrides,
) -> Cow<'p, Value> {
    let Some(status) = status else {
        return Cow::Borrowed(pod);
    };
    let mut pod = pod.clone();
    if let Some(Value::Object(spec)) = pod.get_mut("spec") {
        for list in LISTS {
            if let Some(Value::Array(items)) = spec.get_mut(list) {
                items.retain(|item| !status.lists_container(list, name_of(item)));
            }
        }
        overrides.restore(spec, status);
    }
    Cow::Owned(pod)
}

/// Moves the author's `istio-proxy` to where the native layout has it, so that the template merges onto it.
pub(super) fn move_proxy_to_init(spec: &mut Map<String, Value>) {
    let Some(Value::Array(containers)) = spec.get_mut("containers") else {
        return;
    };
    let Some(index) = containers.iter().position(|item| name_of(item) == PROXY) else {
        return;
    };
    let proxy = containers.remove(index);
    let slot = spec.entry("initContainers").or_insert_with(|| json!([]));
    if slot.is_null() {
        *slot = json!([]);
    }
    if let Value::Array(items) = slot {
        items.push(proxy);
    }
}

/// Reads the saved overrides of a pod that was injected before; on others the annotation says nothing.
pub(super) fn saved(annotation: Option<&str>) -> Result<Overrides, String> {
    annotation.map_or_else(
        || Ok(Overrides::default()),
        |text| {
            Overrides::parse(text)
                .map_err(|error| format!("{}: {}", names::OVERRIDES, names::excerpt(&error)))
        },
    )
}
