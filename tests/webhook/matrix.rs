//! Every combination of the labels that have a say, on a real API server with the chart's webhook configurations of two
//! revisions: what happens to a pod is what the explanation says, and no pod is asked about twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use outrigger::inject::explain::{ControlPlane, Question, Registered, explain};
use outrigger::inject::values::Values;
use outrigger::inject::webhooks::InjectionWebhook;
use outrigger::inject::{Config, annotations};
use outrigger::webhook::inject::Injector;
use outrigger::webhook::server::Limits;
use outrigger_e2e::cluster::{Cluster, ControlPlane as ApiServer};
use outrigger_e2e::progress::Lines;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::serving::{DEADLINE, Server};
use crate::chart;

const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";
const REVISIONS: [&str; 2] = ["", "canary"];
/// A label that keeps the webhooks away from the other tests' namespaces.
const SCOPE: &str = "outrigger.test/matrix";

fn config(revision: &str) -> Config {
    let values = Values::over_defaults(&json!({ "revision": revision })).unwrap();
    Config::new(values, Default::default(), true).0
}

/// A webhook server of one revision that counts what it is asked.
struct Revision {
    _server: Server,
    config: Config,
    asked: Arc<AtomicUsize>,
    configuration: Value,
}

impl Revision {
    async fn start(revision: &str) -> Self {
        let config = config(revision);
        let (sender, receiver) = watch::channel(Arc::new(config.clone()));
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let count = axum::middleware::map_request(move |request: axum::extract::Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(request)
        });
        let router = Injector::new(receiver, &mut Default::default())
            .router()
            .layer(count);
        let server = Server::serve(Limits::default(), router, Box::new(sender)).await;
        let configuration = configuration(revision, &server);
        Self {
            _server: server,
            config,
            asked,
            configuration,
        }
    }

    fn name(&self) -> &str {
        self.config.revision()
    }
}

/// The chart's configuration, calling `server`, and only about the namespaces of this test.
fn configuration(revision: &str, server: &Server) -> Value {
    let value = format!("revision={revision}");
    let mut configuration = chart::object("MutatingWebhookConfiguration", &[&value]);
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"] = json!({
            "url": format!("https://{}/inject", server.address),
            "caBundle": ByteString(server.certificate.clone().into_bytes()),
        });
        webhook["namespaceSelector"]["matchExpressions"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "key": SCOPE, "operator": "Exists" }));
    }
    configuration
}

type Labels = BTreeMap<String, String>;

/// A client with the administrator's rights.
pub async fn client(cluster: &ApiServer) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

/// Every choice of one value (or none) for each name.
fn combinations(names: &[(&str, &[&str])]) -> Vec<Labels> {
    names
        .iter()
        .fold(vec![Labels::new()], |so_far, (name, values)| {
            let with = |labels: &Labels, value: &str| {
                let mut labels = labels.clone();
                labels.insert((*name).to_owned(), value.to_owned());
                labels
            };
            so_far
                .iter()
                .flat_map(|labels| {
                    let chosen = values.iter().map(|value| with(labels, value));
                    std::iter::once(labels.clone()).chain(chosen)
                })
                .collect()
        })
}

fn pods() -> Vec<Value> {
    let labels = combinations(&[
        (INJECT, &["true", "false"]),
        (REVISION, &["default", "canary"]),
    ]);
    let wishes = combinations(&[(INJECT, &["true", "false"])]);
    let mut pods = Vec::new();
    for labels in &labels {
        for annotations in &wishes {
            for host_network in [false, true] {
                pods.push(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": { "name": "row", "labels": labels, "annotations": annotations },
                    "spec": { "hostNetwork": host_network, "containers": [{ "name": "app", "image": "x" }] },
                }));
            }
        }
    }
    pods
}

/// The revision that injected the pod; `None`: it was not.
fn injected_by(pod: &Value) -> Option<String> {
    let note = pod["metadata"]["annotations"][annotations::INJECTED_BY].as_str()?;
    let note: Value = serde_json::from_str(note).unwrap();
    Some(note["revision"].as_str().unwrap().to_owned())
}

