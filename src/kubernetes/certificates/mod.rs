//! The certificates of the webhooks: made and renewed by the leader, served by every replica.
//!
//! They live in one Secret. Every replica watches it and serves what it holds without a restart, and remembers it: one
//! that was deleted by hand comes back as it was. A Secret that
//! somebody else provides (cert-manager: no [`material::MARKER`]) is served as it is and never written.

pub mod issue;
pub mod material;
pub mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::PostParams,
    runtime::{WatchStreamExt as _, watcher},
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use self::{material::Material, plan::Step};
use super::lease::{Leadership, WriteError};

/// When a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// When clocks are compared again although nothing is due: a sleep of weeks would not notice that a clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Annotation by which people ask for a new root: it is published beside the old one, and signs an hour later.
const RENEW: &str = "outrigger.dev/renew-root";

/// Answers TLS handshakes with the current certificate; none is answered before there is one.
#[derive(Debug, Default)]
pub struct Served(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// What is known of the certificates.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The content of the Secret: the last one that could be read.
    pub material: Option<Arc<Material>>,
    /// What is missing or wrong at the moment, for people.
    pub problem: Option<String>,
}

/// Names the Secret and what it shall be for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the Secret is.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// DNS names and addresses that the serving certificate is for.
    pub names: BTreeSet<String>,
}

/// Keeps the Secret and what is served from it.
pub struct Certificates {
    api: Api<Secret>,
    settings: Settings,
    leadership: Leadership,
    served: Arc<Served>,
    state: watch::Sender<State>,
    /// The Secret as last seen; `None` while it is not known.
    live: Option<Option<Secret>>,
    /// The last content of a Secret of our own that could be read: what clients trust and replicas serve.
    remembered: Option<BTreeMap<String, ByteString>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Metrics {
    writes: Counter,
    failures: Counter,
    expiry: Gauge,
}

impl Certificates {
    /// A keeper of the Secret, what to serve, and what is known.
    pub fn new(
        client: kube::Client,
        settings: Settings,
        leadership: Leadership,
        registry: &mut Registry,
    ) -> (Self, Arc<Served>, watch::Receiver<State>) {
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("certificate");
        registry.register(
            "writes",
            "Writes of the Secret of the webhooks' certificates",
            metrics.writes.clone(),
        );
        registry.register(
            "failures",
            "Failures to read, make or write the webhooks' certificates",
            metrics.failures.clone(),
        );
        registry.register(
            "expiry_timestamp_seconds",
            "When the certificate that is served expires, in seconds since 1970",
            metrics.expiry.clone(),
        );
        let served = Arc::new(Served::default());
        let (state, receiver) = watch::channel(State {
            material: None,
            problem: Some(format!(
                "Secret {}/{} is not read yet",
                settings.namespace, settings.name
            )),
        });
        let keeper = Self {
            api: Api::namespaced(client, &settings.namespace),
            settings,
            leadership,
            served: Arc::clone(&served),
            state,
            live: None,
            remembered: None,
            metrics,
        };
        (keeper, served, receiver)
    }

