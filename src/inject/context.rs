//! What the templates read: the pod, its settings and those of the mesh, resolved.

use serde_json::{Map, Value, json};

use crate::api::{
    labels,
    mesh::{InterceptionMode, ProxyConfig},
};

use super::{
    Config, annotations as names, openshift, pod::Pod, surroundings::Surroundings,
    workload::Workload,
};

/// Name of the container of the proxy.
pub(super) const PROXY: &str = "istio-proxy";
/// Name of the init container that programs capture.
pub(super) const INIT: &str = "istio-init";
/// Name of the init container that checks capture which a CNI plugin has programmed.
pub(super) const VALIDATION: &str = "istio-validation";

/// Port of the agent's status server where nothing else is set.
pub(super) const AGENT_PORT: u16 = 15020;

/// Environment variable by which the agent learns its network.
pub(super) const NETWORK_ENV: &str = "ISTIO_META_NETWORK";

/// User and group of the proxy where the pod asks for no other.
const PROXY_ID: u64 = 1337;

/// Everything a template may look at.
pub(super) struct Context<'a> {
    pub config: &'a Config,
    pub pod: &'a Pod<'a>,
    pub workload: &'a Workload,
    pub proxy: &'a ProxyConfig,
    /// The proxy is an init container that stays (`restartPolicy: Always`).
    pub native: bool,
    /// Environment that the caller adds, over the mesh's.
    pub env: &'a [(String, String)],
    pub surroundings: &'a Surroundings<'a>,
}

impl<'a> Context<'a> {
    /// An annotation of the pod, or what the mesh says instead.
    pub fn setting(&self, annotation: &str, or: &'a str) -> &'a str {
        self.pod.annotation(annotation).unwrap_or(or)
    }

    /// Like [`Self::setting`] where the absence of both has to show.
    pub fn optional_setting(&self, annotation: &str, or: &'a str) -> Option<&'a str> {
        self.pod
            .annotation(annotation)
            .or_else(|| Some(or).filter(|or| !or.is_empty()))
    }

    pub fn interception_mode(&self) -> &'a str {
        let mode = self.proxy.known.interception_mode.unwrap_or_default();
        self.setting(names::INTERCEPTION_MODE, mode.as_str())
    }

    pub fn transparent(&self) -> bool {
        self.interception_mode() == InterceptionMode::Tproxy.as_str()
    }

    /// The port that probes of the proxy, drain and the exclusion from capture speak of.
    pub fn status_port(&self) -> &'a str {
        self.setting(
            names::STATUS_PORT,
            &self.config.values.global.proxy.status_port,
        )
    }

    /// The port on which the agent listens: the pod's wish, which the agent is told, else the mesh's.
    pub fn agent_port(&self) -> u16 {
        let mesh = self.proxy.known.status_port.filter(|port| *port != 0);
        self.pod
            .annotation(names::STATUS_PORT)
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .or(mesh)
            .unwrap_or(AGENT_PORT)
    }

    /// The configuration that the proxy is told: what differs from the built-in defaults.
    pub fn told_config(&self) -> Map<String, Value> {
        let mut fields = self.proxy.non_default_fields();
        match self.agent_port() {
            AGENT_PORT => fields.shift_remove("statusPort"),
            port => fields.insert("statusPort".to_owned(), json!(port)),
        };
        fields
    }

    /// User and group of the proxy, whose own traffic is not captured: those that the pod's own `istio-proxy`
    /// asks for, unless that is root; else those that the namespace assigns, on OpenShift.
    pub fn user_ids(&self) -> (u64, u64) {
        let wish = |field: &str| {
            self.pod
                .container(PROXY)?
                .pointer("/securityContext")?
                .get(field)?
                .as_u64()
                .filter(|id| *id != 0)
        };
        let assigned = self
            .surroundings
            .namespace
            // A proxy that has to be root runs outside the namespace's range anyway.
            .filter(|_| self.config.values.is_openshift() && !self.transparent())
            .and_then(openshift::ids);
        let default = assigned.unwrap_or(openshift::Ids {
            user: PROXY_ID,
            group: PROXY_ID,
        });
        (
            wish("runAsUser").unwrap_or(default.user),
            wish("runAsGroup").unwrap_or(default.group),
        )
    }

    /// The application waits for the proxy: only a question where the proxy is an ordinary container.
    pub fn holds_application(&self) -> bool {
        let settings = &self.config.values.global.proxy;
        let wish = self.proxy.known.hold_application_until_proxy_starts;
        !self.native && (wish == Some(true) || settings.hold_application_until_proxy_starts)
    }

    /// Inbound ports without capture: the pod's, and the agent's own.
    pub fn excluded_inbound_ports(&self) -> String {
        let list = self.setting(
            names::EXCLUDE_INBOUND_PORTS,
            &self.config.values.global.proxy.exclude_inbound_ports,
        );
        let mut ports: Vec<&str> = list.split(',').filter(|port| !port.is_empty()).collect();
        let own = self.status_port();
        if !matches!(own, "" | "0") && !ports.contains(&own) {
            ports.push(own);
        }
        ports.join(",")
    }

