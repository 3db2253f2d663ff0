//! What a watch of objects sees of their conditions: every change of them, none left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use outrigger::api::conditions::OURS;
use outrigger_e2e::cluster::Cluster as _;
use tokio::runtime::Runtime;

use super::*;

/// Stands for a condition that is not there.
pub const ABSENT: &str = "absent";

/// The statuses that each condition of one object has had, and how often the object was seen.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub of: BTreeMap<&'static str, Vec<String>>,
    pub versions: usize,
}

impl History {
    fn see(&mut self, object: &DynamicObject) {
        self.versions += 1;
        let conditions = object.data["status"]["conditions"].as_array();
        for kind in OURS {
            let mut conditions = conditions.into_iter().flatten();
            let found = conditions.find(|condition| condition["type"] == kind);
            let status = found.map_or(ABSENT, |found| found["status"].as_str().unwrap_or_default());
            let seen = self.of.entry(kind).or_default();
            if seen.last().is_none_or(|last| last != status) {
                seen.push(status.to_owned());
            }
        }
    }

    /// The condition's statuses, oldest first.
    pub fn statuses(&self, kind: &str) -> &[String] {
        self.of.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// Follows the VirtualServices of a namespace until it is dropped.
pub struct Transitions {
    seen: Arc<Mutex<BTreeMap<String, History>>>,
    _runtime: Runtime,
}

impl Transitions {
    pub fn follow(cluster: &ControlPlane, namespace: &str) -> Transitions {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::<Mutex<BTreeMap<String, History>>>::default();
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let (namespace, sink) = (namespace.to_owned(), Arc::clone(&seen));
        let _ = rustls::crypto::ring::default_provider().install_default();
        runtime.spawn(async move {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let client = Client::try_from(config.unwrap()).unwrap();
            let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
            let resource = ApiResource::from_gvk(&kind);
            let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &resource);
            let objects = watcher(api, watcher::Config::default()).default_backoff();
            let following = objects.applied_objects().try_for_each(|object| {
                let mut seen = sink.lock().unwrap_or_else(PoisonError::into_inner);
                let name = object.metadata.name.clone().unwrap_or_default();
                seen.entry(name).or_default().see(&object);
                std::future::ready(Ok(()))
            });
            following.await.unwrap();
        });
        Transitions {
            seen,
            _runtime: runtime,
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, History>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> BTreeMap<String, History> {
        self.seen().clone()
    }

    /// How many objects have this status of `Ready` now.
    pub fn count_ready(&self, status: &str) -> usize {
        let seen = self.seen();
        let ready = seen
            .values()
            .filter_map(|history| history.statuses("Ready").last());
        ready.filter(|last| *last == status).count()
    }

    /// Waits until so many objects have this status of `Ready`.
    pub fn wait_for_ready(&self, deadline: Duration, count: usize, status: &str) -> Result<()> {
        wait::until(
            deadline,
            &format!("{count} objects have Ready={status}"),
            || {
                let now = self.count_ready(status);
                (now == count).then_some(()).ok_or(now)
            },
        )
    }
}
