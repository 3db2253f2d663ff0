//! Pods that nobody should write, created on a real API server through the webhook: what an annotation says stays one
//! text, and size is no obstacle.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use outrigger::inject::annotations;
use outrigger::webhook::server::Limits;
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::matrix::client;
use super::serving::{DEADLINE, Server};

/// A namespace of the shared API server whose pods are injected by this process.
struct Namespace {
    pods: Api<Pod>,
    _server: Server,
}

impl Namespace {
    async fn start(name: &str) -> Self {
        let cluster = ControlPlane::shared(&Lines).unwrap();
        cluster.create_namespace(name).unwrap();
        let server = Server::start(Limits::default()).await;
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [{
                "name": "injection.faults.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "url": format!("https://{}/inject", server.address),
                    "caBundle": ByteString(server.certificate.clone().into_bytes()),
                },
                "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
            }],
        });
        cluster.apply(&configuration.to_string()).unwrap();
        let namespace = Self {
            pods: Api::namespaced(client(cluster).await, name),
            _server: server,
        };
        // The API server learns of the configuration a moment later.
        tokio::time::timeout(DEADLINE, async {
            while namespace.create(&pod(json!({}))).await.unwrap().proxies() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        namespace
    }

    /// What would become of the pod.
    async fn create(&self, pod: &Value) -> kube::Result<Created> {
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let pod = serde_json::from_value(pod.clone()).unwrap();
        let created = self.pods.create(&dry_run, &pod).await?;
        Ok(Created(serde_json::to_value(created).unwrap()))
    }
}

struct Created(Value);

impl Created {
    fn containers(&self) -> impl Iterator<Item = &Value> {
        ["initContainers", "containers"]
            .into_iter()
            .filter_map(|list| self.0["spec"][list].as_array())
            .flatten()
    }

    fn proxies(&self) -> usize {
        self.containers()
            .filter(|container| container["name"] == "istio-proxy")
            .count()
    }

    /// The names of containers and volumes, and of every container's environment.
    fn parts(&self) -> BTreeSet<String> {
        let names = |list: &Value| -> Vec<String> {
            let items = list.as_array().into_iter().flatten();
            items
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .filter(|name| !name.starts_with("kube-api-access-"))
                .collect()
        };
        let mut parts: BTreeSet<String> = names(&self.0["spec"]["volumes"]).into_iter().collect();
        for container in self.containers() {
            let owner = container["name"].as_str().unwrap();
            parts.insert(format!("container {owner}"));
            parts.extend(
                names(&container["env"])
                    .iter()
                    .map(|name| format!("{owner} env {name}")),
            );
        }
        parts
    }
}

fn pod(annotations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "annotations": annotations },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}

/// Annotations whose text ends in the pod, checked or not.
const TEXTS: [&str; 20] = [
    annotations::TEMPLATES,
    annotations::INTERCEPTION_MODE,
    annotations::INCLUDE_OUTBOUND_IP_RANGES,
    annotations::EXCLUDE_OUTBOUND_IP_RANGES,
    annotations::INCLUDE_INBOUND_PORTS,
    annotations::EXCLUDE_INBOUND_PORTS,
    annotations::INCLUDE_OUTBOUND_PORTS,
    annotations::EXCLUDE_OUTBOUND_PORTS,
    annotations::EXCLUDE_INTERFACES,
    annotations::REROUTE_VIRTUAL_INTERFACES,
    annotations::STATUS_PORT,
    annotations::PROXY_CPU,
    annotations::PROXY_MEMORY_LIMIT,
    annotations::PROXY_IMAGE,
    annotations::PROXY_IMAGE_TYPE,
    annotations::LOG_LEVEL,
    annotations::COMPONENT_LOG_LEVEL,
    annotations::AGENT_LOG_LEVEL,
    annotations::PROXY_CONFIG,
    annotations::OVERRIDES,
];

#[test]
fn no_annotation_adds_a_container_a_volume_or_a_variable_to_what_the_api_server_stores() {
    let attacks = [
        "x\"\n  - name: injected\n    image: \"busybox".to_owned(),
        "{{ .Values.global.hub }}{{ Values }}{% for x in [1] %}x{% endfor %}".to_owned(),
        "a'b\"c\\d`e$(POD_NAME)".to_owned(),
        "nul\0nul".to_owned(),
        r#"{"containers":[{"name":"injected","image":"busybox"}]}"#.to_owned(),
        "y".repeat(250 << 10),
    ];
    Runtime::new().unwrap().block_on(async {
        let namespace = Namespace::start("inject-attacks").await;
        let plain = namespace.create(&pod(json!({}))).await.unwrap().parts();
        let (mut created, mut refused) = (0, 0);
        for annotation in TEXTS {
            for attack in &attacks {
                match namespace.create(&pod(json!({ annotation: attack }))).await {
                    Ok(pod) => {
                        assert_eq!(pod.parts(), plain, "{annotation}");
                        created += 1;
                    }
                    // By the webhook, which names the annotation, or by the API server, which checks images.
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.len() < 4096, "{annotation}: {} bytes", text.len());
                        assert!(
                            text.contains(annotation) || text.contains("Invalid value"),
                            "{annotation}: {text}"
                        );
                        refused += 1;
                    }
                }
            }
        }
        assert!(
            created > 30 && refused > 50,
            "{created} created, {refused} refused"
        );
    });
}

#[test]
fn large_pods_are_injected_whole() {
    let variables: Vec<Value> = (0..1500)
        .map(|n| json!({ "name": format!("V{n}"), "value": "x" }))
        .collect();
    let mut many_variables = pod(json!({}));
    many_variables["spec"]["containers"][0]["env"] = json!(variables);
    let mut many_containers = pod(json!({}));
    many_containers["spec"]["containers"] = (0..100)
        .map(|n| {
            json!({
                "name": format!("c{n}"), "image": "x",
                "readinessProbe": { "httpGet": { "path": "/", "port": 8080 } },
            })
        })
        .collect();
    Runtime::new().unwrap().block_on(async {
        let namespace = Namespace::start("inject-large").await;
        for (pod, containers) in [(many_variables, 1), (many_containers, 100)] {
            let created = namespace.create(&pod).await.unwrap();
            assert_eq!(created.proxies(), 1);
            let list = created.0["spec"]["containers"].as_array().unwrap();
            assert_eq!(list.len(), containers);
            assert_eq!(list[0]["env"], pod["spec"]["containers"][0]["env"]);
        }
    });
}
