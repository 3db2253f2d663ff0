//! A real API server that asks real `outriggerd` processes about new pods, through what stands for their Service.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::command;
use serde_json::json;

use super::bulk::Bulk;
use super::daemon::Daemon;
use super::*;

/// Hands connections to the replicas in turn, as a Service does, whether or not they are alive.
#[derive(Clone)]
pub struct Balancer {
    pub address: SocketAddr,
    replicas: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Balancer {
    fn start() -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let balancer = Balancer {
            address: listener.local_addr().unwrap(),
            replicas: Arc::default(),
        };
        let replicas = Arc::clone(&balancer.replicas);
        thread::spawn(move || {
            for (turn, client) in listener.incoming().enumerate() {
                let replicas = replicas.lock().unwrap_or_else(PoisonError::into_inner);
                let replica = replicas.get(turn % replicas.len().max(1)).copied();
                if let (Ok(client), Some(replica)) = (client, replica) {
                    thread::spawn(move || connect(&client, replica));
                }
            }
        });
        balancer
    }

    /// From now on connections go to these.
    pub fn set(&self, replicas: &[&Daemon]) {
        let addresses = replicas
            .iter()
            .map(|replica| replica.address("webhooks").unwrap());
        let mut replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        *replicas = addresses.collect();
    }
}

