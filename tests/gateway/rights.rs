//! What the writer may do, and the writer as the control plane wires it.

use std::sync::Arc;
use std::thread;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use outrigger::api::kind::Kind;
use outrigger::kubernetes::engine::{self, Engine};
use outrigger::kubernetes::events::EventWriter;
use outrigger::kubernetes::lease::Election;
use outrigger::kubernetes::services::ServiceWriter;
use outrigger::kubernetes::watch::{self as watches, Definitions, States, Watch};
use outrigger::world::Settings;
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::wait;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use super::{DEADLINE, Rights};

const NAMESPACE: &str = "writer";

/// As in charts/outrigger.
const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: writer}
rules:
  - {apiGroups: [networking.istio.io], resources: ['*'], verbs: [get, list, watch]}
  - {apiGroups: [''], resources: [namespaces, pods, services], verbs: [get, list, watch]}
  - {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
  - {apiGroups: [''], resources: [services], verbs: [patch]}
  - {apiGroups: [''], resources: [configmaps], resourceNames: [outrigger-gateway-ports], verbs: [list, create, patch]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: writer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writer}
subjects: [{kind: ServiceAccount, namespace: writer, name: default}]
";

/// An account with the rights of the writer.
pub fn grant(cluster: &ControlPlane) -> Rights {
    cluster.create_namespace(NAMESPACE).unwrap();
    cluster.apply(ROLES).unwrap();
    let rights = cluster
        .kubeconfig_of_service_account(NAMESPACE, "default")
        .unwrap();
    wait::until(DEADLINE, "rights of the writer", || {
        cluster.kubectl_as(&rights, &["get", "pods", "--all-namespaces"])
    })
    .unwrap();
    rights
}

/// Runs the writer for as long as this process lives.
pub fn run_writer_as(rights: Rights) {
    thread::spawn(move || {
        // Another test of this process may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(rights).unwrap();
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
            run(Client::try_from(config.await.unwrap()).unwrap()).await;
        });
    });
}

async fn run(client: Client) {
    let mut registry = Registry::default();
    let leases = Api::namespaced(client.clone(), NAMESPACE);
    let identity = "writer".to_owned();
    let (election, leadership) =
        Election::new(leases, "writer".to_owned(), identity.clone(), &mut registry);
    let (inputs, queue) = mpsc::channel(engine::QUEUE);
    let states = watch::Sender::new(States::new());
    let metrics = watches::Metrics::register(&mut registry);
    let definitions = Definitions::default();
    for kind in Kind::cluster_wide() {
        let watch = Watch::new(
            client.clone(),
            kind,
            inputs.clone(),
            states.clone(),
            &definitions,
            &metrics,
        );
        tokio::spawn(watch.run(std::future::pending()));
    }
    let mut engine = Engine::new(
        queue,
        Settings::default(),
        Kind::cluster_wide(),
        &mut registry,
    );
    let (events, notices) =
        EventWriter::new(client.clone(), identity, leadership.clone(), &mut registry);
    let writer = ServiceWriter::new(
        client,
        engine.changes(),
        inputs,
        leadership,
        notices,
        &mut registry,
    );
    let _registry = Arc::new(registry);
    tokio::join!(
        election.run(std::future::pending()),
        engine.run(std::future::pending()),
        events.run(std::future::pending()),
        writer.run(std::future::pending()),
    );
}
