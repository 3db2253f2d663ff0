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
    /// Which nodes take traffic from outside: all (`Cluster`, also when empty), or those with a pod of it (`Local`).
    #[serde(deserialize_with = "null_is_default")]
    pub external_traffic_policy: String,
    /// The families of its addresses, `IPv4` and `IPv6`; empty in files that leave it to the cluster.
    #[serde(deserialize_with = "null_is_default")]
    pub ip_families: Vec<String>,
    /// Addresses and names of its load balancer: `status.loadBalancer.ingress`.
    #[serde(skip)]
    pub load_balancer: Vec<String>,
    /// Which of the ports are ours: all that is kept of `metadata.managedFields`.
    #[serde(skip)]
    pub applied_ports: AppliedPorts,
}

impl ServiceSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let mut spec: ServiceSpec = decode_spec(object)?;
        let ingress = object.pointer("/status/loadBalancer/ingress");
        let points = ingress.and_then(Value::as_array).into_iter().flatten();
        spec.load_balancer = points
            .filter_map(|point| point["ip"].as_str().or_else(|| point["hostname"].as_str()))
            .map(str::to_owned)
            .collect();
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

/// A Pod, as far as services and gateways select it and diagnoses look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it runs on; empty while it has none.
    #[serde(deserialize_with = "null_is_default")]
    pub node_name: String,
    /// As whom its containers run, unless they say otherwise.
    #[serde(deserialize_with = "null_is_default")]
    pub security_context: SecurityContext,
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
    /// Its condition `Ready`; `None` in files, which say nothing about it.
    #[serde(skip)]
    pub ready: Option<bool>,
    /// What made it, and makes it again; `None` for a bare pod.
    #[serde(skip)]
    pub controller: Option<Controller>,
}

/// The owner of a pod that manages it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Controller {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name; it is in the pod's namespace.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Controller {
    /// The one among an object's `metadata.ownerReferences` that says `controller: true`.
    pub fn of(object: &Value) -> Option<Controller> {
        let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let controller = owners.iter().find(|owner| owner["controller"] == true)?;
        Controller::deserialize(controller).ok()
    }
}

impl PodSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let mut spec: PodSpec = decode_spec(object)?;
        spec.phase = object["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        spec.ready = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready")
            .map(|condition| condition["status"] == "True");
        spec.controller = Controller::of(object);
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

    /// Its containers and its init containers.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// Whether the pod has ended and serves nothing any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// The container of a pod's proxy.
const PROXY: &str = "istio-proxy";

impl PodSpec {
    /// The container of its proxy, as a sidecar of either layout.
    pub fn proxy(&self) -> Option<&Container> {
        let mut all = self.containers.iter().chain(&self.init_containers);
        all.find(|container| container.name == PROXY)
    }

    /// Its containers but for the proxy's.
    pub fn applications(&self) -> impl Iterator<Item = (usize, &Container)> {
        let containers = self.containers.iter().enumerate();
        containers.filter(|(_, container)| container.name != PROXY)
    }
}

/// As whom a pod or a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityContext {
    /// The user's number.
    pub run_as_user: Option<i64>,
}

/// A Deployment, by the pods that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeploymentSpec {
    /// What its pods are made from.
    #[serde(deserialize_with = "null_is_default")]
    pub template: PodTemplate,
    /// Whether a container is told where keys of tokens may not be fetched from (Istio's control plane only).
    #[serde(skip)]
    pub restricts_jwks: bool,
}

/// What pods are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Their metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: TemplateMetadata,
    /// Their spec.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: PodSpec,
}

/// The metadata of pods that are made from a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

impl DeploymentSpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let mut spec: DeploymentSpec = decode_spec(object)?;
        spec.template
            .metadata
            .annotations
            .retain(|name, _| is_read(name));
        let containers = object.pointer("/spec/template/spec/containers");
        let mut variables = containers
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|container| container["env"].as_array())
            .flatten();
        spec.restricts_jwks = variables.any(|variable| {
            variable["name"] == "BLOCKED_CIDRS_IN_JWKS_URIS"
                && variable["value"]
                    .as_str()
                    .is_some_and(|value| !value.is_empty())
        });
        Ok(spec)
    }
}

/// Whether an annotation of a kind of Kubernetes is read by anybody here: Istio's, ours, and the one of Kubernetes that
/// Istio documents. The others would double the memory.
pub(super) fn is_read(annotation: &str) -> bool {
    let domain = annotation.split_once('/').map_or("", |(domain, _)| domain);
    domain.ends_with("istio.io")
        || domain.ends_with("outrigger.dev")
        || matches!(
            annotation,
            "kubernetes.io/ingress.class" | "gateway.networking.k8s.io/bundle-version"
        )
}

/// A container of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Its image.
    #[serde(deserialize_with = "null_is_default")]
    pub image: String,
    /// As whom it runs.
    #[serde(deserialize_with = "null_is_default")]
    pub security_context: SecurityContext,
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
