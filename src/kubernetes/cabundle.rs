//! The `caBundle` of the two webhook configurations: what is published, and its upkeep by the leader.
//!
//! The field is owned by server-side apply under a field manager of its own, so neither Helm nor GitOps tools see a
//! difference. Only entries that exist are applied: an apply that names an absent entry would try to make an
//! incomplete one, so an entry that was renamed or isn't installed yet is waited for.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    certificates,
    lease::{Leadership, WriteError},
};

/// When a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The least time from one write to the next: what overwrites a bundle as soon as it is right must not be fought
/// without end.
const PAUSE: Duration = Duration::from_secs(1);
/// When live and desired are compared although nothing happened.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// One of the two kinds of webhook configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// `MutatingWebhookConfiguration`: injection.
    Mutating,
    /// `ValidatingWebhookConfiguration`: validation.
    Validating,
}

impl Configuration {
    /// The `kind` in its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    fn resource(self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "admissionregistration.k8s.io",
            "v1",
            self.kind(),
        ))
    }
}

/// What the API server uses now to verify the webhooks of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Published {
    /// It is not known yet whether the configuration exists.
    #[default]
    Unknown,
    /// There is no such configuration.
    Absent,
    /// The bundles of its entries, PEM, without repetition; `None` for entries that have none.
    Bundles(BTreeSet<Option<Vec<u8>>>),
}

/// Watches one configuration and, as the leader, keeps its bundles right.
pub struct CaBundle {
    api: Api<DynamicObject>,
    configuration: Configuration,
    name: String,
    manager: String,
    leadership: Leadership,
    certificates: watch::Receiver<certificates::State>,
    published: watch::Sender<Published>,
    live: Option<DynamicObject>,
    last_write: Option<Instant>,
    metrics: Metrics,
}

/// How often bundles were written; shared by both configurations.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    writes: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("cabundle");
        registry.register(
            "writes",
            "Applies of the caBundle of a webhook configuration",
            metrics.writes.clone(),
        );
        registry.register(
            "failures",
            "Applies of the caBundle of a webhook configuration that failed",
            metrics.failures.clone(),
        );
        metrics
    }
}

impl CaBundle {
    /// A keeper of the configuration `name`; `manager` is the field manager.
    pub fn new(
        client: kube::Client,
        configuration: Configuration,
        name: String,
        manager: String,
        leadership: Leadership,
        certificates: watch::Receiver<certificates::State>,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Published>) {
        let (published, receiver) = watch::channel(Published::Unknown);
        let keeper = Self {
            api: Api::all_with(client, &configuration.resource()),
            configuration,
            name,
            manager,
            leadership,
            certificates,
            published,
            live: None,
            last_write: None,
            metrics,
        };
        (keeper, receiver)
    }

    /// Watches and heals until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let watched = watcher::watch_object(self.api.clone(), &self.name).default_backoff();
        let mut watched = pin!(watched);
        let mut shutdown = pin!(shutdown);
        let mut leadership = self.leadership.clone();
        let mut certificates = self.certificates.clone();
        let mut next = Instant::now() + LOOK_AGAIN;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(object) = watched.next() => match object {
                    Ok(object) => self.learn(object),
                    Err(error) => tracing::warn!(
                        name = self.name,
                        kind = self.configuration.kind(),
                        %error,
                        "cannot watch the webhook configuration; trying again"
                    ),
                },
                Ok(()) = certificates.changed() => {}
                () = leadership.changed() => {}
                () = sleep_until(next) => {}
            }
            next = Instant::now() + self.heal().await;
        }
    }

    fn learn(&mut self, object: Option<DynamicObject>) {
        let now = match &object {
            None => Published::Absent,
            Some(object) => Published::Bundles(entries(object).map(|entry| entry.bundle).collect()),
        };
        self.published.send_if_modified(|published| {
            let news = *published != now;
            *published = now;
            news
        });
        self.live = object;
    }

    /// Writes what differs, if this replica may. Returns when to look again.
    async fn heal(&mut self) -> Duration {
        let Some(material) = self.certificates.borrow().material.clone() else {
            return LOOK_AGAIN;
        };
        let Some(patch) = self
            .live
            .as_ref()
            .and_then(|live| patch(live, self.configuration, material.bundle.as_bytes()))
        else {
            return LOOK_AGAIN;
        };
        let now = Instant::now();
        if let Some(next) = self.last_write.map(|at| at + PAUSE).filter(|at| *at > now) {
            return next - now;
        }
        let labels = Labels {
            kind: self.configuration.kind(),
        };
        let params = PatchParams::apply(&self.manager).force();
        let patch = Patch::Apply(&patch);
        let write = self.api.patch(&self.name, &params, &patch);
        match self.leadership.write(write).await {
            Ok(object) => {
                self.last_write = Some(now);
                self.metrics.writes.get_or_create(&labels).inc();
                tracing::info!(
                    name = self.name,
                    kind = labels.kind,
                    "published the caBundle"
                );
                self.learn(Some(object));
                LOOK_AGAIN
            }
            Err(WriteError::NotLeader) => LOOK_AGAIN,
            Err(error) => {
                self.metrics.failures.get_or_create(&labels).inc();
                tracing::warn!(name = self.name, kind = labels.kind, %error, "cannot publish the caBundle; trying again");
                RETRY
            }
        }
    }
}