    /// Serves and renews until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut secrets =
            pin!(watcher::watch_object(self.api.clone(), &self.settings.name).default_backoff());
        let mut shutdown = pin!(shutdown);
        let mut leadership = self.leadership.clone();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(secret) = secrets.next() => match secret {
                    Ok(secret) => self.learn(secret),
                    Err(error) => self.unreadable(&error),
                },
                () = leadership.changed() => {}
                () = sleep_until(next) => {}
            }
            next = Instant::now() + self.keep_up().await;
        }
    }

    /// Serves what the Secret holds now. One that can't be read leaves the certificate before it in service.
    fn learn(&mut self, secret: Option<Secret>) {
        let place = format!("Secret {}/{}", self.settings.namespace, self.settings.name);
        let read = secret.as_ref().map(Material::read);
        if let (Some(secret), Some(Ok(_))) = (&secret, &read) {
            self.remembered = material::is_generated(secret)
                .then(|| secret.data.clone())
                .flatten();
        }
        self.live = Some(secret);
        self.state.send_modify(|state| match read {
            None => {
                let waits = "is not there yet; the leader makes it";
                state.problem = Some(format!("{place} {waits}"));
            }
            Some(Err(error)) => {
                self.metrics.failures.inc();
                tracing::warn!(secret = place, %error, "cannot serve from the Secret");
                state.problem = Some(format!("{place}: {error}"));
            }
            Some(Ok(material)) => {
                self.metrics.expiry.set(material.leaf.until);
                self.served.0.store(Some(Arc::clone(&material.certified)));
                tracing::info!(
                    secret = place,
                    expires = Timestamp::from_second(material.leaf.until)
                        .map(tracing::field::display)
                        .ok(),
                    roots = material.roots.len(),
                    "serving webhooks with the certificate of the Secret"
                );
                state.material = Some(Arc::new(material));
                state.problem = None;
            }
        });
    }

    fn unreadable(&self, error: &watcher::Error) {
        self.metrics.failures.inc();
        tracing::warn!(secret = self.settings.name, %error, "cannot watch the Secret; trying again");
        self.state.send_modify(|state| {
            if state.material.is_none() {
                state.problem = Some(format!(
                    "Secret {}/{}: {error}",
                    self.settings.namespace, self.settings.name
                ));
            }
        });
    }

    /// As the leader, makes or renews what is due. Returns when to look again.
    async fn keep_up(&mut self) -> Duration {
        let now = Timestamp::now();
        let Some(live) = &self.live else {
            return LOOK_AGAIN;
        };
        if !self.leadership.is_held() {
            return LOOK_AGAIN;
        }
        match self.due(live.as_ref(), now) {
            Ok(Due::Nothing(wait)) => wait,
            Ok(Due::Write(secret)) => self.write(&secret).await,
            Err(error) => {
                self.metrics.failures.inc();
                tracing::error!(%error, "cannot renew the webhooks' certificates");
                RETRY
            }
        }
    }

    /// The Secret that is due at `now`, if one is.
    fn due(&self, live: Option<&Secret>, now: Timestamp) -> Result<Due, issue::IssueError> {
        let Settings {
            namespace,
            name,
            names,
        } = &self.settings;
        // What was deleted or damaged by hand comes back as it was: with a new root calls would fail from the moment
        // it is served until it is published.
        let restored = || match &self.remembered {
            Some(data) => Ok(data.clone()),
            None => issue::everything(names, now),
        };
        let Some(live) = live else {
            let secret = issue::secret(namespace, name, restored()?);
            return Ok(Due::Write(Box::new(secret)));
        };
        if !material::is_generated(live) {
            return Ok(Due::Nothing(LOOK_AGAIN));
        }
        let mut secret = live.clone();
        let data = live.data.clone().unwrap_or_default();
        let Ok(material) = Material::read(live) else {
            secret.data = Some(restored()?);
            return Ok(Due::Write(Box::new(secret)));
        };
        let asked = secret.metadata.annotations.as_mut();
        let asked = asked.is_some_and(|annotations| annotations.remove(RENEW).is_some());
        let step = if asked {
            Step::RenewRoot
        } else {
            plan::next_step(&material, names, now)
        };
        secret.data = Some(match step {
            Step::Keep { until } => {
                let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Ok(Due::Nothing(wait.clamp(RETRY, LOOK_AGAIN)));
            }
            Step::RenewRoot => issue::root(&data, &plan::kept_roots(&material, now), now)?,
            Step::RenewLeaf => issue::leaf(&data, names, now)?,
        });
        Ok(Due::Write(Box::new(secret)))
    }

    async fn write(&mut self, secret: &Secret) -> Duration {
        let params = PostParams::default();
        let write = async {
            match &secret.metadata.resource_version {
                // With its resourceVersion: whoever changed the Secret meanwhile wins.
                Some(_) => self.api.replace(&self.settings.name, &params, secret).await,
                None => self.api.create(&params, secret).await,
            }
        };
        match self.leadership.write(write).await {
            Ok(written) => {
                self.metrics.writes.inc();
                tracing::info!(
                    secret = self.settings.name,
                    "wrote the webhooks' certificates"
                );
                // The watch says it too, but later: until then nothing must be made once more.
                self.learn(Some(written));
                RETRY
            }
            // Somebody was faster: the watch brings what they wrote.
            Err(WriteError::Api(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                RETRY
            }
            Err(WriteError::NotLeader) => LOOK_AGAIN,
            Err(error) => {
                self.metrics.failures.inc();
                tracing::warn!(secret = self.settings.name, %error, "cannot write the webhooks' certificates; trying again");
                RETRY
            }
        }
    }
}

enum Due {
    Nothing(Duration),
    Write(Box<Secret>),
}
