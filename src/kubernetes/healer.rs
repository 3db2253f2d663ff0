//! The leader's look at the pods that are there: which lack the proxy that they should have, or have an old one, is
//! said on their owners and counted, and if people allow it such pods are evicted to be made again.
//!
//! What is found and what is evicted is decided by [`crate::audit`]; here are the calls. Owners are never changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, EvictParams, Preconditions},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    announcements::{About, Announcement, Announcements, Repeat},
    lease::{Leadership, WriteError},
};
use crate::{
    analysis::Snapshot,
    audit::{
        self, Finding,
        eviction::{self, Eviction, History, LOOK_AGAIN, Limits, Stop},
        namespaces,
        notes::{self, Note},
    },
    inject,
    world::World,
};

/// The least time from one look to the next.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether the API server can call the webhook at the moment: else an evicted pod would come back as it was.
pub type Answers = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a healer looks at.
pub struct Sources {
    /// The pods and namespaces that are there.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The settings of injection.
    pub config: watch::Receiver<Arc<inject::Config>>,
    /// Evictions are made only while it does.
    pub answers: Answers,
}

/// Reports on pods and namespaces, and evicts.
pub struct Healer {
    client: Client,
    sources: Sources,
    leadership: Leadership,
    announcements: Announcements,
    limits: Limits,
    history: History,
    /// Whether this replica led at the last look.
    leads: bool,
    /// By uid, the namespaces whose labels contradict each other, and how: each is news once.
    contradictory: BTreeMap<String, String>,
    metrics: Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabel {
    problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Default)]
struct Metrics {
    pods: Family<ProblemLabel, Gauge>,
    evictions: Family<OutcomeLabel, Counter>,
    given_up: Gauge,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("proxies");
        registry.register(
            "wrong",
            "Running pods without the proxy that they should have, by problem: missing, outdated, foreign; 0 but for the leader",
            metrics.pods.clone(),
        );
        registry.register(
            "evictions",
            "Pods evicted to be made again with their proxy, by outcome: granted, refused, failed",
            metrics.evictions.clone(),
        );
        registry.register(
            "given_up",
            "Controllers whose pods came back from an eviction as they were, and are left alone",
            metrics.given_up.clone(),
        );
        metrics
    }

    fn count(&self, findings: &[Finding]) {
        for problem in ["missing", "outdated", "foreign"] {
            let of_it = findings
                .iter()
                .filter(|found| found.problem.as_str() == problem);
            let count = i64::try_from(of_it.count()).unwrap_or(i64::MAX);
            self.pods
                .get_or_create(&ProblemLabel { problem })
                .set(count);
        }
    }
}

/// How an eviction ended.
enum Outcome {
    Granted,
    /// Not now: a PodDisruptionBudget.
    Refused(String),
    /// The pod is gone already.
    Gone,
    Failed(WriteError),
}

impl Healer {
    /// A healer within `limits`. `client` must not repeat what is refused by itself: an eviction that a
    /// PodDisruptionBudget refuses looks like one that shall be asked for again at once.
    pub fn new(
        client: Client,
        sources: Sources,
        leadership: Leadership,
        announcements: Announcements,
        limits: Limits,
        registry: &mut Registry,
    ) -> Self {
        Self {
            client,
            sources,
            leadership,
            announcements,
            limits,
            history: History::default(),
            leads: false,
            contradictory: BTreeMap::new(),
            metrics: Metrics::register(registry),
        }
    }