    /// The image under `name` (an image's name, or a full reference), unless the pod has one of its own.
    pub fn image(&self, name: &str) -> String {
        let reference = self.setting_ref(names::PROXY_IMAGE, name);
        if reference.contains('/') {
            return reference.to_owned();
        }
        let global = &self.config.values.global;
        let mesh_type = match &self.proxy.known.image {
            Some(image) if !image.image_type.is_empty() => &image.image_type,
            _ => &global.variant,
        };
        let kind = self
            .pod
            .annotation(names::PROXY_IMAGE_TYPE)
            .unwrap_or(mesh_type);
        let name = if name.is_empty() { "proxyv2" } else { name };
        format!("{}/{name}:{}", global.hub, tag_of_type(&global.tag, kind))
    }

    fn setting_ref<'s>(&'s self, annotation: &str, or: &'s str) -> &'s str {
        self.pod.annotation(annotation).unwrap_or(or)
    }

    /// `imagePullPolicy` where one is set.
    pub fn set_pull_policy(&self, container: &mut Map<String, Value>) {
        let policy = &self.config.values.global.image_pull_policy;
        if !policy.is_empty() {
            container.insert("imagePullPolicy".to_owned(), json!(policy));
        }
    }

    /// Resources of the injected containers. An annotation for any of them drops all defaults, as in Istio.
    pub fn resources(&self) -> Map<String, Value> {
        let part = |cpu: &str, memory: &str| -> Map<String, Value> {
            [("cpu", cpu), ("memory", memory)]
                .into_iter()
                .filter_map(|(name, annotation)| {
                    Some((name.to_owned(), json!(self.pod.annotation(annotation)?)))
                })
                .collect()
        };
        let written: Map<String, Value> = [
            (
                "limits",
                part(names::PROXY_CPU_LIMIT, names::PROXY_MEMORY_LIMIT),
            ),
            ("requests", part(names::PROXY_CPU, names::PROXY_MEMORY)),
        ]
        .into_iter()
        .filter(|(_, part)| !part.is_empty())
        .map(|(name, part)| (name.to_owned(), Value::Object(part)))
        .collect();
        if written.is_empty() {
            self.config.values.global.proxy.resources.clone()
        } else {
            written
        }
    }

    /// Names of the application's containers.
    pub fn app_containers(&self) -> impl Iterator<Item = &'a str> {
        self.pod
            .containers()
            .iter()
            .map(super::pod::name_of)
            .filter(|name| *name != PROXY)
    }

    /// Name of the pod's service in telemetry: the first of the labels that people use for it, or the workload's.
    pub fn canonical_name(&self) -> String {
        let names = [labels::CANONICAL_NAME, "app.kubernetes.io/name", "app"];
        let name = self.first_label(&names).unwrap_or(&self.workload.name);
        label_value(name)
    }

    /// Version of the pod's service in telemetry.
    pub fn canonical_revision(&self) -> String {
        let names = [
            labels::CANONICAL_REVISION,
            "app.kubernetes.io/version",
            "version",
        ];
        label_value(self.first_label(&names).unwrap_or("latest"))
    }

    fn first_label(&self, names: &[&str]) -> Option<&'a str> {
        names
            .iter()
            .find_map(|name| self.pod.label(name).filter(|value| !value.is_empty()))
    }

    /// The network of the pod: its label's, the caller's, the mesh's; empty where nobody says.
    pub fn network(&self) -> &'a str {
        let label = self
            .pod
            .label(labels::NETWORK)
            .filter(|network| !network.is_empty());
        let caller = || self.env.iter().find(|(name, _)| name == NETWORK_ENV);
        label
            .or_else(|| caller().map(|(_, network)| network.as_str()))
            .unwrap_or(&self.config.values.global.network)
    }

    /// The revision's name as it is shown: "default" for the one without a name.
    pub fn revision(&self) -> &'a str {
        self.config.revision()
    }
}

/// Longest value of a label.
const LABEL_VALUE: usize = 63;

/// Cuts a text to what the value of a label may be.
fn label_value(text: &str) -> String {
    let cut: String = text.chars().take(LABEL_VALUE).collect();
    cut.trim_matches(['-', '_', '.']).to_owned()
}

/// Variants under which proxy images are published; a tag that ends in one can be switched to another.
const IMAGE_TYPES: [&str; 2] = ["distroless", "debug"];

fn tag_of_type(tag: &str, image_type: &str) -> String {
    if image_type.is_empty() {
        return tag.to_owned();
    }
    let plain = IMAGE_TYPES
        .iter()
        .find_map(|known| tag.strip_suffix(known)?.strip_suffix('-'))
        .unwrap_or(tag);
    if image_type == "default" {
        plain.to_owned()
    } else {
        format!("{plain}-{image_type}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_type_replaces_a_known_suffix_of_the_tag() {
        for (tag, kind, want) in [
            ("11", "", "11"),
            ("1.12", "distroless", "1.12-distroless"),
            ("1.12-distroless", "default", "1.12"),
            ("1.12-debug", "distroless", "1.12-distroless"),
            ("1.12-this-is-unusual-tag", "", "1.12-this-is-unusual-tag"),
            ("1.12-unusual-distroless", "default", "1.12-unusual"),
            ("1.12-unusual", "distroless", "1.12-unusual-distroless"),
        ] {
            assert_eq!(tag_of_type(tag, kind), want, "{tag} {kind}");
        }
    }

    #[test]
    fn a_label_value_is_cut_and_trimmed() {
        assert_eq!(label_value(&"a".repeat(70)).len(), 63);
        assert_eq!(label_value("-a.b-"), "a.b");
    }
}
