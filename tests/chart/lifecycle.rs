//! Installing, upgrading and removing the chart on a real API server. Nothing runs the pods here: what counts is what
//! becomes of the objects, and of those who create others.

use std::fs;
use std::process::Command;

use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::command;
use outrigger_e2e::progress::Lines;
use tempfile::TempDir;

use super::{CHART, NAMESPACE};

const CRD: &str = "virtualservices.networking.istio.io";

const VIRTUAL_SERVICE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mine, namespace: default}
spec: {hosts: [mine], http: [{route: [{destination: {host: mine}}]}]}";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: default}
spec: {containers: [{name: app, image: app}]}";

fn helm(cluster: &ControlPlane, verb: &[&str], more: &[&str]) -> anyhow::Result<String> {
    let arguments = [verb, &["outrigger", CHART, "--namespace", NAMESPACE], more].concat();
    cluster.helm(&arguments)
}

fn install(cluster: &ControlPlane, more: &[&str]) -> anyhow::Result<String> {
    helm(
        cluster,
        &["install"],
        &[&["--create-namespace"], more].concat(),
    )
}

fn uninstall(cluster: &ControlPlane) {
    // Nothing runs the pod of the Job that clears status; e2e does that on a node.
    let words = ["uninstall", "outrigger", "--namespace", NAMESPACE];
    cluster
        .helm(&[&words[..], &["--no-hooks"]].concat())
        .unwrap();
}

fn jsonpath(cluster: &ControlPlane, object: &str, path: &str) -> String {
    cluster
        .kubectl(&["get", object, "-o", &format!("jsonpath={path}")])
        .unwrap()
}

/// The first object of a kind that just got its CRD: the API server serves it a moment later.
fn apply_virtual_service(cluster: &ControlPlane) {
    cluster.wait_for_definitions().unwrap();
    cluster.apply(VIRTUAL_SERVICE).unwrap();
}

#[test]
fn crds_and_objects_outlive_the_release_and_pods_are_not_blocked_after_it() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    let notes = install(&cluster, &["--set", "gateways.x=1"]).unwrap();
    assert!(
        notes.contains("have no effect on Outrigger:\n  gateways"),
        "{notes}"
    );
    assert!(!notes.contains("belong to somebody else"), "{notes}");
    apply_virtual_service(&cluster);
    cluster
        .kubectl(&["label", "namespace", "default", "injection=enabled"])
        .unwrap();
    let refused = cluster.apply(POD).unwrap_err();
    assert!(
        refused.stderr().contains("sidecar-injector.outrigger.dev"),
        "{refused}"
    );

    uninstall(&cluster);
    assert_eq!(
        jsonpath(&cluster, "virtualservice/mine", "{.spec.hosts[0]}"),
        "mine"
    );
    cluster.apply(POD).unwrap();

    let notes = install(&cluster, &[]).unwrap();
    assert!(!notes.contains("belong to somebody else"), "{notes}");
    assert_eq!(
        jsonpath(&cluster, "virtualservice/mine", "{.spec.hosts[0]}"),
        "mine"
    );
}

/// A copy of the chart whose VirtualService CRD has another first column.
fn older_chart() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    command::output(
        Command::new("cp")
            .args(["-rL", CHART])
            .arg(directory.path()),
    )
    .unwrap();
    let file = directory
        .path()
        .join("outrigger/files/crds/virtualservices.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("- name: Gateways", "- name: Old", 1)).unwrap();
    directory
}

#[test]
fn upgrade_upgrades_the_crds_and_leaves_the_ca_bundle_of_the_control_plane() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    let older = older_chart();
    let path = older.path().join("outrigger").display().to_string();
    cluster
        .helm(&[
            "install",
            "outrigger",
            &path,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
        ])
        .unwrap();
    let first_column = "{.spec.versions[0].additionalPrinterColumns[0].name}";
    assert_eq!(
        jsonpath(&cluster, &format!("crd/{CRD}"), first_column),
        "Old"
    );
    // Published by the control plane meanwhile.
    let configuration = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: outrigger-sidecar-injector}
webhooks: [{name: object.sidecar-injector.outrigger.dev, clientConfig: {caBundle: cGVt}}]"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), configuration).unwrap();
    let path = file.path().to_str().unwrap();
    cluster
        .kubectl(&[
            "apply",
            "--server-side",
            "--field-manager=outrigger-webhooks",
            "-f",
            path,
        ])
        .unwrap();

    helm(&cluster, &["upgrade"], &["--set", "replicaCount=3"]).unwrap();
    assert_eq!(
        jsonpath(&cluster, &format!("crd/{CRD}"), first_column),
        "Gateways"
    );
    let bundle =
        r#"{.webhooks[?(@.name=="object.sidecar-injector.outrigger.dev")].clientConfig.caBundle}"#;
    let object = "mutatingwebhookconfiguration/outrigger-sidecar-injector";
    assert_eq!(jsonpath(&cluster, object, bundle), "cGVt");
    assert_eq!(
        cluster
            .kubectl(&[
                "get",
                "deployment/outriggerd",
                "-n",
                NAMESPACE,
                "-o=jsonpath={.spec.replicas}"
            ])
            .unwrap(),
        "3"
    );

    helm(&cluster, &["upgrade"], &["--set", "crds.install=false"]).unwrap();
    assert_eq!(
        jsonpath(&cluster, &format!("crd/{CRD}"), first_column),
        "Gateways"
    );
}

/// A CRD as another mesh's chart brings it, in short.
const FOREIGN_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: virtualservices.networking.istio.io
  labels: {app.kubernetes.io/managed-by: Helm, chart: istio}
  annotations: {meta.helm.sh/release-name: istio-base, meta.helm.sh/release-namespace: istio-system}
spec:
  group: networking.istio.io
  scope: Namespaced
  names: {kind: VirtualService, listKind: VirtualServiceList, plural: virtualservices, singular: virtualservice}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}";

#[test]
fn crds_of_another_owner_are_left_alone_and_named() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.apply(FOREIGN_CRD).unwrap();
    let generation = || jsonpath(&cluster, &format!("crd/{CRD}"), "{.metadata.generation}");
    let before = generation();

    let notes = install(&cluster, &[]).unwrap();
    assert!(
        notes.contains(&format!("{CRD} (the Helm release istio-system/istio-base)")),
        "{notes}"
    );
    assert!(!notes.contains("gateways.networking.istio.io"), "{notes}");
    helm(&cluster, &["upgrade"], &[]).unwrap();
    assert_eq!(generation(), before);
    let owner = r"{.metadata.annotations.meta\.helm\.sh/release-name}";
    assert_eq!(
        jsonpath(&cluster, &format!("crd/{CRD}"), owner),
        "istio-base"
    );
    assert_eq!(
        jsonpath(&cluster, "crd/gateways.networking.istio.io", owner),
        "outrigger"
    );

    uninstall(&cluster);
    assert_eq!(generation(), before);
}
