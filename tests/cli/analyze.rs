//! `outrigger analyze` as a process.

use std::path::Path;
use std::process::{Command, Output};

use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use serde_json::Value;

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// A route to a subset that its rule does not define, and a rule that does not verify its server.
const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: analyzed}
spec: {ports: [{name: http, port: 9080}], selector: {app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: analyzed}
spec:
  host: reviews
  trafficPolicy: {tls: {mode: SIMPLE}}
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: analyzed}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, subset: v9}}]}]
";

fn analyze(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("analyze")
        .args(words)
        .output()
        .unwrap()
}

fn status(output: &Output) -> Option<i32> {
    output.status.code()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Code, object, field and text of each message about the namespace.
fn told(output: &Output) -> Vec<[String; 4]> {
    let messages: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |message: &Value, member: &str| message[member].as_str().unwrap().to_owned();
    messages
        .iter()
        .map(|it| ["code", "origin", "path", "message"].map(|member| text(it, member)))
        .collect()
}

#[test]
fn exit_status_follows_the_failure_threshold_in_every_form_of_output() {
    let folder = tempfile::tempdir().unwrap();
    let shop = file(folder.path(), "shop.yaml", SHOP);
    for form in ["log", "json", "yaml", "sarif", "github"] {
        assert_eq!(status(&analyze(&[&shop, "-o", form])), Some(79), "{form}");
        let without_errors = ["-S", "IST0101=*", &shop, "-o", form];
        assert_eq!(status(&analyze(&without_errors)), Some(0), "{form}");
        let strict = [
            "-S",
            "IST0101=*",
            "-S",
            "IST0173=*",
            &shop,
            "-o",
            form,
            "--failure-threshold",
            "Warning",
        ];
        assert_eq!(status(&analyze(&strict)), Some(79), "{form}");
    }
    assert_eq!(status(&analyze(&["/nowhere"])), Some(1));
}

#[test]
fn output_threshold_hides_and_does_not_acquit() {
    let folder = tempfile::tempdir().unwrap();
    let shop = file(folder.path(), "shop.yaml", SHOP);
    let warnings_fail = analyze(&[
        "-f",
        &shop,
        "-S",
        "IST0101=*",
        "-S",
        "IST0173=*",
        "-o",
        "json",
        "--output-threshold",
        "error",
        "--failure-threshold",
        "warning",
    ]);
    assert_eq!(status(&warnings_fail), Some(79));
    assert_eq!(told(&warnings_fail), Vec::<[String; 4]>::new());
}

#[test]
fn what_is_suppressed_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let shop = file(folder.path(), "shop.yaml", SHOP);
    let output = analyze(&[
        "-f",
        &shop,
        "-S",
        "IST0101=VirtualService analyzed/rev*",
        "-S",
        "IST9999=*",
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("suppressed (IST0101 × 1)"), "{told}");
    assert!(told.contains("there is no code IST9999"), "{told}");
}

#[test]
fn document_that_cannot_be_read_is_a_message_and_disturbs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let broken = file(folder.path(), "broken.yaml", &format!("kind: [\n---{SHOP}"));
    let output = analyze(&["-f", &broken, "-o", "json"]);
    assert_eq!(status(&output), Some(79));
    let told = told(&output);
    assert_eq!(
        told[0][..2],
        ["IST0106".to_owned(), format!("File {broken}")]
    );
    assert!(told.iter().any(|it| it[0] == "IST0101"), "{told:?}");
}

#[test]
fn files_and_a_cluster_with_the_same_objects_are_told_the_same() {
    // One of its own: others would be told of their objects too, and change the definitions meanwhile.
    let cluster = ControlPlane::start(&Lines).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shop = file(folder.path(), "shop.yaml", SHOP);
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let kube = [
        "--kube",
        "--kubeconfig",
        &kubeconfig,
        "-n",
        "analyzed",
        "-o",
        "json",
    ];
    cluster.create_namespace("analyzed").unwrap();
    cluster.kubectl(&["apply", "-f", CRDS]).unwrap();
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            CRDS,
        ])
        .unwrap();

    // Laid over a cluster that has none of it.
    let laid_over = analyze(&[&kube[..], &["-f", &shop]].concat());
    cluster.apply(SHOP).unwrap();
    let live = analyze(&kube);
    let offline = analyze(&["-n", "analyzed", "-o", "json", "-f", &shop]);
    let of_routing = |output: &Output| {
        let mut told = told(output);
        told.retain(|it| {
            it[1].starts_with("VirtualService") || it[1].starts_with("DestinationRule")
        });
        told
    };
    assert_eq!(of_routing(&live), of_routing(&offline));
    assert_eq!(of_routing(&laid_over), of_routing(&offline));
    assert_eq!(status(&live), Some(79));

    // A file that cures it, laid over the cluster that has the rest.
    let cured = SHOP.replace("v9", "v1");
    let route = file(
        folder.path(),
        "route.yaml",
        cured.rsplit("---").next().unwrap(),
    );
    let cured = analyze(&[&kube[..], &["-f", &route]].concat());
    let told = of_routing(&cured);
    assert!(!told.iter().any(|it| it[0] == "IST0101"), "{told:?}");
}
