//! What `charts/gateway` renders.

use std::path::Path;
use std::process::Command;

use outrigger_e2e::command::{self, CommandError};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::tools;
use serde_json::{Value, json};

use super::chart::CHART;

/// Runs helm on the chart, away from any cluster.
fn helm(arguments: &[&str], values: &[&str]) -> Result<String, CommandError> {
    let helm = tools::named(&["helm"], &Lines).unwrap().path("helm");
    let nowhere = Path::new("/nonexistent");
    let values = values.iter().flat_map(|value| ["--set", value]);
    command::output(
        Command::new(helm)
            .args(arguments)
            .arg(CHART)
            .args(values)
            .env("HOME", nowhere)
            .env("KUBECONFIG", nowhere),
    )
}

fn rendered(values: &[&str]) -> Vec<Value> {
    let arguments = ["template", "istio-ingressgateway", "--namespace", "edge"];
    let text = helm(&arguments, values).unwrap();
    let documents = text.split("\n---\n").filter(|text| text.contains("kind:"));
    documents
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

fn object(kind: &str, values: &[&str]) -> Value {
    let mut found = rendered(values)
        .into_iter()
        .filter(|object| object["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn lint_finds_nothing_wrong() {
    helm(&["lint", "--strict"], &[]).unwrap();
}

#[test]
fn selectors_of_existing_gateways_find_the_pods_by_the_name_of_the_release() {
    let deployment = object("Deployment", &[]);
    let selector = json!({"app": "istio-ingressgateway", "istio": "ingressgateway"});
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(object("Service", &[])["spec"]["selector"], selector);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["istio"], "ingressgateway");
    assert_eq!(labels["sidecar.istio.io/inject"], "false");

    let named = object(
        "Service",
        &["name=edge", "labels.istio=public", "labels.team=web"],
    );
    assert_eq!(
        named["spec"]["selector"],
        json!({"app": "edge", "istio": "public"})
    );
    assert_eq!(named["metadata"]["labels"]["team"], "web");
}

#[test]
fn service_has_the_ports_that_users_of_istio_expect() {
    let service = object("Service", &[]);
    let ports = service["spec"]["ports"].as_array().unwrap();
    let ports: Vec<(u64, u64)> = ports
        .iter()
        .map(|port| {
            (
                port["port"].as_u64().unwrap(),
                port["targetPort"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(ports, [(15021, 15021), (80, 8080), (443, 8443)]);
    let kinds: Vec<Value> = rendered(&["service.type=None"])
        .into_iter()
        .map(|object| object["kind"].clone())
        .collect();
    assert_eq!(kinds, ["ServiceAccount", "Deployment"]);
}

#[test]
fn pod_has_no_privileges_and_no_credentials() {
    let pod = &object("Deployment", &[])["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsUser"], 1337);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"],
        json!({"drop": ["ALL"]})
    );
    assert_eq!(container["args"][0], "proxy");
    assert_eq!(container["args"][1], "router");
    assert_eq!(
        container["readinessProbe"]["httpGet"]["path"],
        "/healthz/ready"
    );
    let volumes = pod["volumes"].as_array().unwrap();
    let ports = volumes
        .iter()
        .find(|volume| volume["name"] == "gateway-ports")
        .unwrap();
    assert_eq!(
        ports["configMap"],
        json!({"name": "outrigger-gateway-ports", "optional": true})
    );
}

#[test]
fn values_under_the_names_of_istios_chart_take_effect() {
    let autoscaling = ["autoscaling.enabled=true", "autoscaling.maxReplicas=7"];
    assert_eq!(
        object("HorizontalPodAutoscaler", &autoscaling)["spec"]["maxReplicas"],
        7
    );
    assert_eq!(
        object("Deployment", &autoscaling)["spec"]["replicas"],
        Value::Null
    );
    assert_eq!(
        object("Deployment", &["replicaCount=3"])["spec"]["replicas"],
        3
    );
    let budget = object(
        "PodDisruptionBudget",
        &["podDisruptionBudget.minAvailable=1"],
    );
    assert_eq!(budget["spec"]["minAvailable"], 1);
    let image = |values: &[&str]| {
        object("Deployment", values)["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!(
        image(&["global.hub=local.test", "global.tag=abc"]),
        "local.test/proxyv2:abc"
    );
    assert_eq!(
        image(&["global.proxy.image=example.com/proxy:1"]),
        "example.com/proxy:1"
    );
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    for (value, path) in [
        ("replicaCount=many", "/replicaCount"),
        (
            "service.ports[0].port=0,service.ports[0].name=a",
            "/service/ports/0/port",
        ),
        ("service.type=ExternalName", "/service/type"),
        ("global.proxy.logLevel=loud", "/global/proxy/logLevel"),
    ] {
        let error = helm(&["template", "gateway"], &[value]).unwrap_err();
        assert!(error.stderr().contains(path), "{value}: {error}");
    }
}
