//! What is read of the kinds by which a cluster is set up: nodes, injectors' configuration, webhooks, definitions.

use serde::Deserialize;
use serde_json::Value;

use crate::api::networking::{DecodeError, decode_at, null_is_default};
use crate::api::yaml;

use super::selector::LabelSelector;

/// A Namespace: its labels say it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceSpec;

/// A Node: its labels say where its pods run, its status how it is reached. What kubelets report all the time (conditions,
/// images) is not kept, so that a heartbeat changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Where it is reached, the addresses that clients from far away can use first; other types are left out.
    pub addresses: Vec<NodeAddress>,
    /// The version of its kubelet, such as `v1.36.3`; empty in files that say nothing about it.
    pub kubelet_version: String,
}

/// An address of a Node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAddress {
    /// Whom it is for.
    pub kind: NodeAddressKind,
    /// An IP address or a name.
    pub address: String,
}

/// The types of addresses of Nodes by which node ports are reached, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeAddressKind {
    /// `ExternalIP`: from outside of the cluster.
    ExternalIp,
    /// `InternalIP`: from the cluster's network.
    InternalIp,
    /// `Hostname`: as the node calls itself.
    Hostname,
}

impl NodeAddress {
    fn read(address: &Value) -> Option<NodeAddress> {
        let kind = match address["type"].as_str()? {
            "ExternalIP" => NodeAddressKind::ExternalIp,
            "InternalIP" => NodeAddressKind::InternalIp,
            "Hostname" => NodeAddressKind::Hostname,
            _ => return None,
        };
        let address = address["address"].as_str()?.to_owned();
        Some(NodeAddress { kind, address })
    }
}

impl NodeSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let status = &object["status"];
        let listed = status["addresses"].as_array().into_iter().flatten();
        let mut addresses: Vec<NodeAddress> = listed.filter_map(NodeAddress::read).collect();
        addresses.sort();
        let version = &status["nodeInfo"]["kubeletVersion"];
        Ok(NodeSpec {
            addresses,
            kubelet_version: version.as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// A CustomResourceDefinition: its name says which kind it defines, an annotation of which release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomResourceDefinitionSpec;

macro_rules! metadata_alone {
    ($($spec:ident),*) => {$(
        impl $spec {
            pub(super) fn read(_: &Value) -> Result<Self, DecodeError> {
                Ok($spec)
            }
        }
    )*};
}
metadata_alone!(NamespaceSpec, CustomResourceDefinitionSpec);

/// A ConfigMap. Only one with the configuration of an injector says anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigMapSpec {
    /// What the injector is told; absent in every other ConfigMap.
    pub injector: Option<InjectorConfig>,
}

/// The values under which an injector renders its templates, as far as diagnoses compare them with what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InjectorConfig {
    /// The proxy's image as it is told: a full name, or repository, name and tag put together.
    pub image: String,
    /// Whether pods of namespaces without a label are injected.
    pub enable_namespaces_by_default: bool,
}

/// Names of the ConfigMaps with an injector's values, to which `-` and the revision are added: Istio's and our own.
pub const INJECTOR_CONFIG_MAPS: [&str; 2] = ["istio-sidecar-injector", "outrigger"];

impl ConfigMapSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let is_injectors = INJECTOR_CONFIG_MAPS.iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let values = object["data"]["values"].as_str().filter(|_| is_injectors);
        // What cannot be read is for the injector to report, which reads it all.
        let values = values.and_then(|values| yaml::parse(values).ok());
        Ok(ConfigMapSpec {
            injector: values.as_ref().map(InjectorConfig::of),
        })
    }
}

impl InjectorConfig {
    fn of(values: &Value) -> InjectorConfig {
        let global = &values["global"];
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let image = text(&global["proxy"]["image"]);
        let image = if image.contains('/') {
            image
        } else {
            let tag = text(&global["tag"]);
            let tag = if tag.is_empty() {
                tag
            } else {
                format!(":{tag}")
            };
            format!("{}/{image}{tag}", text(&global["hub"]))
        };
        let by_default = &values["sidecarInjectorWebhook"]["enableNamespacesByDefault"];
        InjectorConfig {
            image,
            enable_namespaces_by_default: by_default == true,
        }
    }
}

/// The webhooks of a MutatingWebhookConfiguration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MutatingWebhookConfigurationSpec(pub Vec<Webhook>);

/// The webhooks of a ValidatingWebhookConfiguration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatingWebhookConfigurationSpec(pub Vec<Webhook>);

impl MutatingWebhookConfigurationSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        decode_at(object, "webhooks").map(Self)
    }
}

impl ValidatingWebhookConfigurationSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        decode_at(object, "webhooks").map(Self)
    }
}

/// A webhook: whom it calls, and about which objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Webhook {
    /// Its name, a domain.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Whom it calls.
    #[serde(deserialize_with = "null_is_default")]
    pub client_config: WebhookClient,
    /// The namespaces whose objects it is asked about; absent means all.
    #[serde(deserialize_with = "null_is_default")]
    pub namespace_selector: LabelSelector,
    /// The objects that it is asked about; absent means all.
    #[serde(deserialize_with = "null_is_default")]
    pub object_selector: LabelSelector,
}

/// Whom a webhook calls: an address, or a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WebhookClient {
    /// The address.
    pub url: Option<String>,
    /// The Service.
    pub service: Option<ServiceReference>,
}

/// A Service by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Its namespace.
    #[serde(deserialize_with = "null_is_default")]
    pub namespace: String,
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn injector(name: &str, values: &str) -> Option<InjectorConfig> {
        let object = json!({"metadata": {"name": name}, "data": {"values": values}});
        ConfigMapSpec::read(&object).unwrap().injector
    }

    #[test]
    fn injectors_values_are_read_as_json_and_as_yaml() {
        let json =
            r#"{"global": {"hub": "docker.io/istio", "tag": 1.2, "proxy": {"image": "proxyv2"}}}"#;
        let image = |name, values| injector(name, values).map(|config| config.image);
        assert_eq!(
            image("istio-sidecar-injector", json).as_deref(),
            Some("docker.io/istio/proxyv2:1.2")
        );
        let yaml = "global: {proxy: {image: a.example/b:c}}\nsidecarInjectorWebhook: {enableNamespacesByDefault: true}";
        let canary = injector("outrigger-canary", yaml).unwrap();
        assert_eq!(canary.image, "a.example/b:c");
        assert!(canary.enable_namespaces_by_default);
    }

    #[test]
    fn other_config_maps_and_broken_values_say_nothing() {
        assert_eq!(injector("outriggers", "global: {}"), None);
        assert_eq!(injector("istio", "global: {}"), None);
        assert_eq!(injector("outrigger", "{"), None);
    }
}
