//! The ports of gateways' Services on a real API server: what is added, what never changes, who wins.
//!
//! One API server and one `outriggerd` for most of these tests, which keep apart by namespaces. It has the rights that the
//! chart gives it and no more.

mod addresses;
mod chart;
mod churn;
mod few_node_ports;
mod fights;
mod node_ports;
mod ports;
mod rendering;
mod scale;
mod types;

use std::collections::BTreeMap;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::wait;
use serde_json::{Value, json};

use crate::control::Installed;

/// For anything that takes a moment; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// The type of the condition that these tests look at.
const PORTS_EXPOSED: &str = "PortsExposed";

/// The API server with a writer at work.
fn cluster() -> &'static ControlPlane {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    static RUNNING: OnceLock<()> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| Installed::start_with(&[]).unwrap());
    RUNNING.get_or_init(|| {
        let (ready, is_ready) = mpsc::channel();
        // The program ends with the thread that started it, and that must be after the last test.
        thread::spawn(move || {
            let _daemon = installed.daemon("gateways");
            ready.send(()).unwrap();
            thread::park();
        });
        is_ready.recv().unwrap();
    });
    &installed.cluster
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
        Self::on(cluster(), name)
    }

    fn on(cluster: &'static ControlPlane, name: &'static str) -> Self {
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
        self.gateway_with_node_ports(name, servers, "");
    }

    /// The same, which asks for node ports.
    fn gateway_with_node_ports(&self, name: &str, servers: &[(u16, &str)], node_ports: &str) {
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
            "metadata": {"name": name, "namespace": self.name,
                         "annotations": {"outrigger.dev/node-ports": node_ports}},
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

    /// Waits until a Gateway says this of its ports, with this reason, and returns its message.
    fn await_exposed(&self, gateway: &str, status: &str, reason: &str) -> String {
        wait::until(
            DEADLINE * 2,
            &format!(
                "{PORTS_EXPOSED}={status}, {reason}, of {}/{gateway}",
                self.name
            ),
            || {
                let condition = self.exposed(gateway);
                if condition["status"] == status && condition["reason"] == reason {
                    Ok(condition["message"].as_str().unwrap_or_default().to_owned())
                } else {
                    Err(condition)
                }
            },
        )
        .unwrap()
    }

    /// What a Gateway says of its ports now.
    fn exposed(&self, gateway: &str) -> Value {
        let gateway = self.get(&format!("gateways.networking.istio.io/{gateway}"));
        let conditions = gateway["status"]["conditions"].as_array();
        let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == PORTS_EXPOSED));
        found.cloned().unwrap_or_default()
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
