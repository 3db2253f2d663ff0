//! The sample application, with sidecars that the control plane injects.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Stage;
use super::stage::{DEADLINE, source};
use crate::cluster::Cluster as _;
use crate::progress::step;

/// One of the application's pods, as far as its sidecar is concerned.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Every container that runs for as long as the pod does, and whether it is ready.
    pub containers: Vec<(String, bool)>,
    /// The containers that ran before.
    pub init_containers: Vec<String>,
}

/// The manifests of one of the files in `e2e/bookinfo`, with the image that is on the node.
///
/// # Errors
/// The file can't be read.
pub fn manifests(file: &str, image: &str) -> Result<String> {
    let path = source(&format!("e2e/bookinfo/{file}"));
    let text = fs::read_to_string(&path).with_context(|| path)?;
    Ok(text.replace("image: bookinfo\n", &format!("image: {image}\n")))
}

/// Enables injection in the namespace `default`, applies the application and a client, waits until all of it is ready.
///
/// # Errors
/// Something can't be applied, or does not become ready.
pub fn deploy(stage: &Stage<'_>) -> Result<()> {
    let image = stage.images.reference("bookinfo");
    step(
        stage.screen,
        "kubectl label namespace default injection=enabled; apply bookinfo",
        || {
            stage.node.kubectl(&[
                "label",
                "namespace",
                "default",
                "injection=enabled",
                "--overwrite",
            ])?;
            for file in ["bookinfo.yaml", "client.yaml"] {
                stage.node.apply(&manifests(file, &image)?)?;
            }
            anyhow::Ok(())
        },
    )?;
    step(
        stage.screen,
        "wait until its pods are ready, sidecars included",
        || {
            let timeout = format!("--timeout={}s", DEADLINE.as_secs());
            let wait = [
                "wait",
                "--for=condition=Available",
                "deployment",
                "--all",
                &timeout,
            ];
            stage.node.kubectl(&wait).with_context(|| {
                let pods = stage
                    .node
                    .kubectl(&["describe", "pods"])
                    .unwrap_or_default();
                format!("bookinfo is not ready:\n{pods}")
            })
        },
    )?;
    Ok(())
}

/// The pods of the namespace `default`.
///
/// # Errors
/// They can't be listed.
pub fn pods(stage: &Stage<'_>) -> Result<Vec<Pod>> {
    let list: Value = serde_json::from_str(&stage.node.kubectl(&["get", "pods", "-o", "json"])?)?;
    Ok(list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(pod)
        .collect())
}

/// The first pod of the application `app`.
///
/// # Errors
/// There is none.
pub fn pod_of(stage: &Stage<'_>, app: &str) -> Result<Pod> {
    let found = pods(stage)?
        .into_iter()
        .find(|pod| pod.name.starts_with(&format!("{app}-")));
    found.with_context(|| format!("no pod of {app} in the namespace default"))
}

fn pod(object: &Value) -> Pod {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let statuses = |list: &str| {
        object["status"][list]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    // An init container that restarts always is a native sidecar: it runs as long as the pod.
    let native = |name: &Value| {
        let containers = object["spec"]["initContainers"]
            .as_array()
            .into_iter()
            .flatten();
        containers
            .filter(|container| container["name"] == *name)
            .any(|container| container["restartPolicy"] == "Always")
    };
    let (sidecars, finished): (Vec<_>, Vec<_>) = statuses("initContainerStatuses")
        .into_iter()
        .partition(|status| native(&status["name"]));
    let running = sidecars.into_iter().chain(statuses("containerStatuses"));
    Pod {
        name: text(&object["metadata"]["name"]),
        ip: text(&object["status"]["podIP"]),
        containers: running
            .map(|status| (text(&status["name"]), status["ready"] == true))
            .collect(),
        init_containers: finished
            .iter()
            .map(|status| text(&status["name"]))
            .collect(),
    }
}
