//! An ingress gateway whose Service gets the ports that Gateway objects ask for, and loses them again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::stage::{show, source};
use super::{Screen, Stage, install};
use crate::cluster::Cluster;
use crate::progress::step;
use crate::wait;

/// The namespace of the gateway and of its Gateway object.
pub const NAMESPACE: &str = "istio-ingress";
/// The release, and so the Service and what Gateway objects select.
pub const RELEASE: &str = "istio-ingressgateway";
/// The port that the Gateway object of `e2e/bookinfo` asks for.
pub const PORT: u16 = 8088;
/// The port of every node for which it asks.
pub const NODE_PORT: u16 = 30080;
/// A port is listened on when the kubelet has told the pod of it.
const LISTENING: Duration = Duration::from_secs(90);
/// A port comes and goes within a second or so.
const DEADLINE: Duration = Duration::from_secs(30);

/// A port of a Service: name, number, node port.
pub type ServicePort = (String, u64, u64);

/// The gateway's ports over the life of a Gateway object.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Before it.
    pub before: Vec<ServicePort>,
    /// With it.
    pub with: Vec<ServicePort>,
    /// After it.
    pub after: Vec<ServicePort>,
}

impl Ports {
    /// The port came and went, and nothing else changed, node ports included.
    ///
    /// # Errors
    /// What is different.
    pub fn check(&self) -> Result<()> {
        let others: Vec<_> = self
            .with
            .iter()
            .filter(|(_, number, _)| *number != u64::from(PORT))
            .cloned()
            .collect();
        ensure!(
            others == self.before,
            "ports were {:?} and became {others:?} with the Gateway",
            self.before
        );
        ensure!(
            self.with.len() == self.before.len() + 1,
            "port {PORT} is not among {:?}",
            self.with
        );
        ensure!(
            self.after == self.before,
            "ports were {:?} and are {:?} after the Gateway",
            self.before,
            self.after
        );
        Ok(())
    }
}

/// Installs `charts/gateway` and waits until its pod is ready.
///
/// # Errors
/// The chart does not install, or the pod does not become ready.
pub fn install(stage: &Stage<'_>) -> Result<String> {
    step(
        stage.screen,
        "helm install istio-ingressgateway charts/gateway --wait",
        || {
            // Nothing here gives out addresses of load balancers, and helm would wait for one.
            let more = ["--set", "service.type=NodePort"];
            install::helm_install(stage, RELEASE, "charts/gateway", NAMESPACE, &more)
        },
    )
}

/// Applies a Gateway with a server on port 8088, waits until the Service has the port, deletes it, waits until it is
/// gone; and `meanwhile`, what is to be done while the port is there.
///
/// # Errors
/// The port does not come, or does not go.
pub fn open_and_close(
    cluster: &dyn Cluster,
    screen: &Screen,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Ports> {
    let before = ports(cluster)?;
    let file = source("e2e/bookinfo/gateway-8088.yaml");
    let with = step(screen, "apply a Gateway with a server on port 8088", || {
        cluster.kubectl(&["apply", "--namespace", NAMESPACE, "-f", &file])?;
        wait_for_port(cluster, true)
    })?;
    let get = format!("get service {RELEASE} --namespace {NAMESPACE}");
    show(cluster, screen, &get)?;
    meanwhile()?;
    let after = step(screen, "delete the Gateway", || {
        cluster.kubectl(&["delete", "--namespace", NAMESPACE, "-f", &file])?;
        wait_for_port(cluster, false)
    })?;
    show(cluster, screen, &get)?;
    Ok(Ports {
        before,
        with,
        after,
    })
}

/// What came of a request from outside.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Status line and headers.
    pub answer: String,
    /// The line of the gateway's access log.
    pub log: String,
}

/// Requests a page through a port of the node until the gateway's Envoy answers, with 404, because nobody has told it a
/// route yet, and reads what it logged.
///
/// # Errors
/// Envoy does not answer, or logs nothing.
pub fn visit(stage: &Stage<'_>, node_port: u16) -> Result<Visit> {
    let address = SocketAddr::from((stage.node.address(), node_port));
    let path = format!("/from-outside-through-{node_port}");
    let what = format!("GET http://{address}{path}");
    let answer = step(stage.screen, &what, || {
        wait::until(LISTENING, "an answer of Envoy", || {
            let answer = get(address, &path)?;
            ensure!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            anyhow::Ok(answer)
        })
    })?;
    let deployment = format!("deployment/{RELEASE}");
    let logs = ["logs", &deployment, "--namespace", NAMESPACE];
    let log = wait::until(DEADLINE, "a line of the access log", || {
        let logs = stage.node.kubectl(&logs)?;
        let mut lines = logs.lines().filter(|line| line.contains(&path));
        let line = lines.next_back().context("no line names the path")?;
        anyhow::Ok(line.to_owned())
    })?;
    stage
        .screen
        .text(&format!("{answer}\n\nThe gateway's access log:\n{log}"));
    Ok(Visit { answer, log })
}

/// Status line and headers of the answer to a GET.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: bookinfo.example.com\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).replace('\r', "");
    let head = answer.split("\n\n").next().unwrap_or_default();
    Ok(head.to_owned())
}

/// The port on the nodes of a port of the gateway's Service.
///
/// # Errors
/// The Service can't be read, or doesn't have the port.
pub fn node_port_of(cluster: &dyn Cluster, number: u16) -> Result<u16> {
    let ports = ports(cluster)?;
    let port = ports.iter().find(|(_, port, _)| *port == u64::from(number));
    let (_, _, node_port) = port.with_context(|| format!("no port {number} among {ports:?}"))?;
    Ok(u16::try_from(*node_port)?)
}

fn wait_for_port(cluster: &dyn Cluster, wanted: bool) -> Result<Vec<ServicePort>> {
    let what = format!(
        "port {PORT} {} the Service {RELEASE}",
        if wanted { "on" } else { "gone from" }
    );
    wait::until(DEADLINE, &what, || {
        let ports = ports(cluster)?;
        let there = ports
            .iter()
            .any(|(_, number, _)| *number == u64::from(PORT));
        ensure!(there == wanted, "its ports are {ports:?}");
        anyhow::Ok(ports)
    })
}

fn ports(cluster: &dyn Cluster) -> Result<Vec<ServicePort>> {
    let get = [
        "get",
        "service",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "-o",
        "json",
    ];
    let service: Value = serde_json::from_str(&cluster.kubectl(&get)?)?;
    let port = |port: &Value| {
        let number = |name: &str| port[name].as_u64().unwrap_or_default();
        (
            port["name"].as_str().unwrap_or_default().to_owned(),
            number("port"),
            number("nodePort"),
        )
    };
    Ok(service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(port)
        .collect())
}
