//! Watches of every kind that takes part in the model: one generic loop for all of them.
//!
//! Which version of a kind is served is discovered. A kind whose CRD is not installed, or that may not be read,
//! holds up no other: it is reported, and looked for again once the watch of CRDs tells of it, so that absent kinds cost
//! no request. Lost connections, expired resource versions (410), and
//! throttling (429) are overcome here; what follows only sees objects come and go.

mod definitions;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PartialObjectMeta, TypeMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::resource;
use crate::{
    api::kind::Kind,
    world::{ObjectKey, PortWrite, SECRET_FIELDS, Settings},
};

pub use definitions::Definitions;

/// When a kind that is not served, or may not be read, is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// For how many seconds a watch lasts until the API server ends it, to be started again where it ended. An idle one
/// may be silent for all that time: a short life tells it soon from one that has lost its connection.
pub const LIFE: u32 = 60;

/// What one watch brings: the objects of a kind, in the whole cluster or in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<Arc<str>>,
}

impl Source {
    /// The Secrets of a namespace.
    pub fn secrets(namespace: &str) -> Self {
        Self {
            kind: Kind::Secret,
            namespace: Some(namespace.into()),
        }
    }

    /// Whether it brings this object, as long as that exists.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        key.kind == self.kind
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl From<Kind> for Source {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            namespace: None,
        }
    }
}

/// `gateways`, `secrets of edge`
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.unique_plural())?;
        match &self.namespace {
            Some(namespace) => write!(f, " of {namespace}"),
            None => Ok(()),
        }
    }
}

/// What the World is made of, as it comes in.
#[derive(Debug)]
pub enum Input {
    /// An object is there, or has changed.
    Apply(Value),
    /// An object is gone.
    Delete(ObjectKey),
    /// A list is complete: of this source, which is watched in this version, only these objects are there.
    Listed(Source, &'static str, HashSet<ObjectKey>),
    /// The kind's CRD is not installed, so none of its objects is there.
    Absent(Source),
    /// The source may not be read, and why. What was known of a whole kind stays.
    Denied(Source, String),
    /// The mesh-wide settings are others now.
    Settings(Settings),
    /// What is wrong with the ports that were written to a Service; `None`: nothing any more.
    PortWrite(ObjectKey, Option<PortWrite>),
}

/// How far the watch of a kind has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Neither list nor refusal has come yet.
    #[default]
    Waiting,
    /// The last attempt failed, and none has succeeded yet.
    Failing(String),
    /// Its CRD is not installed.
    Absent,
    /// This program's account may not read it.
    Denied(String),
    /// Listed, and watched since, in this version.
    Watched {
        /// The version that is watched, and in which the kind is written.
        version: &'static str,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("not listed yet"),
            Self::Failing(why) => write!(f, "not listed yet: {why}"),
            Self::Absent => f.write_str("not installed"),
            Self::Denied(why) => write!(f, "may not be read: {why}"),
            Self::Watched { version } => write!(f, "watched as {version}"),
        }
    }
}

/// The state of every watch.
pub type States = BTreeMap<Source, State>;

/// Counts what goes wrong with watches.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    errors: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "watch_errors",
            "Lists and watches of a kind that failed",
            metrics.errors.clone(),
        );
        metrics
    }
}

/// The watch of one kind.
pub struct Watch {
    client: Client,
    source: Source,
    kind: Kind,
    /// The one object that is watched: namespace and name. `None` watches all.
    only: Option<(String, String)>,
    inputs: mpsc::Sender<Input>,
    states: watch::Sender<States>,
    definitions: Definitions,
    errors: Counter,
}

/// Why a watch of a kind in one version came to an end.
enum End {
    /// This version is no longer served.
    Gone,
    /// The kind may not be read.
    Denied(String),
    /// Nobody takes inputs any more: the process ends.
    Closed,
}

impl From<mpsc::error::SendError<Input>> for End {
    fn from(_: mpsc::error::SendError<Input>) -> Self {
        Self::Closed
    }
}

