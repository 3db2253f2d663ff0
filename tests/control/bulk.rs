//! Many requests to the API server at once, and its answers as they come: what kubectl would take minutes for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::{Stream, StreamExt as _, TryStreamExt as _, pin_mut, stream};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use outrigger::api::kind::Kind;
use outrigger::kubernetes::resource;
use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;

/// Requests at a time.
const AT_ONCE: usize = 16;

/// A client with the rights of the administrator.
pub struct Bulk {
    runtime: Runtime,
    client: Client,
}

impl Bulk {
    pub fn new(cluster: &ControlPlane) -> Bulk {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let config = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options);
            Client::try_from(config.await.unwrap()).unwrap()
        });
        Bulk { runtime, client }
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates objects, in about this order.
    pub fn create(&self, objects: impl IntoIterator<Item = Value>) {
        let creations = stream::iter(objects).map(|object| {
            let client = self.client.clone();
            async move {
                match create(&client, &object).await {
                    // The answer to an earlier attempt was lost.
                    Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                    created => created.map(drop),
                }
            }
        });
        self.all(creations);
    }

    /// Lets all of these happen; none of them may fail.
    fn all(&self, requests: impl Stream<Item = impl Future<Output = kube::Result<()>>>) {
        let all = requests.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        self.runtime.block_on(all).unwrap();
    }

    /// The object of this kind, namespace and name as it is now.
    pub fn get(&self, object: &Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let live = self.runtime.block_on(api(&self.client, object).get(name))?;
        Ok(serde_json::to_value(live)?)
    }

    /// Deletes the objects of a kind in a namespace.
    pub fn delete_all(&self, kind: Kind, namespace: &str) {
        let resource = resource(kind, kind.versions()[0]);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let (params, all) = (DeleteParams::default(), ListParams::default());
        let deleted = api.delete_collection(&params, &all);
        self.runtime.block_on(deleted).unwrap();
    }

    /// The objects of a kind, in all namespaces.
    pub fn list(&self, kind: Kind) -> Vec<Value> {
        let version = kind.versions()[0];
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind, version));
        let list = self.runtime.block_on(api.list(&ListParams::default()));
        let objects = list.unwrap().items.into_iter();
        objects.map(|object| whole(kind, &object)).collect()
    }

    /// Hands every object of a kind to `see` as it comes, changes and goes, until what is returned is dropped.
    pub fn watch(&self, kind: Kind, mut see: impl FnMut(Seen) + Send + 'static) -> Watching {
        let version = kind.versions()[0];
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind, version));
        let (listed, is_listed) = std::sync::mpsc::channel();
        let task = self.runtime.spawn(async move {
            let events = watcher(api, watcher::Config::default()).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        see(Seen::Applied(whole(kind, &object)));
                    }
                    Ok(Event::Delete(object)) => see(Seen::Deleted(whole(kind, &object))),
                    Ok(Event::InitDone) => {
                        let _ = listed.send(());
                    }
                    Ok(Event::Init) | Err(_) => {}
                }
            }
        });
        is_listed.recv_timeout(RECOVERY).unwrap();
        Watching(task)
    }

    /// Notes when each object of a kind is first seen to be `right`.
    pub fn arrivals(
        &self,
        kind: Kind,
        right: impl Fn(&Value) -> bool + Send + 'static,
    ) -> Arrivals {
        let arrived: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
        let noted = Arc::clone(&arrived);
        let watching = self.watch(kind, move |seen| {
            if let Seen::Applied(object) = seen
                && right(&object)
            {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.entry(name(&object)).or_insert_with(Instant::now);
            }
        });
        Arrivals {
            arrived,
            _watching: watching,
        }
    }
}

/// What a watch brings.
pub enum Seen {
    Applied(Value),
    Deleted(Value),
}

/// A watch; it ends on drop.
pub struct Watching(tokio::task::JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// When objects were first seen to be right.
pub struct Arrivals {
    arrived: Arc<Mutex<BTreeMap<String, Instant>>>,
    _watching: Watching,
}

impl Arrivals {
    /// Waits until this many are, and returns when the last one of them was.
    pub fn wait_for(&self, count: usize, deadline: Duration) -> Instant {
        wait::until(deadline, "objects to be right", || {
            let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            let last = arrived.values().max().copied();
            last.filter(|_| arrived.len() >= count)
                .ok_or(format!("{} of {count}", arrived.len()))
        })
        .unwrap()
    }
}

/// `namespace/name`
pub fn name(object: &Value) -> String {
    let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

fn whole(kind: Kind, object: &DynamicObject) -> Value {
    let mut object = serde_json::to_value(object).unwrap();
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.as_str().into();
    object
}

/// The API of an object's kind and namespace.
fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |field: &str| object[field].as_str().unwrap();
    let kind = Kind::of(text("apiVersion"), text("kind")).unwrap();
    let version = text("apiVersion").rsplit('/').next().unwrap();
    let resource = resource(kind, version);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

pub async fn create(client: &Client, object: &Value) -> kube::Result<DynamicObject> {
    let body = serde_json::from_value(object.clone()).unwrap();
    api(client, object)
        .create(&PostParams::default(), &body)
        .await
}

/// Makes the object be what this says, whether or not it is there.
pub async fn put(client: &Client, object: &Value) -> kube::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = PatchParams::apply("tests").force();
    let (api, patch) = (api(client, object), Patch::Apply(object));
    api.patch(name, &params, &patch).await.map(drop)
}

/// Makes the object not be there.
pub async fn delete(client: &Client, object: &Value) -> kube::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = DeleteParams::default().grace_period(0);
    match api(client, object).delete(name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// Merges this into the object's status.
pub async fn set_status(client: &Client, object: &Value, status: &Value) -> kube::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let patch = Patch::Merge(json!({ "status": status }));
    let (api, params) = (api(client, object), PatchParams::default());
    api.patch_status(name, &params, &patch).await.map(drop)
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// Makes the object that is there be what this says, whoever set it, and returns its generation.
pub async fn replace(client: &Client, object: &Value) -> kube::Result<u64> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let patch = Patch::Merge(json!({ "spec": object["spec"] }));
    let (api, params) = (api(client, object), PatchParams::default());
    let generation = api.patch(name, &params, &patch).await?.metadata.generation;
    Ok(generation
        .unwrap_or_default()
        .try_into()
        .unwrap_or_default())
}
