//! What is read of Kubernetes' own kinds: few fields of large objects.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::api::networking::{DecodeError, decode_spec, null_is_default};
use crate::api::ownership::{AppliedPorts, GATEWAY_PORTS_CONFIG_MAP};

/// A Kubernetes Service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP` (also when empty), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub service_type: String,
    /// Its address; `None` as text for a headless service.
    #[serde(rename = "clusterIP", deserialize_with = "null_is_default")]
    pub cluster_ip: String,
    /// The name that an `ExternalName` service stands for.
    #[serde(deserialize_with = "null_is_default")]
    pub external_name: String,
    /// Labels of its pods; empty when its endpoints come from elsewhere.
    #[serde(deserialize_with = "null_is_default")]
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    #[serde(deserialize_with = "null_is_default")]
    pub ports: Vec<ServicePort>,
    /// Which of the ports are ours: all that is kept of `metadata.managedFields`.
    #[serde(skip)]
    pub applied_ports: AppliedPorts,
}

impl ServiceSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let mut spec: ServiceSpec = decode_spec(object)?;
        spec.applied_ports = AppliedPorts::read(&object["metadata"]["managedFields"]);
        Ok(spec)
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; its first part may tell the protocol (`http-web`).
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// `TCP` (also when empty), `UDP`, `SCTP`.
    #[serde(deserialize_with = "null_is_default")]
    pub protocol: String,
    /// The application's protocol, which wins over the name's.
    #[serde(deserialize_with = "null_is_default")]
    pub app_protocol: String,
    /// Its number on the service.
    #[serde(deserialize_with = "null_is_default")]
    pub port: u16,
    /// The pods' port; absent means the same number.
    pub target_port: Option<TargetPort>,
    /// The port on every node; 0 when there is none.
    #[serde(deserialize_with = "null_is_default")]
    pub node_port: u16,
}

/// The port of a pod that a Service sends to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(String),
}

/// A Namespace: its labels say it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceSpec;

impl NamespaceSpec {
    pub(super) fn read(_: &Value) -> Result<Self, DecodeError> {
        Ok(NamespaceSpec)
    }
}

/// A Pod, as far as services and gateways select it and diagnoses look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Whether it uses the node's network.
    #[serde(deserialize_with = "null_is_default")]
    pub host_network: bool,
    /// Its containers.
    #[serde(deserialize_with = "null_is_default")]
    pub containers: Vec<Container>,
    /// Its init containers; those that restart always are sidecars.
    #[serde(deserialize_with = "null_is_default")]
    pub init_containers: Vec<Container>,
    /// The first port that its processes may bind without privileges, where it says so by the sysctl
    /// `net.ipv4.ip_unprivileged_port_start`.
    #[serde(skip)]
    pub unprivileged_port_start: Option<u16>,
    /// Whether it mounts the ConfigMap that tells a gateway its ports.
    #[serde(skip)]
    pub reads_gateway_ports: bool,
    /// `status.phase`, which tells pods that have ended; empty in files.
    #[serde(skip)]
    pub phase: String,
}

impl PodSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let mut spec: PodSpec = decode_spec(object)?;
        spec.phase = object["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let of = |list: &'static str| {
            object
                .pointer(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        spec.unprivileged_port_start = of("/spec/securityContext/sysctls")
            .find(|sysctl| sysctl["name"] == "net.ipv4.ip_unprivileged_port_start")
            .and_then(|sysctl| sysctl["value"].as_str()?.parse().ok());
        spec.reads_gateway_ports = of("/spec/volumes")
            .any(|volume| volume["configMap"]["name"] == GATEWAY_PORTS_CONFIG_MAP);
        Ok(spec)
    }

    /// Whether the pod has ended and serves nothing any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// A container of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// The ports that it declares.
    #[serde(deserialize_with = "null_is_default")]
    pub ports: Vec<ContainerPort>,
}

/// A port that a container declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name, by which Services may refer to it.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Its number.
    #[serde(deserialize_with = "null_is_default")]
    pub container_port: u16,
    /// `TCP` (also when empty), `UDP`, `SCTP`.
    #[serde(deserialize_with = "null_is_default")]
    pub protocol: String,
}