impl Watch {
    /// A watch of `source` that feeds `inputs` and tells its state to `states`.
    pub fn new(
        client: Client,
        source: impl Into<Source>,
        inputs: mpsc::Sender<Input>,
        states: watch::Sender<States>,
        definitions: &Definitions,
        metrics: &Metrics,
    ) -> Self {
        let source = source.into();
        let kind = source.kind;
        let labels = Labels {
            kind: kind.unique_plural(),
        };
        let errors = metrics.errors.get_or_create_owned(&labels);
        states.send_modify(|states| {
            states.insert(source.clone(), State::default());
        });
        Self {
            client,
            source,
            kind,
            only: None,
            inputs,
            states,
            definitions: definitions.clone(),
            errors,
        }
    }

    /// Watches only one object of the kind, so that no right to the others is needed.
    pub fn only(mut self, namespace: &str, name: &str) -> Self {
        self.only = Some((namespace.to_owned(), name.to_owned()));
        self
    }

    /// Watches until `shutdown` is ready.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.watch() => {}
        }
    }

    /// Returns when nobody takes inputs any more.
    async fn watch(&self) {
        loop {
            let end = match self.served_version().await {
                Ok(Some(version)) => self.follow(version).await,
                Ok(None) => End::Gone,
                Err(error) if is_denied(&error) => End::Denied(error.to_string()),
                Err(error) => {
                    self.fail(&error);
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            let sent = match end {
                End::Closed => return,
                End::Gone => {
                    self.set(State::Absent);
                    self.inputs.send(Input::Absent(self.source.clone())).await
                }
                End::Denied(why) => {
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.forget();
                    }
                    self.errors.inc();
                    self.set(State::Denied(why.clone()));
                    self.inputs
                        .send(Input::Denied(self.source.clone(), why))
                        .await
                }
            };
            if sent.is_err() {
                return;
            }
            if self.kind.is_built_in() {
                sleep(LOOK_AGAIN).await;
            } else {
                self.definitions.coming(self.kind).await;
            }
        }
    }

    /// The newest known version in which the API server serves the kind.
    async fn served_version(&self) -> kube::Result<Option<&'static str>> {
        let known = self.kind.versions();
        if self.kind.is_built_in() {
            return Ok(known.first().copied());
        }
        if self.definitions.lack(self.kind).await {
            return Ok(None);
        }
        for version in known {
            let group_version = format!("{}/{version}", self.kind.group());
            match self.client.list_api_group_resources(&group_version).await {
                Ok(list) => {
                    let mut resources = list.resources.iter();
                    if resources.any(|resource| resource.name == self.kind.plural()) {
                        return Ok(Some(version));
                    }
                }
                // By its code: the answer for a whole group that isn't there is plain text.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Lists and watches one version for as long as that is possible.
    async fn follow(&self, version: &'static str) -> End {
        let resource = resource(self.kind, version);
        let types = TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        };
        let mut events = pin!(self.events(&resource).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let fed = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    Ok(())
                }
                Ok(Event::InitApply(object)) => {
                    listed.insert(key(self.kind, &object));
                    self.apply(object, &types).await
                }
                Ok(Event::InitDone) => {
                    let keys = std::mem::take(&mut listed);
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.list(&keys);
                    }
                    tracing::debug!(kind = %self.kind, version, objects = keys.len(), "listed");
                    let fed = self
                        .inputs
                        .send(Input::Listed(self.source.clone(), version, keys))
                        .await;
                    self.set(State::Watched { version });
                    fed
                }
                Ok(Event::Apply(object)) => {
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.add(&key(self.kind, &object).name);
                    }
                    self.apply(object, &types).await
                }
                Ok(Event::Delete(object)) => {
                    let key = key(self.kind, &object);
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.remove(&key.name);
                    }
                    self.inputs.send(Input::Delete(key)).await
                }
                Err(error) => match status_code(&error) {
                    Some(404) => return End::Gone,
                    Some(403) => return End::Denied(error.to_string()),
                    _ => {
                        self.fail(&error);
                        Ok(())
                    }
                },
            };
            if let Err(closed) = fed {
                return closed.into();
            }
        }
        End::Gone
    }

    /// What happens to the kind's objects.
    fn events(
        &self,
        resource: &ApiResource,
    ) -> BoxStream<'static, watcher::Result<Event<DynamicObject>>> {
        let client = self.client.clone();
        let config = watcher::Config::default().timeout(LIFE);
        if self.kind.is_metadata_alone() {
            let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client, resource);
            return metadata_alone(watcher::watcher(api, config)).boxed();
        }
        if let Some(namespace) = &self.source.namespace {
            let api = Api::namespaced_with(client, namespace, resource);
            let config = match self.kind {
                Kind::Secret => config.fields(SECRET_FIELDS),
                _ => config,
            };
            return watcher::watcher(api, config).boxed();
        }
        match &self.only {
            Some((namespace, name)) => {
                let api = Api::namespaced_with(client, namespace, resource);
                let config = config.fields(&format!("metadata.name={name}"));
                watcher::watcher(api, config).boxed()
            }
            None => watcher::watcher(Api::all_with(client, resource), config).boxed(),
        }
    }

    async fn apply(
        &self,
        mut object: DynamicObject,
        types: &TypeMeta,
    ) -> Result<(), mpsc::error::SendError<Input>> {
        // The largest part of most objects. Only of Services it matters who owns what: which ports are our own.
        if self.kind != Kind::Service {
            object.metadata.managed_fields = None;
        }
        // Items of a list don't name their type.
        object.types = Some(types.clone());
        match serde_json::to_value(&object) {
            Ok(object) => self.inputs.send(Input::Apply(object)).await,
            Err(error) => {
                tracing::error!(kind = %self.kind, name = ?object.metadata.name, %error, "cannot read an object");
                Ok(())
            }
        }
    }

    fn fail(&self, error: &dyn std::error::Error) {
        self.errors.inc();
        tracing::warn!(kind = %self.kind, error = %error_chain(error), "cannot list or watch; trying again");
        let watched =
            |states: &States| matches!(states.get(&self.source), Some(State::Watched { .. }));
        if !watched(&self.states.borrow()) {
            self.set(State::Failing(error_chain(error)));
        }
    }

    fn set(&self, state: State) {
        self.states.send_if_modified(|states| {
            let news = states.get(&self.source) != Some(&state);
            if news {
                match &state {
                    State::Denied(why) if self.source.namespace.is_some() => {
                        tracing::warn!(source = %self.source, why, "these may not be read: what names them is not checked");
                    }
                    State::Denied(why) => tracing::error!(kind = %self.kind, why, "this kind may not be read: verdicts that depend on it are held back"),
                    State::Failing(_) => {}
                    state => tracing::info!(source = %self.source, %state, "watch"),
                }
                states.insert(self.source.clone(), state.clone());
            }
            news
        });
    }
}

/// Events of objects of which only the metadata was asked for, in the form of all others.
fn metadata_alone(
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<DynamicObject>>>>,
) -> impl Stream<Item = watcher::Result<Event<DynamicObject>>> {
    let whole = |partial: PartialObjectMeta<DynamicObject>| DynamicObject {
        types: partial.types,
        metadata: partial.metadata,
        data: Value::Null,
    };
    events.map(move |event| {
        event.map(|event| match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(whole(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(whole(object)),
            Event::Delete(object) => Event::Delete(whole(object)),
        })
    })
}

fn key(kind: Kind, object: &DynamicObject) -> ObjectKey {
    let metadata = &object.metadata;
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    ObjectKey::new(kind, text(&metadata.namespace), text(&metadata.name))
}

/// An error with its causes, which kube's own message leaves out.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// What the API server answered, if it did.
fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
