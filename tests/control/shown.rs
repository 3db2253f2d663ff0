//! What `docs/status.md` shows, from a run:
//! `cargo test --test integration -- --ignored --nocapture control::shown`.

use std::process::Command;

use outrigger_e2e::cluster::Cluster as _;

use super::*;
use crate::control::health;

const NAMESPACE: &str = "shop";

/// A route to a subset that is not there, one that is invalid in itself, one on the host of another, and one that is well.
const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v4}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews-canary, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v2}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: search, namespace: shop}
spec: {hosts: [search.example.com], http: [{timeout: 1.0001s, route: [{destination: {host: reviews, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stars, namespace: shop}
spec: {hosts: [stars.example.com], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}";

/// Runs a command line of words without blanks, and prints it with what it said.
fn show(cluster: &ControlPlane, line: &str) {
    let mut words = line.split_whitespace();
    let mut command = match words.next() {
        Some("kubectl") => cluster.kubectl_command(),
        _ => {
            let mut outrigger = Command::new(env!("CARGO_BIN_EXE_outrigger"));
            outrigger.env("KUBECONFIG", cluster.kubeconfig());
            outrigger
        }
    };
    let output = command.args(words).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    println!("$ {line}\n{}", String::from_utf8_lossy(&said));
}

#[test]
#[ignore = "prints what the documentation shows"]
fn docs_status_md() {
    let installed = Installed::start().unwrap();
    let cluster = &installed.cluster;
    cluster.create_namespace(NAMESPACE).unwrap();
    let daemon = installed.daemon("shown");
    cluster.apply(OBJECTS).unwrap();
    for (name, ready) in [
        ("reviews", "False"),
        ("reviews-canary", "False"),
        ("search", "False"),
        ("stars", "True"),
    ] {
        wait_for_ready(cluster, NAMESPACE, &format!("virtualservice/{name}"), ready);
    }
    let events = || {
        let text = cluster.kubectl(&["describe", "virtualservice/reviews", "-n", NAMESPACE])?;
        ensure!(text.contains("Warning  SubsetNotFound"), "{text}");
        Ok(())
    };
    wait::until(SOON, "an event", events).unwrap();
    show(cluster, "kubectl get vs -A");
    show(cluster, "kubectl get vs -A -o wide");
    show(cluster, "kubectl describe vs reviews -n shop");
    show(cluster, "kubectl get vs reviews-canary -n shop -o yaml");
    show(
        cluster,
        "kubectl wait vs/reviews -n shop --for=condition=Ready --timeout=2s",
    );
    for (name, health) in health::of_namespace(cluster, NAMESPACE) {
        let argocd = health
            .argocd
            .map(|argocd| argocd.status)
            .unwrap_or_default();
        println!(
            "{name}: kstatus {}, Argo CD {argocd}",
            health.kstatus.status
        );
    }
    let cured = OBJECTS.replace("subset: v4", "subset: v1");
    cluster.apply(&cured).unwrap();
    show(
        cluster,
        "kubectl wait vs/reviews -n shop --for=condition=Ready --timeout=20s",
    );
    assert!(daemon.stop().success());
    show(cluster, "outrigger uninstall-status");
    show(cluster, "kubectl get vs -A");
}
