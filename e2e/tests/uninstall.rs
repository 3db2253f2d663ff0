//! The end of a release on a real node: the hook of the chart runs as a pod, with the image and the rights of the release.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::demo::{Stage, install};
use outrigger_e2e::wait;
use serde_json::Value;

use crate::stage::product_alone;

const NAMESPACE: &str = "uninstalled";
/// Long for a machine under load.
const SOON: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: uninstalled}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: uninstalled}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: uninstalled}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v4}}]}]}";

const FOREIGN: &str = r#"{"status":{"conditions":[{"type":"example.com/Seen","status":"True","reason":"Seen","message":"",
    "lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;

fn status(stage: &Stage<'_>, object: &str) -> Result<Value> {
    let get = ["get", object, "--namespace", NAMESPACE, "--output=json"];
    let object: Value = serde_json::from_str(&stage.node.kubectl(&get)?)?;
    Ok(object["status"].clone())
}

fn types(status: &Value) -> Vec<&str> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter_map(|condition| condition["type"].as_str())
        .collect()
}

fn wait_until_written(stage: &Stage<'_>) {
    wait::until(SOON, "both objects have conditions", || {
        for object in ["virtualservice/reviews", "destinationrule/reviews"] {
            let status = status(stage, object)?;
            ensure!(types(&status).contains(&"Ready"), "{object}: {status}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn helm_uninstall_takes_the_status_from_all_objects_and_leaves_what_others_wrote() {
    let Some(stage) = product_alone() else { return };
    let node = stage.node;
    node.kubectl(&["create", "namespace", NAMESPACE]).unwrap();
    node.apply(OBJECTS).unwrap();
    wait_until_written(&stage);
    // Beside what is there already: conditions are a list with keys.
    let patch = [
        "patch",
        "virtualservice/reviews",
        "--namespace",
        NAMESPACE,
        "--type=merge",
    ];
    let foreign = || -> Result<()> {
        let now = status(&stage, "virtualservice/reviews")?;
        let mut conditions = now["conditions"]
            .as_array()
            .context("no conditions")?
            .clone();
        let theirs: Value = serde_json::from_str(FOREIGN)?;
        conditions.push(theirs["status"]["conditions"][0].clone());
        let text = serde_json::json!({ "status": { "conditions": conditions } }).to_string();
        node.kubectl(&[&patch[..], &["--subresource=status", "-p", &text]].concat())?;
        Ok(())
    };
    foreign().unwrap();

    let words = ["uninstall", "outrigger", "--namespace", install::NAMESPACE];
    node.helm(&[&words[..], &["--timeout=120s"]].concat())
        .unwrap();
    let rule = status(&stage, "destinationrule/reviews").unwrap();
    assert_eq!(rule, Value::Null);
    let pods = [
        "get",
        "pods",
        "--namespace",
        install::NAMESPACE,
        "--output=name",
    ];
    wait::until(SOON, "every pod of the release is gone", || {
        let pods = node.kubectl(&pods)?;
        ensure!(pods.is_empty(), "{pods}");
        Ok(())
    })
    .unwrap();
    // Until its end the control plane wrote nothing more.
    let route = status(&stage, "virtualservice/reviews").unwrap();
    assert_eq!(types(&route), ["example.com/Seen"]);
    assert_eq!(route.as_object().unwrap().len(), 1, "{route}");
    assert_eq!(
        status(&stage, "destinationrule/reviews").unwrap(),
        Value::Null
    );

    // Other tests count on it; and it begins anew.
    install::control_plane(&stage).unwrap();
    wait_until_written(&stage);
    let route = status(&stage, "virtualservice/reviews").unwrap();
    assert!(types(&route).contains(&"example.com/Seen"), "{route}");
    node.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .unwrap();
}
