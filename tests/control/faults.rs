//! What goes wrong around the control plane, and how it comes back without a restart.

use std::time::Instant;

use outrigger_e2e::cluster::Cluster as _;

use super::daemon::Daemon;
use super::*;

#[test]
fn a_change_while_nobody_runs_is_reported_after_the_start() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "fault-absent";
    cluster.create_namespace(ns).unwrap();
    let first = installed.daemon("fault-absent-1");
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    assert!(first.stop().success());
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    let _second = installed.daemon("fault-absent-2");
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
}

#[test]
fn a_restart_of_the_api_server_is_overcome_and_what_changes_after_it_is_reported() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "fault-restart";
    cluster.create_namespace(ns).unwrap();
    let daemon = installed.daemon("fault-restart");
    cluster.apply(&reviews(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    cluster.restart_api_server().unwrap();
    cluster.apply(&virtual_service(ns, "v1")).unwrap();
    let started = Instant::now();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    eprintln!(
        "status was right {:?} after the API server was back",
        started.elapsed()
    );
    assert!(daemon.get("/readyz").is_ok());
}

#[test]
fn many_changes_in_a_row_end_in_the_status_of_the_last_one() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "fault-conflicts";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("fault-conflicts");
    cluster.apply(&reviews(ns, "v1")).unwrap();
    for _ in 0..10 {
        cluster.apply(&virtual_service(ns, "v4")).unwrap();
        cluster.apply(&virtual_service(ns, "v1")).unwrap();
    }
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
}

/// Somebody else's CRD: of these versions, each served or not, the first is stored, and the schema checks nothing.
pub fn lax_definition(plural: &str, kind: &str, versions: &[(&str, bool)]) -> String {
    let versions = versions
        .iter()
        .enumerate()
        .map(|(index, (version, served))| {
            format!(
                "
    - name: {version}
      served: {served}
      storage: {}
      subresources: {{status: {{}}}}
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}",
                index == 0
            )
        });
    let versions: String = versions.collect();
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.networking.istio.io}}
spec:
  group: networking.istio.io
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {}, listKind: {kind}List}}
  versions:{versions}",
        kind.to_lowercase()
    )
}

#[test]
fn kinds_that_are_installed_later_are_found_and_an_undecodable_object_harms_no_other() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    let daemon = Daemon::start_ready("early", cluster.kubeconfig(), &[]);
    let crds = [
        ("virtualservices", "VirtualService"),
        ("destinationrules", "DestinationRule"),
    ]
    .map(|(plural, kind)| lax_definition(plural, kind, &[("v1beta1", true)]));
    cluster.apply(&crds.join("\n---")).unwrap();
    cluster.wait_for_definitions().unwrap();
    let ns = "default";
    let reviews =
        reviews(ns, "v4").replace("networking.istio.io/v1", "networking.istio.io/v1beta1");
    outrigger_e2e::wait::until(SOON, "the kinds are served", || cluster.apply(&reviews)).unwrap();
    let broken = "
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: broken, namespace: default}
spec: {hosts: {not: a list}, http: 7}";
    cluster.apply(broken).unwrap();

    let (reason, message) = wait_for_ready(&cluster, ns, "virtualservice/broken", "False");
    assert!(message.contains("spec.h"), "{reason}: {message}");
    let (reason, _) = wait_for_ready(&cluster, ns, "virtualservice/reviews", "False");
    assert_eq!(reason, "SubsetNotFound");
    wait_for_ready(&cluster, ns, "destinationrule/reviews", "True");

    let crd = "virtualservices.networking.istio.io";
    cluster.kubectl(&["delete", "crd", crd]).unwrap();
    outrigger_e2e::wait::until(SOON, "the kind is gone", || {
        let left = daemon.metric("outrigger_objects{kind=\"virtualservices\"}");
        (left == 0.0).then_some(()).ok_or(left)
    })
    .unwrap();
    assert!(daemon.get("/readyz").is_ok());
}

#[test]
fn a_kind_that_may_not_be_read_is_told_and_statuses_that_would_rest_on_it_are_not_written() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    cluster
        .helm(&[
            "install",
            "outrigger",
            CHART,
            "--namespace",
            NAMESPACE,
            "--set=validation.enabled=false",
        ])
        .unwrap();
    let rules = cluster.kubectl(&[
        "get",
        "clusterrole",
        "-o",
        "json",
        "-l",
        "app.kubernetes.io/instance=outrigger",
    ]);
    let rules: Value = serde_json::from_str(&rules.unwrap()).unwrap();
    let mut role = rules["items"][0].clone();
    for rule in role["rules"].as_array_mut().unwrap() {
        if let Some(resources) = rule["resources"].as_array_mut() {
            resources.retain(|resource| resource != "services");
        }
    }
    let rules = role["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != serde_json::json!([]));
    role["metadata"]["managedFields"].take();
    let full = cluster
        .kubectl(&[
            "get",
            "clusterrole",
            role["metadata"]["name"].as_str().unwrap(),
            "-o",
            "yaml",
        ])
        .unwrap();
    let replace = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("role");
        std::fs::write(&file, text).unwrap();
        cluster
            .kubectl(&["replace", "--force", "-f", file.to_str().unwrap()])
            .unwrap();
    };
    replace(&role.to_string());
    let kubeconfig = cluster
        .kubeconfig_of_service_account(NAMESPACE, "outriggerd")
        .unwrap();
    let daemon = Daemon::start_ready("half-blind", &kubeconfig, &[]);
    let page = daemon.get("/readyz").unwrap();
    assert!(page.contains("remark: services: may not be read"), "{page}");
    daemon.wait_for_metric("outrigger_leader", 1.0);
    cluster.apply(&reviews("default", "v1")).unwrap();
    daemon.wait_for_metric("outrigger_objects{kind=\"virtualservices\"}", 1.0);
    assert_eq!(daemon.metric("outrigger_status_writes_total"), 0.0);

    replace(&full);
    wait_for_ready(&cluster, "default", "virtualservice/reviews", "True");
    let page = daemon.get("/readyz").unwrap();
    assert!(!page.contains("remark"), "{page}");
}
