//! A real API server calls the injection webhook of this process: its validation has the last word on our pods.

use k8s_openapi::ByteString;
use outrigger::webhook::server::Limits;
use outrigger_e2e::{
    cluster::{Cluster, ControlPlane},
    command,
    progress::Lines,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::serving::Server;

/// A namespace of the shared API server whose pods go through the webhook of this process.
struct Mesh {
    cluster: &'static ControlPlane,
    namespace: &'static str,
    _runtime: Runtime,
    _server: Server,
}

impl Mesh {
    /// `calls`: how many webhooks of the configuration call this process for each pod.
    fn start(namespace: &'static str, calls: usize, native_sidecars: bool) -> Self {
        let cluster = ControlPlane::shared(&Lines).unwrap();
        cluster.create_namespace(namespace).unwrap();
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start_with(Limits::default(), native_sidecars));
        let webhooks: Vec<Value> = (0..calls)
            .map(|call| {
                json!({
                    "name": format!("call-{call}.injection.test"),
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "reinvocationPolicy": "IfNeeded",
                    "clientConfig": {
                        "url": format!("https://{}/inject", server.address),
                        "caBundle": ByteString(server.certificate.clone().into_bytes()),
                    },
                    "rules": [{
                        "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                        "resources": ["pods"],
                    }],
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                })
            })
            .collect();
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": namespace },
            "webhooks": webhooks,
        });
        cluster.apply(&configuration.to_string()).unwrap();
        let mesh = Self {
            cluster,
            namespace,
            _runtime: runtime,
            _server: server,
        };
        // The API server learns of the configuration a moment later.
        outrigger_e2e::wait::until(
            std::time::Duration::from_secs(30),
            "the webhook is called",
            || {
                let pod = mesh.create(&app("probe"), true)?;
                match names(&pod, "initContainers").as_slice() {
                    [] => Err("the pod is not injected".to_owned()),
                    _ => Ok(()),
                }
            },
        )
        .unwrap();
        mesh
    }

    /// Creates a pod, or only asks what would become of it, and returns it as the API server has it.
    fn create(&self, pod: &Value, dry_run: bool) -> Result<Value, String> {
        let dry_run = if dry_run {
            "--dry-run=server"
        } else {
            "--dry-run=none"
        };
        let mut kubectl = self.cluster.kubectl_command();
        kubectl.args([
            "create",
            "-n",
            self.namespace,
            "-f",
            "-",
            "-o",
            "json",
            dry_run,
        ]);
        let created = command::output_with_input(&mut kubectl, &pod.to_string())
            .map_err(|error| error.stderr().to_owned())?;
        serde_json::from_str(&created).map_err(|error| error.to_string())
    }
}

fn app(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name }, "annotations": {} },
        "spec": {
            "initContainers": [{ "name": "setup", "image": "setup" }],
            "containers": [{ "name": "app", "image": "app", "ports": [{ "name": "http", "containerPort": 8080 }] }],
        },
    })
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let items = pod["spec"][list].as_array();
    let names = items
        .into_iter()
        .flatten()
        .map(|item| item["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn a_pod_is_created_with_its_sidecar_in_the_native_layout() {
    let mesh = Mesh::start("inject-native", 1, true);
    for dry_run in [true, false] {
        let pod = mesh.create(&app("web"), dry_run).unwrap();
        assert_eq!(
            names(&pod, "initContainers"),
            ["istio-init", "istio-proxy", "setup"]
        );
        assert_eq!(names(&pod, "containers"), ["app"]);
        assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
        assert_eq!(pod["metadata"]["annotations"]["istio.io/rev"], "default");
    }
}

#[test]
fn a_pod_is_created_with_its_sidecar_in_the_classic_layout() {
    let mesh = Mesh::start("inject-classic", 1, false);
    let pod = mesh.create(&app("web"), false).unwrap();
    assert_eq!(names(&pod, "initContainers"), ["setup", "istio-init"]);
    assert_eq!(names(&pod, "containers"), ["app", "istio-proxy"]);
}

#[test]
fn a_second_call_for_the_same_pod_changes_nothing() {
    let once = Mesh::start("inject-once", 1, true);
    let twice = Mesh::start("inject-twice", 2, true);
    let mut wished = app("web");
    wished["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "istio-proxy", "image": "auto", "env": [{ "name": "MINE", "value": "1" }] }));
    // What differs by itself: the namespace, and the name of the token's volume, which is random.
    let pod = |mesh: &Mesh| {
        let pod = mesh.create(&wished, true).unwrap();
        let text = json!([pod["metadata"]["annotations"], pod["spec"]]).to_string();
        let volume = pod["spec"]["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|volume| volume["name"].as_str())
            .find(|name| name.starts_with("kube-api-access-"))
            .unwrap();
        assert!(text.contains("MINE"), "{text}");
        let text = text
            .replace(mesh.namespace, "NAMESPACE")
            .replace(volume, "VOLUME");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(pod(&once), pod(&twice));
}

#[test]
fn the_api_server_accepts_every_kind_of_injected_pod() {
    let mesh = Mesh::start("inject-kinds", 1, true);
    let with = |annotations: Value| {
        let mut pod = app("web");
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    let mut gateway = app("gateway");
    gateway["metadata"]["annotations"] = json!({ "inject.istio.io/templates": "gateway" });
    gateway["spec"] = json!({ "containers": [{ "name": "istio-proxy", "image": "auto" }] });
    for pod in [
        with(json!({ "sidecar.istio.io/interceptionMode": "TPROXY" })),
        with(json!({ "sidecar.istio.io/interceptionMode": "NONE" })),
        with(json!({ "sidecar.istio.io/nativeSidecar": "false" })),
        with(
            json!({ "sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyMemoryLimit": "64Mi" }),
        ),
        with(json!({ "status.sidecar.istio.io/port": "0" })),
        with(json!({ "sidecar.istio.io/bootstrapOverride": "my-bootstrap" })),
        with(json!({ "sidecar.istio.io/capNetBindService": "true" })),
        with(json!({ "proxy.istio.io/config": "proxyMetadata:\n  MY_SETTING: \"x\"" })),
        with(json!({
            "sidecar.istio.io/userVolume": r#"{"mine":{"emptyDir":{}}}"#,
            "sidecar.istio.io/userVolumeMount": r#"{"mine":{"mountPath":"/mine"}}"#,
        })),
        gateway,
    ] {
        let created = mesh.create(&pod, true);
        let created = created.unwrap_or_else(|error| panic!("{}: {error}", pod["metadata"]));
        assert!(created["metadata"]["annotations"]["sidecar.istio.io/status"].is_string());
    }
}

#[test]
fn whoever_creates_a_pod_with_a_bad_annotation_is_told_which() {
    let mesh = Mesh::start("inject-denied", 1, true);
    let mut pod = app("web");
    pod["metadata"]["annotations"] =
        json!({ "traffic.sidecar.istio.io/includeInboundPorts": "http" });
    let error = mesh.create(&pod, false).unwrap_err();
    assert!(
        error.contains("traffic.sidecar.istio.io/includeInboundPorts"),
        "{error}"
    );
    assert!(error.contains("is not a port"), "{error}");
}

#[test]
fn a_pod_of_another_mesh_is_left_alone() {
    let mesh = Mesh::start("inject-foreign", 1, true);
    let mut pod = app("web");
    pod["metadata"]["annotations"] =
        json!({ "sidecar.istio.io/status": "{\"containers\":[\"istio-proxy\"]}" });
    let created = mesh.create(&pod, true).unwrap();
    assert_eq!(names(&created, "initContainers"), ["setup"]);
}
