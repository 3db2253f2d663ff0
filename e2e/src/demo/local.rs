//! The demo where no pods can run: etcd and kube-apiserver, and `outriggerd` as a process of this machine with the
//! rights of its service account.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::stage::{show, source};
use super::{Screen, bookinfo, gateway, install, routing};
use crate::binaries;
use crate::cluster::{Cluster as _, ControlPlane};
use crate::progress::step;
use crate::wait;

const DEADLINE: Duration = Duration::from_secs(60);
/// The name of the webhooks' host in this setup; it has to be in the certificate.
const HOST: &str = "localhost";

/// All parts that need no pods.
///
/// # Errors
/// What could not be built, started or seen.
pub fn run(screen: &Screen) -> Result<()> {
    screen.heading("Build");
    let programs = binaries::build(screen)?;
    screen.heading("Start Kubernetes without a node");
    let cluster = step(screen, "start etcd and kube-apiserver", || {
        ControlPlane::start(screen)
    })?;
    screen.heading("Install Outrigger");
    step(
        screen,
        "helm install outrigger charts/outrigger (no replicas)",
        || {
            let chart = source("charts/outrigger");
            let place = [
                "--namespace",
                install::NAMESPACE,
                "--create-namespace",
                "--set",
                "replicaCount=0",
            ];
            cluster.helm(&[&["install", "outrigger", &chart], &place[..]].concat())
        },
    )?;
    step(
        screen,
        "start outriggerd and wait until it is ready",
        || start_outriggerd(&cluster, &programs.outriggerd().display().to_string()),
    )?;

    screen.heading("Injection, as the API server asks for it");
    cluster.kubectl(&["label", "namespace", "default", "injection=enabled"])?;
    show(
        &cluster,
        screen,
        "run app --image=app --dry-run=server --output=jsonpath={.spec.initContainers[*].name}",
    )?;
    cluster.kubectl(&["label", "namespace", "default", "injection-"])?;

    screen.heading("A mistake in the routing, told where people look");
    cluster.apply(&bookinfo::manifests("bookinfo.yaml", "bookinfo")?)?;
    let verdict = routing::break_reviews(&cluster, screen)?;
    screen.text(&format!(
        "The condition was there {:.0} ms after the apply.",
        verdict.took.as_secs_f64() * 1000.0
    ));
    routing::cure_reviews(&cluster, screen)?;

    screen.heading("A gateway whose ports follow the Gateway objects");
    step(
        screen,
        "helm install istio-ingressgateway charts/gateway",
        || {
            let chart = source("charts/gateway");
            let place = [
                "--namespace",
                gateway::NAMESPACE,
                "--create-namespace",
                "--set",
                "service.type=NodePort",
            ];
            cluster.helm(&[&["install", gateway::RELEASE, &chart], &place[..]].concat())
        },
    )?;
    gateway::open_and_close(&cluster, screen, || Ok(()))?.check()?;
    screen.heading("Done. With root, `cargo demo` also shows sidecars in running pods.");
    Ok(())
}

/// Starts `outriggerd` beside the API server, points the webhooks to it, and waits until it says that it is ready.
fn start_outriggerd(cluster: &ControlPlane, program: &str) -> Result<()> {
    let [webhook, admin, debug] = free_addresses()?;
    let config = cluster.directory().join("outriggerd");
    write_config(cluster, &config)?;
    let kubeconfig = cluster.kubeconfig_of_service_account(install::NAMESPACE, "outriggerd")?;
    let arguments = [
        program.to_owned(),
        format!("--namespace={}", install::NAMESPACE),
        format!("--webhook-addr={webhook}"),
        format!("--admin-addr={admin}"),
        format!("--debug-addr={debug}"),
        format!("--config-dir={}", config.display()),
        format!("--dns-name={HOST}"),
        format!("--kubeconfig={}", kubeconfig.display()),
    ];
    cluster.run("outriggerd", &arguments)?;
    for name in [
        "mutatingwebhookconfiguration/outrigger-sidecar-injector",
        "validatingwebhookconfiguration/outrigger-validator",
    ] {
        by_url(cluster, name, webhook.port())?;
    }
    wait::until(DEADLINE, "outriggerd ready", || {
        let answer = get(admin, "/readyz")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    })
    .with_context(|| cluster.log("outriggerd"))
}

/// The files that the chart's ConfigMap would be mounted as.
fn write_config(cluster: &ControlPlane, directory: &std::path::Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let get = [
        "get",
        "configmap",
        "outrigger",
        "--namespace",
        install::NAMESPACE,
        "-o",
        "json",
    ];
    let map: Value = serde_json::from_str(&cluster.kubectl(&get)?)?;
    for (name, text) in map["data"].as_object().into_iter().flatten() {
        fs::write(directory.join(name), text.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Webhooks by address instead of by Service: without a node, nobody answers at the addresses of Services.
fn by_url(cluster: &ControlPlane, name: &str, port: u16) -> Result<()> {
    let configuration: Value =
        serde_json::from_str(&cluster.kubectl(&["get", name, "-o", "json"])?)?;
    let webhooks = configuration["webhooks"]
        .as_array()
        .map(Vec::len)
        .unwrap_or_default();
    let patches = (0..webhooks).flat_map(|index| {
        let client = format!("/webhooks/{index}/clientConfig");
        let path = configuration["webhooks"][index]["clientConfig"]["service"]["path"].as_str().unwrap_or_default();
        [
            json!({"op": "add", "path": format!("{client}/url"), "value": format!("https://{HOST}:{port}{path}")}),
            json!({"op": "remove", "path": format!("{client}/service")}),
        ]
    });
    let patches = Value::Array(patches.collect()).to_string();
    cluster.kubectl(&["patch", name, "--type=json", "-p", &patches])?;
    Ok(())
}

/// A plain HTTP answer, head and body.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Addresses of loopback that nobody listens on now.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    let mut listeners = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}