fn connect(client: &TcpStream, replica: SocketAddr) {
    let Ok(server) = TcpStream::connect(replica) else {
        return;
    };
    thread::scope(|scope| {
        for (from, to) in [(client, &server), (&server, client)] {
            scope.spawn(move || {
                let (mut reader, mut writer) = (from, to);
                let _ = io::copy(&mut reader, &mut writer);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
}

/// A control plane with the chart installed, whose webhook configuration leads to the balancer.
pub struct Mesh {
    pub cluster: ControlPlane,
    pub balancer: Balancer,
    kubeconfig: PathBuf,
}

impl Mesh {
    /// The one that all tests share; held by one of them.
    pub fn exclusive() -> MutexGuard<'static, Mesh> {
        static SHARED: OnceLock<Mutex<Mesh>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Mutex::new(Mesh::start().unwrap()));
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start() -> Result<Mesh> {
        let cluster = ControlPlane::start(&Lines)?;
        cluster.helm(&[
            "install",
            "outrigger",
            CHART,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--set=validation.enabled=false",
            "--set=healer.evict=true",
        ])?;
        cluster.wait_for_definitions()?;
        let mesh = Mesh {
            kubeconfig: cluster.kubeconfig_of_service_account(NAMESPACE, "outriggerd")?,
            cluster,
            balancer: Balancer::start(),
        };
        mesh.lead_to_the_balancer()?;
        Ok(mesh)
    }

    /// There is no network to a Service: the API server is told the balancer's address instead.
    fn lead_to_the_balancer(&self) -> Result<()> {
        let configuration = self.configuration()?;
        let count = configuration["webhooks"].as_array().map_or(0, Vec::len);
        let url = format!("https://{}/inject", self.balancer.address);
        let patch: Vec<Value> = (0..count)
            .flat_map(|entry| {
                let path = |field: &str| format!("/webhooks/{entry}/clientConfig/{field}");
                [
                    json!({ "op": "remove", "path": path("service") }),
                    json!({ "op": "add", "path": path("url"), "value": url }),
                ]
            })
            .collect();
        self.patch_configuration(&json!(patch));
        Ok(())
    }

    pub fn configuration(&self) -> Result<Value> {
        read(&self.cluster, NAMESPACE, CONFIGURATION)
    }

    pub fn patch_configuration(&self, patch: &Value) {
        let patch = patch.to_string();
        self.cluster
            .kubectl(&["patch", CONFIGURATION, "--type=json", "-p", &patch])
            .unwrap();
    }

    /// Starts a replica with further flags, and waits until it listens.
    pub fn start_replica(&self, name: &str, flags: &[&str]) -> Daemon {
        let flags = [&["--dns-name=127.0.0.1"], flags].concat();
        Daemon::start(name, &self.kubeconfig, &flags)
    }

    /// Starts a replica and waits until it is ready.
    pub fn replica(&self, name: &str, flags: &[&str]) -> Daemon {
        let daemon = self.start_replica(name, flags);
        daemon.wait_until_ready();
        daemon
    }

    /// A new namespace with these labels.
    pub fn namespace(&self, name: &str, labels: &[&str]) {
        self.cluster.create_namespace(name).unwrap();
        self.label(name, labels);
    }

    pub fn label(&self, namespace: &str, labels: &[&str]) {
        let arguments = [&["label", "--overwrite", "namespace", namespace], labels].concat();
        self.cluster.kubectl(&arguments).unwrap();
    }

    /// Creates an object and returns it as the API server has it.
    pub fn create(&self, object: &Value, dry_run: bool) -> Result<Value> {
        let dry_run = if dry_run { "server" } else { "none" };
        let mut kubectl = self.cluster.kubectl_command();
        kubectl.args(["create", "-f", "-", "-o", "json"]);
        kubectl.arg(format!("--dry-run={dry_run}"));
        let created = command::output_with_input(&mut kubectl, &object.to_string())
            .map_err(|error| anyhow!("{}", error.stderr()))?;
        Ok(serde_json::from_str(&created)?)
    }

    /// Many clients at once.
    pub fn crowd(&self) -> Crowd {
        Crowd {
            bulk: Bulk::new(&self.cluster),
        }
    }
}

pub const CONFIGURATION: &str = "mutatingwebhookconfiguration/outrigger-sidecar-injector";

/// Clients of the API server that create pods.
pub struct Crowd {
    bulk: Bulk,
}

/// Dry-run creations of pods, one after the other, until it is ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    workers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Crowd {
    /// Creates these pods as controllers do, `workers` at a time: what fails is tried again. Returns how often that was.
    pub fn create_all(
        &self,
        namespace: &str,
        pods: Vec<Value>,
        workers: usize,
        created: &Arc<AtomicUsize>,
    ) -> tokio::task::JoinHandle<usize> {
        let api: Api<Pod> = Api::namespaced(self.bulk.client().clone(), namespace);
        let pods = Arc::new(Mutex::new(pods));
        let created = Arc::clone(created);
        self.bulk.runtime().spawn(async move {
            let mut set = tokio::task::JoinSet::new();
            for _ in 0..workers {
                let (api, pods, created) = (api.clone(), Arc::clone(&pods), Arc::clone(&created));
                set.spawn(async move {
                    let mut failures = 0;
                    loop {
                        let next = pods.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some(pod) = next else {
                            return failures;
                        };
                        let pod: Pod = serde_json::from_value(pod).unwrap();
                        failures += insist(&api, &pod).await;
                        created.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            set.join_all().await.into_iter().sum()
        })
    }

    pub fn wait<T>(&self, handle: tokio::task::JoinHandle<T>) -> T {
        self.bulk.runtime().block_on(handle).unwrap()
    }

    pub fn pods(&self, namespace: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.bulk.client().clone(), namespace);
        let listed = self
            .bulk
            .runtime()
            .block_on(api.list(&kube::api::ListParams::default()));
        listed.unwrap().items
    }

    /// Asks for `pod` again and again, by `workers` at a time, without storing it.
    pub fn load(&self, namespace: &str, pod: &Value, workers: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let workers = (0..workers).map(|_| {
            let api: Api<Pod> = Api::namespaced(self.bulk.client().clone(), namespace);
            let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
            let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
            self.bulk.runtime().spawn(async move {
                let params = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match api.create(&params, &pod).await {
                        Ok(pod) if has_proxy(&pod) => {
                            made.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(_) => failures.push("not injected".to_owned()),
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            })
        });
        Load {
            workers: workers.collect(),
            stop,
            made,
        }
    }

    /// Ends a load, and returns what failed.
    pub fn end(&self, load: Load) -> Vec<String> {
        load.stop.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        for worker in load.workers {
            failures.extend(self.wait(worker));
        }
        failures
    }
}

impl Load {
    /// Waits until this many more pods have been made.
    pub fn wait_for(&self, more: usize) {
        let wanted = self.made.load(Ordering::SeqCst) + more;
        wait::until_true(RECOVERY, "pods are made under load", || {
            self.made.load(Ordering::SeqCst) >= wanted
        })
        .unwrap();
    }
}

/// Creates a pod however often that takes, and returns how often it failed.
async fn insist(api: &Api<Pod>, pod: &Pod) -> usize {
    let mut failures = 0;
    loop {
        match api.create(&PostParams::default(), pod).await {
            Ok(_) => return failures,
            // The answer to an earlier attempt was lost.
            Err(kube::Error::Api(status)) if status.is_already_exists() => return failures,
            Err(error) => {
                failures += 1;
                assert!(failures < 200, "{error}");
            }
        }
    }
}

pub fn has_proxy(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref().unwrap();
    let init = spec.init_containers.iter().flatten();
    let mut all = init.chain(&spec.containers);
    all.any(|container| container.name == "istio-proxy")
}

/// A pod of a controller, as that would create it.
pub fn pod(namespace: &str, name: &str, owner: Option<&Value>) -> Value {
    let owners: Vec<Value> = owner.map(owner_reference).into_iter().collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name }, "ownerReferences": owners },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}

/// The reference of a controller.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// A Deployment and its ReplicaSet, as the API server has them. Nothing makes pods of them but the test.
pub fn deployment(mesh: &Mesh, namespace: &str, name: &str) -> (Value, Value) {
    let labels = json!({ "app": name });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    let object = |kind: &str, name: &str, owners: Vec<Value>| {
        json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": { "name": name, "namespace": namespace, "ownerReferences": owners },
            "spec": { "selector": { "matchLabels": labels }, "template": template },
        })
    };
    let deployment = mesh
        .create(&object("Deployment", name, Vec::new()), false)
        .unwrap();
    let owners = vec![owner_reference(&deployment)];
    let replica_set = object("ReplicaSet", &format!("{name}-5f6d"), owners);
    let replica_set = mesh.create(&replica_set, false).unwrap();
    (deployment, replica_set)
}
