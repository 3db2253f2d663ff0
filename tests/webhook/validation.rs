//! A real API server asks the validating webhook of this process.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;

use k8s_openapi::ByteString;
use outrigger::analysis::Snapshot;
use outrigger::webhook::server::Limits;
use outrigger::webhook::validate::Validator;
use outrigger::world::World;
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::wait;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::serving::{DEADLINE, Server};

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

fn route(name: &str, subset: &str, more: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec: {{hosts: [reviews], http: [{{route: [{{destination: {{host: reviews, subset: {subset}}}}}]{more}}}]}}"
    )
}

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}";

fn configuration(server: &Server) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "validation"},
        "webhooks": [{
            "name": "asked.validation.test",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {
                "url": format!("https://{}/validate", server.address),
                "caBundle": ByteString(server.certificate.clone().into_bytes()),
            },
            "rules": [{
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "apiGroups": ["networking.istio.io", "security.istio.io", "telemetry.istio.io"],
                "apiVersions": ["*"], "resources": ["*"], "scope": "Namespaced",
            }],
        }],
    })
}

/// What kubectl prints on stdout and stderr: warnings are on the latter.
pub fn kubectl(cluster: &ControlPlane, arguments: &[&str], input: &str) -> (bool, String) {
    let pipes = || Stdio::piped();
    let mut kubectl = cluster.kubectl_command();
    let mut running = kubectl
        .args(arguments)
        .stdin(pipes())
        .stdout(pipes())
        .stderr(pipes())
        .spawn()
        .unwrap();
    running
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = running.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

pub fn apply(cluster: &ControlPlane, manifest: &str, more: &[&str]) -> (bool, String) {
    kubectl(cluster, &[&["apply", "-f", "-"], more].concat(), manifest)
}

/// Waits until the object is refused, and returns what is said.
pub fn wait_until_refused(cluster: &ControlPlane, manifest: &str) -> String {
    wait::until(DEADLINE, "the webhook refuses", || {
        match apply(cluster, manifest, &["--dry-run=server"]) {
            (true, said) => Err(said),
            (false, said) => Ok(said),
        }
    })
    .unwrap()
}

/// A cluster whose API server asks the webhook about every object of Istio's, but for these, which were stored before.
pub fn asked_after(old: &[String]) -> (ControlPlane, Runtime, Server) {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.kubectl(&["apply", "-f", CRDS]).unwrap();
    cluster.wait_for_definitions().unwrap();
    let runtime = Runtime::new().unwrap();
    let (sender, snapshots) = watch::channel(Arc::new(snapshot()));
    let mut registry = prometheus_client::registry::Registry::default();
    let router = Validator::new(snapshots, Arc::new(|| true), &mut registry).router();
    let server = runtime.block_on(Server::serve(Limits::default(), router, Box::new(sender)));
    for old in old {
        wait::until(DEADLINE, "the kind is served", || cluster.apply(old)).unwrap();
    }
    cluster.apply(&configuration(&server).to_string()).unwrap();
    (cluster, runtime, server)
}

#[test]
fn invalid_objects_are_refused_and_dangling_references_are_warned_of() {
    // It may stay as it is.
    let old = route("old", "v1", ", timeout: 1.0001s");
    let (cluster, _runtime, _server) = asked_after(std::slice::from_ref(&old));

    let invalid = route(
        "invalid",
        "v1",
        ", timeout: 1.0005s, retries: {attempts: -1}",
    );
    let refusal = wait_until_refused(&cluster, &invalid);
    assert!(
        refusal.contains("spec.http[0].timeout: 1.0005s is not in whole milliseconds"),
        "{refusal}"
    );
    assert!(
        refusal.contains("spec.http[0].retries.attempts: -1 is negative"),
        "{refusal}"
    );

    for dry_run in [&["--dry-run=server"][..], &[]] {
        let (applied, said) = apply(&cluster, &route("dangling", "v4", ""), dry_run);
        let warned = said.contains("Warning: [IST0101] spec.http[0].route[0].destination.subset")
            && said.contains("v1");
        assert!(applied && warned, "{said}");
    }
    let (applied, said) = apply(&cluster, &route("sound", "v1", ""), &[]);
    assert!(applied && !said.contains("IST01"), "{said}");

    let (labelled, said) = kubectl(&cluster, &["label", "virtualservice/old", "a=b"], "");
    assert!(labelled && !said.contains("Warning"), "{said}");
    let (patched, said) = kubectl(
        &cluster,
        &[
            "patch",
            "virtualservice/old",
            "--type=merge",
            "-p",
            r#"{"spec":{"gateways":["mesh"]}}"#,
        ],
        "",
    );
    assert!(
        patched && said.contains("Warning: [IST0106] spec.http[0].timeout"),
        "{said}"
    );

    // What is applied conflicts with what is there.
    for dry_run in [&["--dry-run=server"][..], &[]] {
        let (applied, said) = apply(&cluster, &route("second", "v1", ""), dry_run);
        assert!(applied && said.contains("Warning: [IST0109]"), "{said}");
    }
    // What is wrong already may be rolled back to and forth, and go.
    let finalizer = r#"{"metadata":{"finalizers":["example.com/kept"]}}"#;
    let patch = ["patch", "virtualservice/old", "--type=merge", "-p"];
    let (kept, said) = kubectl(&cluster, &[&patch[..], &[finalizer]].concat(), "");
    assert!(kept && !said.contains("Warning"), "{said}");
    let (leaves, said) = kubectl(
        &cluster,
        &["delete", "virtualservice/old", "--wait=false"],
        "",
    );
    assert!(leaves, "{said}");
    let worse = r#"{"metadata":{"finalizers":[]},"spec":{"http":[{"timeout":"1.0003s","route":[{"destination":{"host":"reviews"}}]}]}}"#;
    let (gone, said) = kubectl(&cluster, &[&patch[..], &[worse]].concat(), "");
    assert!(gone && !said.contains("Warning"), "{said}");

    cluster.apply(RULE).unwrap();
    // A subset that a route still uses goes, by an update and with its rule.
    let lesser = RULE.replace(
        "{name: v1, labels: {version: v1}}",
        "{name: v2, labels: {version: v2}}",
    );
    for dry_run in [&["--dry-run=server"][..], &[]] {
        let (applied, said) = apply(&cluster, &lesser, dry_run);
        let warned = said.contains("Warning: [IST0101] VirtualService default/sound: ");
        assert!(applied && warned, "{said}");
    }
    cluster.apply(RULE).unwrap();
    let dry_run = ["delete", "destinationrule/reviews", "--dry-run=server"];
    let (deleted, said) = kubectl(&cluster, &dry_run, "");
    assert!(
        deleted && said.contains("Warning: [IST0101] VirtualService default/sound: "),
        "{said}"
    );
    let (deleted, said) = kubectl(&cluster, &["delete", "destinationrule/reviews"], "");
    assert!(
        deleted && said.contains("Warning: [IST0101] VirtualService default/sound: "),
        "{said}"
    );
}

/// What the control plane knows: a service, a rule for it, and a route to its one subset.
fn snapshot() -> Snapshot {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {ports: [{name: http, port: 9080}]}";
    let mut world = World::default();
    for manifest in [service, RULE, &route("sound", "v1", "")] {
        world
            .apply(&serde_saphyr::from_str(manifest).unwrap())
            .unwrap();
    }
    Snapshot::new(world)
}
