//! The real `outriggerd` against a real API server, with the rights that the chart gives it and no more.

mod bulk;
mod certificates;
mod churn;
mod credentials;
pub mod daemon;
mod faults;
mod faults_of_requests;
mod faults_of_watches;
mod health;
mod leader;
mod malformed;
mod mesh;
mod orders;
mod owners;
mod promises;
mod proxy;
mod removal;
mod robustness;
mod rotation;
mod scale;
mod shown;
mod status;
mod ties;
mod tls;
mod transitions;
mod two_writers;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::wait;
use serde_json::Value;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/outrigger");
const NAMESPACE: &str = "outrigger-system";

/// How long a status may take to become right. Most take a fraction of a second; the machine may be busy.
const SOON: Duration = Duration::from_secs(20);
/// How long it may take where a fault is overcome first, by trying again after a while.
const RECOVERY: Duration = Duration::from_secs(90);

/// A control plane with the chart installed, for one test at a time: status has one writer in a cluster.
pub struct Installed {
    pub cluster: ControlPlane,
    /// Reaches it with the rights of the chart's service account.
    kubeconfig: PathBuf,
}

impl Installed {
    fn start() -> Result<Installed> {
        Installed::start_with(&[])
    }

    /// Starts one whose API server has these flags too.
    pub fn start_with(flags: &[&str]) -> Result<Installed> {
        let cluster = ControlPlane::start_with(flags, &Lines)?;
        // Nothing runs the chart's pods, so its validation would only be waited for.
        cluster.helm(&[
            "install",
            "outrigger",
            CHART,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--set=validation.enabled=false",
        ])?;
        cluster.wait_for_definitions()?;
        let kubeconfig = cluster.kubeconfig_of_service_account(NAMESPACE, "outriggerd")?;
        Ok(Installed {
            cluster,
            kubeconfig,
        })
    }

    /// The one that all tests share; held by one of them.
    fn exclusive() -> MutexGuard<'static, Installed> {
        static SHARED: OnceLock<Mutex<Installed>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Mutex::new(Installed::start().unwrap()));
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reaches it with the rights of the chart's service account.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// A replica of this name that is ready.
    pub fn daemon(&self, name: &str) -> daemon::Daemon {
        daemon::Daemon::start_ready(name, &self.kubeconfig, &[])
    }
}

/// An object as JSON.
fn read(cluster: &ControlPlane, namespace: &str, object: &str) -> Result<Value> {
    let text = cluster.kubectl(&["get", object, "-n", namespace, "-o", "json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// Status, reason and message of a condition that was set for the current generation.
fn condition(object: &Value, kind: &str) -> Result<(String, String, String)> {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"]
        .as_array()
        .context("no conditions")?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    let condition = condition.ok_or_else(|| anyhow!("no condition {kind} in {conditions:?}"))?;
    ensure!(
        condition["observedGeneration"] == *generation,
        "{condition} is not of generation {generation}"
    );
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason"), text("message")))
}

/// Waits until an object is Ready or not, and returns reason and message.
fn wait_for_ready(
    cluster: &ControlPlane,
    namespace: &str,
    object: &str,
    ready: &str,
) -> (String, String) {
    wait_for_ready_within(SOON, cluster, namespace, object, ready)
}

fn wait_for_ready_within(
    deadline: Duration,
    cluster: &ControlPlane,
    namespace: &str,
    object: &str,
    ready: &str,
) -> (String, String) {
    let what = format!("{object} in {namespace} has Ready={ready}");
    let waited = wait::until(deadline, &what, || {
        let (status, reason, message) = condition(&read(cluster, namespace, object)?, "Ready")?;
        ensure!(status == ready, "Ready={status} {reason}: {message}");
        Ok((reason, message))
    });
    waited.unwrap()
}

/// A Service `reviews` with a DestinationRule of subsets v1 and v2, and a VirtualService that routes to `subset`.
fn reviews(namespace: &str, subset: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: reviews, namespace: {namespace}}}
spec: {{selector: {{app: reviews}}, ports: [{{name: http, port: 9080}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: {namespace}}}
spec:
  host: reviews
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
{}",
        virtual_service(namespace, subset)
    )
}

fn virtual_service(namespace: &str, subset: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: {namespace}}}
spec:
  hosts: [reviews]
  http: [{{route: [{{destination: {{host: reviews, subset: {subset}}}}}]}}]"
    )
}