struct Entry<'a> {
    name: &'a str,
    bundle: Option<Vec<u8>>,
}

/// The entries of a configuration, and the bundle of each.
fn entries(object: &DynamicObject) -> impl Iterator<Item = Entry<'_>> {
    let webhooks = object.data.get("webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().filter_map(|webhook| {
        let bundle = webhook.pointer("/clientConfig/caBundle");
        Some(Entry {
            name: webhook.get("name")?.as_str()?,
            bundle: bundle
                .and_then(|bundle| serde_json::from_value(bundle.clone()).ok())
                .map(|ByteString(bytes)| bytes)
                .filter(|bytes| !bytes.is_empty()),
        })
    })
}

/// The apply that gives every entry of `live` the bundle; `None` if each has it. It names all entries, or those left
/// out would lose theirs.
fn patch(live: &DynamicObject, configuration: Configuration, bundle: &[u8]) -> Option<Value> {
    let right = |entry: Entry<'_>| entry.bundle.as_deref() == Some(bundle);
    if entries(live).all(right) {
        return None;
    }
    let bundle = ByteString(bundle.to_vec());
    let webhooks: Vec<Value> = entries(live)
        .map(|entry| json!({ "name": entry.name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": configuration.kind(),
        // With its uid: a configuration that was deleted meanwhile must not be made anew.
        "metadata": { "name": live.name_any(), "uid": live.metadata.uid },
        "webhooks": webhooks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(webhooks: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "outrigger-sidecar-injector", "uid": "u1" },
            "webhooks": webhooks,
        }))
        .unwrap()
    }

    #[test]
    fn the_patch_names_every_entry_that_exists_and_nothing_else_of_it() {
        let live = configuration(json!([
            { "name": "a.outrigger.dev", "failurePolicy": "Fail", "clientConfig": { "caBundle": "b2xk" } },
            { "name": "b.outrigger.dev", "clientConfig": { "service": { "name": "outriggerd" } } },
        ]));
        let patch = patch(&live, Configuration::Mutating, b"new").unwrap();
        assert_eq!(
            patch["metadata"],
            json!({ "name": "outrigger-sidecar-injector", "uid": "u1" })
        );
        assert_eq!(
            patch["webhooks"],
            json!([
                { "name": "a.outrigger.dev", "clientConfig": { "caBundle": "bmV3" } },
                { "name": "b.outrigger.dev", "clientConfig": { "caBundle": "bmV3" } },
            ])
        );
    }

    #[test]
    fn bundles_that_are_right_are_not_written() {
        let live = configuration(json!([
            { "name": "a.outrigger.dev", "clientConfig": { "caBundle": "bmV3" } },
        ]));
        assert_eq!(patch(&live, Configuration::Mutating, b"new"), None);
        let empty = configuration(json!([]));
        assert_eq!(patch(&empty, Configuration::Mutating, b"new"), None);
    }
}
