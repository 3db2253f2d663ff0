//! An ingress gateway whose Service gets the ports that Gateway objects ask for, and loses them again.

use std::time::Duration;

use anyhow::{Result, ensure};
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
/// gone.
///
/// # Errors
/// The port does not come, or does not go.
pub fn open_and_close(cluster: &dyn Cluster, screen: &Screen) -> Result<Ports> {
    let before = ports(cluster)?;
    let file = source("e2e/bookinfo/gateway-8088.yaml");
    let with = step(screen, "apply a Gateway with a server on port 8088", || {
        cluster.kubectl(&["apply", "--namespace", NAMESPACE, "-f", &file])?;
        wait_for_port(cluster, true)
    })?;
    let get = format!("get service {RELEASE} --namespace {NAMESPACE}");
    show(cluster, screen, &get)?;
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
