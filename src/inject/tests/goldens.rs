//! What comes out for pods like those of everyday manifests.

use super::*;

/// A pod as the Deployment controller makes it.
fn reviews() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "reviews-v1-5b8d7f-",
            "labels": { "app": "reviews", "version": "v1", "pod-template-hash": "5b8d7f" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "reviews-v1-5b8d7f",
                "uid": "1", "controller": true,
            }],
        },
        "spec": {
            "serviceAccountName": "reviews",
            "containers": [{
                "name": "reviews", "image": "reviews:1",
                "ports": [{ "containerPort": 9080 }],
                "futureField": { "kept": true },
            }],
            "volumes": [{ "name": "tmp", "emptyDir": {} }],
        },
    })
}

#[test]
fn a_pod_of_a_deployment_in_the_native_layout() {
    insta::assert_json_snapshot!(injected(&config(), &reviews()));
}

#[test]
fn the_patch_for_it_only_adds() {
    let pod = reviews();
    let injected = injected(&config(), &pod);
    let patch = patch::diff(&pod, &injected);
    let operations = serde_json::to_value(&patch).unwrap();
    for operation in operations.as_array().unwrap() {
        assert_eq!(operation["op"], "add", "{operation}");
    }
}

#[test]
fn the_classic_layout_puts_the_proxy_last_or_first_when_the_application_waits_for_it() {
    let mut pod = reviews();
    pod["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "m" }]);
    let classic = |hold: bool| {
        let values = json!({ "global": { "proxy": { "holdApplicationUntilProxyStarts": hold } } });
        injected(&config_of(values, Value::Null, false), &pod)
    };
    let free = classic(false);
    assert_eq!(names(&free, "initContainers"), ["migrate", "istio-init"]);
    assert_eq!(names(&free, "containers"), ["reviews", "istio-proxy"]);
    assert_eq!(free["spec"]["containers"][1]["lifecycle"], Value::Null);
    let held = classic(true);
    assert_eq!(names(&held, "containers"), ["istio-proxy", "reviews"]);
    assert_eq!(
        held["spec"]["containers"][0]["lifecycle"],
        json!({ "postStart": { "exec": { "command": ["pilot-agent", "wait"] } } })
    );
}

#[test]
fn the_author_s_own_proxy_container_wins_over_the_template() {
    let mut pod = reviews();
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({
            "name": "istio-proxy", "image": "auto",
            "env": [{ "name": "MINE", "value": "1" }],
            "resources": { "requests": { "cpu": "7m" } },
            "securityContext": { "runAsUser": 4000 },
        }));
    let injected = injected(&config(), &pod);
    let init = &injected["spec"]["initContainers"];
    assert_eq!(
        names(&injected, "initContainers"),
        ["istio-init", "istio-proxy"]
    );
    assert_eq!(init[1]["image"], "registry.test/mesh/proxyv2:1");
    assert_eq!(
        init[1]["resources"]["requests"],
        json!({ "cpu": "7m", "memory": "128Mi" })
    );
    assert_eq!(init[1]["securityContext"]["runAsUser"], 4000);
    let arguments: Vec<_> = init[0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .skip(5)
        .take(2)
        .collect();
    assert_eq!(arguments, ["-u", "4000"]);
}

#[test]
fn probes_of_every_kind_go_to_the_agent() {
    let mut pod = reviews();
    let container = &mut pod["spec"]["containers"][0];
    container["ports"] = json!([{ "name": "web", "containerPort": 9080 }]);
    container["readinessProbe"] = json!({ "httpGet": { "path": "/ready", "port": "web", "scheme": "HTTPS" }, "timeoutSeconds": 2, "periodSeconds": 3 });
    container["livenessProbe"] = json!({ "tcpSocket": { "port": 9080 } });
    container["startupProbe"] = json!({ "grpc": { "port": 9081, "service": "s" } });
    container["lifecycle"] = json!({
        "preStop": { "httpGet": { "path": "/bye", "port": 9080 } },
        "postStart": { "exec": { "command": ["true"] } },
    });
    let pod = injected(&config(), &pod);
    insta::assert_json_snapshot!(json!({
        "container": pod["spec"]["containers"][0],
        "agent": pod["spec"]["initContainers"][1]["env"].as_array().unwrap().iter()
            .find(|entry| entry["name"] == "ISTIO_KUBE_APP_PROBERS"),
    }));
}

#[test]
fn a_scheme_for_the_scrape_moves_to_the_agent_unless_it_is_http() {
    let scraped = |scheme: &str| {
        let mut pod = reviews();
        pod["metadata"]["annotations"] =
            json!({ "prometheus.io/port": "9443", "prometheus.io/scheme": scheme });
        let pod = injected(&config(), &pod);
        let env = pod["spec"]["initContainers"][1]["env"].as_array().unwrap();
        let told = env
            .iter()
            .find(|entry| entry["name"] == "ISTIO_PROMETHEUS_ANNOTATIONS");
        let left = pod["metadata"]["annotations"]["prometheus.io/scheme"].clone();
        (told.unwrap()["value"].clone(), left)
    };
    assert_eq!(
        scraped("https"),
        (json!(r#"{"port":"9443","scheme":"https"}"#), Value::Null)
    );
    assert_eq!(
        scraped("http"),
        (json!(r#"{"port":"9443"}"#), json!("http"))
    );
}

#[test]
fn a_pod_that_another_mesh_injected_is_left_alone_with_a_warning() {
    let mut pod = reviews();
    pod["metadata"]["annotations"] = json!({ annotations::STATUS: "{}" });
    let outcome = inject(&config(), request(&pod)).unwrap();
    let Outcome::Skipped { reason, surprises } = outcome else {
        panic!("injected");
    };
    assert_eq!(reason, Reason::ForeignStatus);
    assert!(
        surprises[0].text.contains(annotations::STATUS),
        "{surprises:?}"
    );
}

#[test]
fn what_will_surprise_is_said() {
    let mut pod = reviews();
    pod["metadata"]["ownerReferences"][0] =
        json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "report", "controller": true });
    pod["spec"]["securityContext"] = json!({ "runAsUser": 1337 });
    pod["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "m" }]);
    let warnings_of = |pod: &Value, native: bool| {
        let config = config_of(Value::Null, Value::Null, native);
        match inject(&config, request(pod)).unwrap() {
            Outcome::Injected { surprises, .. } => texts(&surprises).join("\n"),
            Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
        }
    };
    insta::assert_snapshot!(warnings_of(&pod, true), @"container reviews runs as user 1337, which is the proxy's: its traffic is not captured; give it another runAsUser");
    insta::assert_snapshot!(warnings_of(&pod, false), @r"
    container reviews runs as user 1337, which is the proxy's: its traffic is not captured; give it another runAsUser
    the proxy keeps this Job from completing, because it is no native sidecar here: let the container end with a POST to http://127.0.0.1:15020/quitquitquit
    init container migrate runs before traffic is captured: it talks past the mesh
    ");
}

#[test]
fn the_agent_is_told_the_port_that_the_pod_chose_for_it() {
    let mut pod = reviews();
    pod["metadata"]["annotations"] = json!({ annotations::STATUS_PORT: "15999" });
    pod["spec"]["containers"][0]["livenessProbe"] = json!({ "tcpSocket": { "port": 9080 } });
    let injected = injected(&config(), &pod);
    assert_eq!(
        injected["metadata"]["annotations"]["prometheus.io/port"],
        "15999"
    );
    assert_eq!(
        injected["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"],
        15999
    );
    let env = injected["spec"]["initContainers"][1]["env"]
        .as_array()
        .unwrap();
    let told = pod::find(env, "PROXY_CONFIG").unwrap();
    assert_eq!(told["value"], r#"{"statusPort":15999}"#);
}
