//! Watches of every kind that takes part in the model: one generic loop for all of them.
//!
//! Which version of a kind is served is discovered. A kind whose CRD is not installed, or that may not be read,
//! holds up no other: it is reported, and looked for again. Lost connections, expired resource versions (410), and
//! throttling (429) are overcome here; what follows only sees objects come and go.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    pin::pin,
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
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

use crate::{
    api::kind::Kind,
    world::{ObjectKey, Settings},
};

/// When a kind that is not served, or may not be read, is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// For how many seconds a watch lasts until the API server ends it, to be started again where it ended. An idle one
/// may be silent for all that time: a short life tells it soon from one that has lost its connection.
pub const LIFE: u32 = 60;

/// What the World is made of, as it comes in.
#[derive(Debug)]
pub enum Input {
    /// An object is there, or has changed.
    Apply(Value),
    /// An object is gone.
    Delete(ObjectKey),
    /// A list is complete: of this kind, which is watched in this version, only these objects are there.
    Listed(Kind, &'static str, HashSet<ObjectKey>),
    /// The kind's CRD is not installed, so none of its objects is there.
    Absent(Kind),
    /// The kind may not be read, and why. What was known of it stays.
    Denied(Kind, String),
    /// The mesh-wide settings are others now.
    Settings(Settings),
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

/// The state of every kind's watch.
pub type States = BTreeMap<Kind, State>;

/// How a kind is written in URLs, in one of its versions.
pub fn resource(kind: Kind, version: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

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
    kind: Kind,
    inputs: mpsc::Sender<Input>,
    states: watch::Sender<States>,
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
    /// A watch of `kind` that feeds `inputs` and tells its state to `states`.
    pub fn new(
        client: Client,
        kind: Kind,
        inputs: mpsc::Sender<Input>,
        states: watch::Sender<States>,
        metrics: &Metrics,
    ) -> Self {
        let labels = Labels {
            kind: kind.plural(),
        };
        let errors = metrics.errors.get_or_create_owned(&labels);
        states.send_modify(|states| {
            states.insert(kind, State::default());
        });
        Self {
            client,
            kind,
            inputs,
            states,
            errors,
        }
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
                    self.inputs.send(Input::Absent(self.kind)).await
                }
                End::Denied(why) => {
                    self.errors.inc();
                    self.set(State::Denied(why.clone()));
                    self.inputs.send(Input::Denied(self.kind, why)).await
                }
            };
            if sent.is_err() {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The newest known version in which the API server serves the kind.
    async fn served_version(&self) -> kube::Result<Option<&'static str>> {
        let known = self.kind.versions();
        if !self.kind.is_istio() {
            return Ok(known.first().copied());
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
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let mut events =
            pin!(watcher::watcher(api, watcher::Config::default().timeout(LIFE)).default_backoff());
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
                    tracing::debug!(kind = %self.kind, version, objects = keys.len(), "listed");
                    let fed = self
                        .inputs
                        .send(Input::Listed(self.kind, version, keys))
                        .await;
                    self.set(State::Watched { version });
                    fed
                }
                Ok(Event::Apply(object)) => self.apply(object, &types).await,
                Ok(Event::Delete(object)) => {
                    let key = key(self.kind, &object);
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
            |states: &States| matches!(states.get(&self.kind), Some(State::Watched { .. }));
        if !watched(&self.states.borrow()) {
            self.set(State::Failing(error_chain(error)));
        }
    }

    fn set(&self, state: State) {
        self.states.send_if_modified(|states| {
            let news = states.get(&self.kind) != Some(&state);
            if news {
                match &state {
                    State::Denied(why) => tracing::error!(kind = %self.kind, why, "this kind may not be read: verdicts that depend on it are held back"),
                    State::Failing(_) => {}
                    state => tracing::info!(kind = %self.kind, %state, "watch"),
                }
                states.insert(self.kind, state.clone());
            }
            news
        });
    }
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