    /// Looks after every change, and now and then, until `shutdown` is ready.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut leadership = self.leadership.clone();
        loop {
            let next = Instant::now() + PAUSE;
            tokio::select! {
                () = &mut shutdown => return,
                () = self.look() => {}
            }
            tokio::select! {
                () = &mut shutdown => return,
                () = sleep_until(next) => {}
            }
            tokio::select! {
                () = &mut shutdown => return,
                () = leadership.changed() => {}
                Ok(()) = self.sources.snapshots.changed() => {}
                Ok(()) = self.sources.config.changed() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn look(&mut self) {
        if !self.leadership.is_held() {
            self.metrics.count(&[]);
            self.contradictory.clear();
            self.leads = false;
            return;
        }
        if !self.leads {
            self.leads = true;
            self.history.begin_term(Timestamp::now());
        }
        let snapshot = Arc::clone(&self.sources.snapshots.borrow_and_update());
        let config = Arc::clone(&self.sources.config.borrow_and_update());
        let world = snapshot.world();
        self.report_contradictions(world);
        // Thousands of pods: the webhook's calls must not wait for it.
        let all = Arc::clone(&snapshot);
        let looking = spawn_blocking(move || audit::findings(all.world(), &config));
        let Ok(findings) = looking.await else {
            return;
        };
        self.metrics.count(&findings);
        for note in notes::notes(&findings) {
            self.announcements.send(of_note(note));
        }
        self.heal(world, &findings).await;
    }

    fn report_contradictions(&mut self, world: &World) {
        let found = namespaces::contradictions(world);
        let uids: BTreeSet<&str> = found.iter().map(|found| found.uid.as_str()).collect();
        self.contradictory
            .retain(|uid, _| uids.contains(uid.as_str()));
        for contradiction in found {
            let known = self.contradictory.get(&contradiction.uid);
            if known == Some(&contradiction.text) {
                continue;
            }
            let name = contradiction.namespace.name.to_string();
            // Namespaces are in no namespace; people look for their Events in themselves.
            let about = reference("Namespace", &name, &name, &contradiction.uid);
            self.announcements.send(Announcement {
                about: About::Object(Box::new(about)),
                warning: true,
                action: "Inject",
                reason: "ContradictingInjectionLabels",
                text: contradiction.text.clone(),
                subject: contradiction.resource_version,
                repeat: Repeat::Never,
                anew: false,
            });
            self.contradictory
                .insert(contradiction.uid, contradiction.text);
        }
    }

    async fn heal(&mut self, world: &World, findings: &[Finding]) {
        let limits = self.limits;
        if (!limits.missing && !limits.outdated) || !(self.sources.answers)() {
            return;
        }
        let now = Timestamp::now();
        let plan = eviction::plan(world, findings, limits, &mut self.history, now);
        for stop in plan.stops {
            tracing::warn!(
                namespace = stop.namespace,
                controller = stop.controller.name,
                "{}",
                stop.why
            );
            self.announcements.send(of_stop(stop));
        }
        for eviction in plan.evictions {
            let outcome = self.evict(&eviction).await;
            let granted = matches!(outcome, Outcome::Granted);
            self.history.note(&eviction, granted, Timestamp::now());
            self.tell(eviction, outcome);
        }
        let given_up = i64::try_from(self.history.given_up()).unwrap_or(i64::MAX);
        self.metrics.given_up.set(given_up);
    }

    async fn evict(&self, eviction: &Eviction) -> Outcome {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &eviction.pod.namespace);
        let delete = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(eviction.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        let params = EvictParams {
            delete_options: Some(delete),
            ..EvictParams::default()
        };
        let evicting = pods.evict(&eviction.pod.name, &params);
        match self.leadership.write(evicting).await {
            Ok(_) => Outcome::Granted,
            Err(WriteError::Api(kube::Error::Api(status))) if status.code == 429 => {
                Outcome::Refused(status.message.clone())
            }
            Err(WriteError::Api(kube::Error::Api(status)))
                if status.is_not_found() || status.is_conflict() =>
            {
                Outcome::Gone
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Counts how an eviction ended, and says it on the owner.
    fn tell(&self, eviction: Eviction, outcome: Outcome) {
        let Eviction {
            pod,
            controller,
            why,
            uid,
            ..
        } = eviction;
        let namespace = pod.namespace.to_string();
        let count = |outcome| {
            self.metrics
                .evictions
                .get_or_create(&OutcomeLabel { outcome })
                .inc();
        };
        let said = |warning, reason, text, subject, repeat| Announcement {
            about: About::Workload {
                namespace: namespace.clone(),
                controller: controller.clone(),
            },
            warning,
            action: "Evict",
            reason,
            text,
            subject,
            repeat,
            anew: false,
        };
        match outcome {
            Outcome::Granted => {
                count("granted");
                tracing::info!(%pod, why, "evicted, to be made again with its proxy");
                let text = format!(
                    "evicted pod {}, to be made again with its proxy: {why}",
                    pod.name
                );
                self.announcements
                    .send(said(false, "EvictedForProxy", text, uid, Repeat::Never));
            }
            Outcome::Refused(refusal) => {
                count("refused");
                tracing::info!(%pod, refusal, "eviction refused for now");
                let text = format!(
                    "pod {} can't be evicted for now ({why}): {refusal}",
                    pod.name
                );
                let subject = "refused".to_owned();
                self.announcements.send(said(
                    true,
                    "EvictionRefused",
                    text,
                    subject,
                    Repeat::Hourly,
                ));
            }
            Outcome::Gone => {}
            Outcome::Failed(error) => {
                count("failed");
                tracing::warn!(%pod, %error, "cannot evict");
            }
        }
    }
}

fn of_note(note: Note) -> Announcement {
    let about = match note.controller {
        Some(controller) => About::Workload {
            namespace: note.pod.namespace.to_string(),
            controller,
        },
        None => About::Object(Box::new(reference(
            "Pod",
            &note.pod.namespace,
            &note.pod.name,
            &note.uid,
        ))),
    };
    Announcement {
        about,
        warning: true,
        action: "Audit",
        reason: note.reason,
        text: note.text,
        // Pods come and go: the same problem of the same owner is the same news.
        subject: String::new(),
        repeat: Repeat::Hourly,
        anew: true,
    }
}

fn of_stop(stop: Stop) -> Announcement {
    Announcement {
        about: About::Workload {
            namespace: stop.namespace,
            controller: stop.controller,
        },
        warning: true,
        action: "Evict",
        reason: "EvictionsStopped",
        text: stop.why,
        subject: String::new(),
        repeat: Repeat::Hourly,
        anew: false,
    }
}

fn reference(kind: &str, namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
