//! Watches of every kind that takes part in the model: one generic loop for all of them.
//!
//! Which version of a kind is served is discovered. A kind whose CRD is not installed, or that may not be read,
//! holds up no other: it is reported, and looked for again once the watch of CRDs tells of it, so that absent kinds cost
//! no request. Lost connections, expired resource versions (410), and
//! throttling (429) are overcome here; what follows only sees objects come and go.

mod definitions;
mod failure;
mod objects;
mod source;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, pin::pin, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ApiResource, PartialObjectMeta, TypeMeta, WatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, DefaultBackoff, Event},
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
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

use failure::{Failure, error_chain, is_denied};
use objects::Incoming;

pub use definitions::Definitions;
pub use source::{Source, State, States};

/// When a kind that is not served, or may not be read, is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The longest that a right which is given is waited for: no status is written until then.
const DENIED_AT_MOST: Duration = Duration::from_secs(10);

/// How often a kind that discovery names may answer "not found" in a row, before it counts as not installed: while a
/// definition is replaced, discovery and the kind itself may disagree for a moment.
const DISAGREEMENTS: u32 = 5;
/// The time from one such answer to the next attempt.
const SOON: Duration = Duration::from_secs(1);

/// How many objects a page of a list has. Pages of several kinds are in memory at once when the process starts, each
/// object in several forms: smaller pages keep the highest memory near to what stays.
const PAGE: u32 = 250;

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

/// Tells what goes wrong with watches.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    errors: Family<Labels, Counter>,
    readable: Family<SourceLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

/// The label `namespace` is empty for a kind that is read in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    kind: &'static str,
    namespace: String,
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
        registry.register(
            "watch_readable",
            "1 once a kind is listed and watched, 0 before its first list and while it may not be read; no sample for a kind that is not installed",
            metrics.readable.clone(),
        );
        metrics
    }

    fn note(&self, source: &Source, state: &State) {
        let labels = SourceLabels {
            kind: source.kind.unique_plural(),
            namespace: source.namespace.as_deref().unwrap_or_default().to_owned(),
        };
        match state {
            State::Absent => {
                self.readable.remove(&labels);
            }
            state => {
                let readable = matches!(state, State::Watched { .. });
                self.readable.get_or_create(&labels).set(readable.into());
            }
        }
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
    metrics: Metrics,
}

