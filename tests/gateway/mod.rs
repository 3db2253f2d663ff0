//! The ports of gateways' Services on a real API server: what is added, what never changes, who wins.
//!
//! One API server and one writer for all of these tests, which keep apart by namespaces. The writer has the rights that
//! it needs and no more.

mod chart;
mod fights;
mod ports;
mod rendering;
mod rights;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::wait;
use serde_json::{Value, json};

/// For anything that takes a moment; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// The API server with a writer at work.
fn cluster() -> &'static ControlPlane {
    static CLUSTER: OnceLock<ControlPlane> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = ControlPlane::start(&Lines).unwrap();
        cluster.kubectl(&["create", "-f", CRDS]).unwrap();
        cluster.wait_for_definitions().unwrap();
        rights::run_writer_as(rights::grant(&cluster));
        cluster
    })
}

/// A namespace of one test.
struct Namespace {
    cluster: &'static ControlPlane,
    name: &'static str,
}

/// A port of a Service, as far as these tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: String,
    target: String,
    node_port: u64,
    app_protocol: String,
}

impl Namespace {
    fn new(name: &'static str) -> Self {
        let cluster = cluster();
        cluster.create_namespace(name).unwrap();
        Self { cluster, name }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [&["--namespace", self.name], arguments].concat();
        self.cluster.kubectl(&arguments).unwrap()
    }

    /// Applies an object as kubectl does by default, on the client's side.
    fn apply_client_side(&self, object: &Value) {
        let mut kubectl = self.cluster.kubectl_command();
        kubectl.args(["apply", "--namespace", self.name, "-f", "-"]);
        outrigger_e2e::command::output_with_input(&mut kubectl, &object.to_string()).unwrap();
    }

    /// Creates or changes a Gateway with these servers.
    fn gateway(&self, name: &str, servers: &[(u16, &str)]) {
        let servers: Vec<Value> = servers
            .iter()
            .map(|(number, protocol)| {
                let port =
                    json!({"number": number, "protocol": protocol, "name": format!("p{number}")});
                json!({"port": port, "hosts": ["*.example.com"]})
            })
            .collect();
        self.apply_client_side(&json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"selector": {"istio": self.name}, "servers": servers},
        }));
    }

    fn delete(&self, object: &str) {
        self.kubectl(&["delete", object]);
    }

    fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", object, "--output=json"])).unwrap()
    }

    /// The ports of the Service `gateway`.
    fn ports(&self) -> BTreeMap<u64, Port> {
        ports_of(&self.get("service/gateway"))
    }

    /// Waits until the Service `gateway` has these ports and no others.
    fn await_ports(&self, expected: &[u64]) -> BTreeMap<u64, Port> {
        wait::until(
            DEADLINE,
            &format!("ports {expected:?} in {}", self.name),
            || {
                let ports = self.ports();
                if ports.keys().eq(expected) {
                    Ok(ports)
                } else {
                    Err(format!("{ports:?}"))
                }
            },
        )
        .unwrap()
    }

    /// Waits until an event with this reason is about the Service `gateway`, and returns its note.
    fn await_event(&self, reason: &str) -> String {
        wait::until(
            DEADLINE,
            &format!("event {reason} in {}", self.name),
            || {
                let events = self.get("events.events.k8s.io");
                let found = events["items"]
                    .as_array()
                    .and_then(|items| items.iter().find(|event| event["reason"] == reason));
                found
                    .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
                    .ok_or(events)
            },
        )
        .unwrap()
    }

    /// A Service of a gateway as people have them, with 15021, 80 and 443.
    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "gateway", "namespace": self.name},
            "spec": {
                "type": "NodePort",
                "selector": {"app": "gateway", "istio": self.name},
                "ports": [
                    {"name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP"},
                    {"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                    {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"},
                ],
            },
        })
    }
}

fn ports_of(service: &Value) -> BTreeMap<u64, Port> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            let number = port["port"].as_u64().unwrap();
            let port = Port {
                name: text(&port["name"]),
                target: text(&port["targetPort"]),
                node_port: port["nodePort"].as_u64().unwrap_or_default(),
                app_protocol: text(&port["appProtocol"]),
            };
            (number, port)
        })
        .collect()
}

/// `ports` without the one with this number.
fn without(ports: &BTreeMap<u64, Port>, number: u64) -> BTreeMap<u64, Port> {
    let mut ports = ports.clone();
    ports.remove(&number);
    ports
}

/// The kubeconfig of an account that may do what the writer does.
type Rights = PathBuf;