#[test]
fn what_the_api_server_does_is_what_the_explanation_says_for_every_row_of_the_label_matrix() {
    let cluster = ApiServer::shared(&Lines).unwrap();
    Runtime::new().unwrap().block_on(async {
        let mut revisions = Vec::new();
        for revision in REVISIONS {
            revisions.push(Revision::start(revision).await);
        }
        for revision in &revisions {
            cluster.apply(&revision.configuration.to_string()).unwrap();
        }
        let client = client(cluster).await;
        let matrix = Matrix::of(client, &revisions);
        matrix.wait_for_webhooks().await;
        let namespaces = combinations(&[
            ("injection", &["enabled", "disabled"]),
            ("istio-injection", &["enabled", "disabled"]),
            (REVISION, &["default", "canary"]),
        ]);
        let mut rows = 0;
        for (index, labels) in namespaces.iter().enumerate() {
            rows += matrix
                .check_namespace(&format!("matrix-{index}"), labels)
                .await;
        }
        assert_eq!(rows, 27 * 9 * 3 * 2);
        for revision in &revisions {
            let name = revision.configuration["metadata"]["name"].as_str().unwrap();
            cluster
                .kubectl(&["delete", "mutatingwebhookconfiguration", name])
                .unwrap();
        }
    });
}

struct Matrix<'a> {
    client: kube::Client,
    revisions: &'a [Revision],
    webhooks: Vec<InjectionWebhook>,
    planes: Vec<ControlPlane<'a>>,
}

impl<'a> Matrix<'a> {
    fn of(client: kube::Client, revisions: &'a [Revision]) -> Self {
        let webhooks = revisions
            .iter()
            .flat_map(|revision| InjectionWebhook::of(&revision.configuration).unwrap())
            .collect();
        let planes = revisions
            .iter()
            .map(|revision| ControlPlane {
                revision: revision.name(),
                config: &revision.config,
            })
            .collect();
        Self {
            client,
            revisions,
            webhooks,
            planes,
        }
    }

    async fn create_namespace(&self, name: &str, labels: &Labels) -> Labels {
        let mut labels = labels.clone();
        labels.insert(SCOPE.to_owned(), String::new());
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = serde_json::from_value(namespace).unwrap();
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        // As the controller-manager would.
        let account = json!({ "metadata": { "name": "default" } });
        let account: ServiceAccount = serde_json::from_value(account).unwrap();
        Api::namespaced(self.client.clone(), name)
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
        labels
    }

    async fn create(&self, namespace: &str, pod: &Value) -> Value {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let pod = serde_json::from_value(pod.clone()).unwrap();
        serde_json::to_value(pods.create(&dry_run, &pod).await.unwrap()).unwrap()
    }

    /// The API server learns of configurations a moment later.
    async fn wait_for_webhooks(&self) {
        for revision in ["default", "canary"] {
            let name = format!("matrix-probe-{revision}");
            let labels = Labels::from([(REVISION.to_owned(), revision.to_owned())]);
            self.create_namespace(&name, &labels).await;
            let pod = &pods()[0];
            tokio::time::timeout(DEADLINE, async {
                while injected_by(&self.create(&name, pod).await).is_none() {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
        }
    }

    /// Compares every pod in a namespace with these labels, and says how many.
    async fn check_namespace(&self, name: &str, labels: &Labels) -> usize {
        let labels = self.create_namespace(name, labels).await;
        let pods = pods();
        for pod in &pods {
            let before: usize = self.asked();
            let created = self.create(name, pod).await;
            let asked = self.asked() - before;
            let question = Question {
                pod,
                namespace: name,
                namespace_labels: &labels,
                control_planes: &self.planes,
                registered: Registered::Webhooks(&self.webhooks),
            };
            let explanation = explain(&question).unwrap();
            let row = || format!("{labels:?} {}\n{explanation}", pod["metadata"]);
            assert!(asked <= 1, "asked {asked} times: {}", row());
            assert_eq!(asked, explanation.calls.len(), "{}", row());
            let expected = explanation
                .is_injected()
                .then(|| explanation.calls[0].revision.clone());
            assert_eq!(injected_by(&created), expected, "{}", row());
        }
        pods.len()
    }

    fn asked(&self) -> usize {
        let counts = self.revisions.iter();
        counts
            .map(|revision| revision.asked.load(Ordering::SeqCst))
            .sum()
    }
}