/// Why a watch of a kind in one version came to an end.
enum End {
    /// This version is not served; whether it was, so that it could be listed before.
    Gone { listed: bool },
    /// What the watch rested on is too old: everything must be listed anew.
    Expired,
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
        metrics.note(&source, &State::default());
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
            metrics: metrics.clone(),
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
        let mut disagreements = 0;
        // From the end of one watch to the next list, which costs the API server the most: ever longer, until one has lived.
        let mut pauses = DefaultBackoff::default();
        let mut was_denied = false;
        loop {
            let end = match self.served_version().await {
                Ok(Some(version)) => self.follow(version, was_denied).await,
                Ok(None) => {
                    disagreements = DISAGREEMENTS;
                    End::Gone { listed: false }
                }
                Err(error) if is_denied(&error) => End::Denied(error.to_string()),
                Err(error) => {
                    self.fail(&error);
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            was_denied = matches!(end, End::Denied(_));
            let mut pause = LOOK_AGAIN;
            let sent = match end {
                End::Closed => return,
                // If gone, it may be served in another version now: until that is known, what was read stays.
                End::Expired | End::Gone { listed: true } => {
                    disagreements = 0;
                    self.count_error();
                    sleep(pauses.next().unwrap_or(LOOK_AGAIN)).await;
                    continue;
                }
                End::Gone { listed: false } if disagreements < DISAGREEMENTS => {
                    disagreements += 1;
                    sleep(SOON).await;
                    continue;
                }
                End::Gone { listed: false } => {
                    disagreements = 0;
                    self.set(State::Absent);
                    self.inputs.send(Input::Absent(self.source.clone())).await
                }
                End::Denied(why) => {
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.forget();
                    }
                    self.count_error();
                    pause = pauses
                        .next()
                        .map_or(pause, |longer| longer.clamp(pause, DENIED_AT_MOST));
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
                sleep(pause).await;
            } else {
                self.definitions.coming(self.kind, pause).await;
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

    /// Lists and watches one version for as long as that is possible. If it `was_denied`, nothing is listed before a
    /// watch is known to be allowed: a right to list alone would make the kind come and go with each attempt.
    async fn follow(&self, version: &'static str, was_denied: bool) -> End {
        let resource = resource(self.kind, version);
        if was_denied && let Some(why) = self.watch_is_denied(&resource).await {
            return End::Denied(why);
        }
        let types = TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        };
        let mut events = pin!(self.events(&resource).default_backoff());
        let mut listed = false;
        let mut keys = HashSet::new();
        while let Some(event) = events.next().await {
            let fed = match event {
                Ok(Event::Init) => {
                    keys.clear();
                    Ok(())
                }
                Ok(Event::InitApply(object)) => {
                    keys.insert(object.key(self.kind));
                    self.apply(object, &types).await
                }
                Ok(Event::InitDone) => {
                    listed = true;
                    self.list(version, std::mem::take(&mut keys)).await
                }
                Ok(Event::Apply(object)) => {
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.add(&object.key(self.kind).name);
                    }
                    self.apply(object, &types).await
                }
                Ok(Event::Delete(object)) => {
                    let key = object.key(self.kind);
                    if self.kind == Kind::CustomResourceDefinition {
                        self.definitions.remove(&key.name);
                    }
                    self.inputs.send(Input::Delete(key)).await
                }
                Err(error) => match Failure::of(&error) {
                    Failure::Gone => return End::Gone { listed },
                    Failure::Denied => return End::Denied(error.to_string()),
                    Failure::Expired => return End::Expired,
                    Failure::Passing => {
                        self.fail(&error);
                        Ok(())
                    }
                },
            };
            if let Err(closed) = fed {
                return closed.into();
            }
        }
        End::Gone { listed }
    }

    /// A list is complete.
    async fn list(
        &self,
        version: &'static str,
        keys: HashSet<ObjectKey>,
    ) -> Result<(), mpsc::error::SendError<Input>> {
        if self.kind == Kind::CustomResourceDefinition {
            self.definitions.list(&keys);
        }
        tracing::debug!(kind = %self.kind, version, objects = keys.len(), "listed");
        let listed = Input::Listed(self.source.clone(), version, keys);
        self.inputs.send(listed).await?;
        self.set(State::Watched { version });
        Ok(())
    }

    /// What happens to the kind's objects.
    fn events(
        &self,
        resource: &ApiResource,
    ) -> BoxStream<'static, watcher::Result<Event<Incoming>>> {
        let mut config = watcher::Config::default().timeout(LIFE).page_size(PAGE);
        config.field_selector = self.fields();
        if self.kind.is_metadata_alone() {
            let api = Api::<PartialObjectMeta<_>>::all_with(self.client.clone(), resource);
            return objects::of_metadata(watcher::watcher(api, config)).boxed();
        }
        watcher::watcher(self.api(resource), config).boxed()
    }

    fn api(&self, resource: &ApiResource) -> Api<Incoming> {
        let client = self.client.clone();
        let only = self.only.as_ref().map(|(namespace, _)| &**namespace);
        match self.source.namespace.as_deref().or(only) {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    /// Which of the objects are wanted; rights may depend on it.
    fn fields(&self) -> Option<String> {
        match &self.only {
            Some((_, name)) => Some(format!("metadata.name={name}")),
            None => (self.kind == Kind::Secret).then(|| SECRET_FIELDS.to_owned()),
        }
    }

    /// Why a watch may not be started. Asks for one from long ago, which the API server ends at once if it is allowed.
    async fn watch_is_denied(&self, resource: &ApiResource) -> Option<String> {
        let mut params = WatchParams::default().timeout(1);
        params.field_selector = self.fields();
        let started = self.api(resource).watch(&params, "1").await;
        let error = started.err().filter(is_denied)?;
        Some(watcher::Error::WatchStartFailed(error).to_string())
    }

    async fn apply(
        &self,
        object: Incoming,
        types: &TypeMeta,
    ) -> Result<(), mpsc::error::SendError<Input>> {
        let object = object.into_json(self.kind, types);
        self.inputs.send(Input::Apply(object)).await
    }

    fn count_error(&self) {
        let labels = Labels {
            kind: self.kind.unique_plural(),
        };
        self.metrics.errors.get_or_create(&labels).inc();
    }

    fn fail(&self, error: &dyn std::error::Error) {
        self.count_error();
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
                self.metrics.note(&self.source, &state);
                states.insert(self.source.clone(), state.clone());
            }
            news
        });
    }
}
