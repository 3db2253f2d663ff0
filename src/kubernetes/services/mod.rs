//! Writes the ports of gateways' Services, and tells the gateways' pods what to listen on.
//!
//! The plan is [`crate::gateway::plan`]'s. A write is a server-side apply under a field manager of our own that
//! holds nothing but our ports, so that the API server merges them with those of others and keeps every node port:
//!
//! - It is never forced, and no port that another manager owns is in it: applying such a port with equal fields
//!   would make us its co-owner without a conflict.
//! - It carries the Service's uid. An apply to a Service that is gone would make a new one without a selector; with
//!   the uid it is refused (409), and the watch brings what there is instead.
//! - It needs no resource version: a port that somebody else took meanwhile is refused (409) where the fields differ,
//!   and given up with the next plan where they don't.
//!
//! A port that somebody removed comes back with the node port that it had, where that is still free.
//!
//! What has to be written again and again (somebody rewrites the whole Service, the API server refuses it) is written
//! ever more rarely. What is wrong goes back into the World, from where the next plan tells the Gateways concerned, and
//! an event on the Service says so.

mod apply;
mod listeners;
mod memory;
mod pace;
mod refusal;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::Client;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{sync::mpsc, time::Instant};

use super::{
    engine::{Changes, News, until},
    events::{Notice, Notices, Transition},
    lease::{Leadership, WriteError},
    watch::{Input, State, States},
    writer::{self, Writer},
};
use crate::{
    api::{annotations::MANAGE_PORTS, kind::Kind, text::enumeration},
    gateway::{Plan, PlannedPort},
    world::{ObjectKey, PortWrite},
};
use apply::{Write, Written};
use listeners::ListenerWriter;
use memory::NodePorts;
use pace::{Noted, Outcome, Pace};
use refusal::Failure;

/// Writes at a time.
const CONCURRENCY: usize = 8;

/// The kinds that a plan rests on. While one of them is not watched, a Gateway that can't be seen would look like one
/// that is gone, so nothing is written.
const PLAN_NEEDS: [Kind; 3] = [Kind::Gateway, Kind::Service, Kind::Pod];

/// Whether everything that a plan rests on was listed and is watched.
fn can_plan(inputs: &States) -> bool {
    PLAN_NEEDS
        .iter()
        .all(|kind| matches!(inputs.get(&(*kind).into()), Some(State::Watched { .. })))
}

/// The writer of gateways' ports.
pub struct ServiceWriter {
    changes: Changes,
    leadership: Leadership,
    work: Work,
}

/// What the writer knows and does.
struct Work {
    client: Client,
    leadership: Leadership,
    notices: Notices,
    metrics: Metrics,
    /// `None` while a Snapshot may lack what it rests on.
    plan: Option<Arc<Plan>>,
    pace: Pace,
    node_ports: NodePorts,
    listeners: ListenerWriter,
    /// When something is to be written, or to be told.
    due: Option<Instant>,
    /// Takes what writes came to, so that the next plan knows it.
    inputs: mpsc::Sender<Input>,
    /// What it was told.
    told: BTreeMap<ObjectKey, PortWrite>,
}

struct Metrics {
    writes: Counter,
    refusals: Counter,
    failures: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("gateway_services");
        let [writes, refusals, failures] = [
            ("writes", "Writes of the ports of a gateway's Service"),
            (
                "refusals",
                "Writes that the API server refused: a conflict, or an invalid result",
            ),
            ("failures", "Writes that failed otherwise"),
        ]
        .map(|(name, help)| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        });
        Self {
            writes,
            refusals,
            failures,
        }
    }
}

impl ServiceWriter {
    /// A writer of what the Snapshots lead to. What its writes come to goes to `inputs`, the engine's.
    pub fn new(
        client: Client,
        changes: Changes,
        inputs: mpsc::Sender<Input>,
        leadership: Leadership,
        notices: Notices,
        registry: &mut Registry,
    ) -> Self {
        let work = Work {
            listeners: ListenerWriter::new(client.clone(), leadership.clone()),
            client,
            leadership: leadership.clone(),
            notices,
            metrics: Metrics::register(registry),
            plan: None,
            pace: Pace::default(),
            node_ports: NodePorts::default(),
            due: None,
            inputs,
            told: BTreeMap::new(),
        };
        Self {
            changes,
            leadership,
            work,
        }
    }

    /// Writes until `shutdown` is ready; writes in flight are waited for.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        writer::run(self.work, self.changes, self.leadership, shutdown).await;
    }
}

impl Writer for Work {
    const TICK: Duration = Duration::from_secs(60);

    fn take(&mut self, news: News) {
        self.plan = can_plan(&news.inputs).then(|| Arc::clone(news.snapshot.ports()));
        if let Some(plan) = &self.plan {
            self.node_ports.learn(&plan.services);
        }
    }

    fn lease_changed(&mut self) {
        self.pace = Pace::default();
        self.listeners.look_again();
    }

    fn tick(&mut self) {
        self.listeners.look_again();
    }

    async fn progress(&mut self) {
        until(self.due).await;
    }

    async fn write(&mut self) {
        self.due = None;
        let Some(plan) = self.plan.clone() else {
            return;
        };
        if self.leadership.is_held() {
            self.due = self.write_what_differs(&plan).await;
        }
        let peace = self.tell(&plan).await;
        self.due = self.due.into_iter().chain(peace).min();
    }

    /// A write is waited for where it is made.
    async fn finish(self) {}
}

impl Work {
    /// Writes what is due, and returns when more will be.
    async fn write_what_differs(&mut self, plan: &Plan) -> Option<Instant> {
        let now = Instant::now();
        self.pace.forget(&plan.services, now);
        let differing = || plan.services.iter().filter(|(_, service)| !service.in_sync);
        let due: Vec<Write> = differing()
            .filter(|(key, service)| self.pace.due(key, service) <= Some(now))
            .map(|(key, service)| Write {
                client: self.client.clone(),
                leadership: self.leadership.clone(),
                key: key.clone(),
                remembered: self.node_ports.of_missing(key, service),
                plan: service.clone(),
            })
            .collect();
        let outcomes: Vec<Written> = stream::iter(due)
            .map(Write::run)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for written in outcomes {
            self.settle(written);
        }
        let listeners = self.listeners.write(&plan.listeners).await;
        differing()
            .filter_map(|(key, service)| self.pace.due(key, service))
            .chain(listeners)
            .min()
    }

    /// Counts, remembers and tells what became of a write.
    fn settle(&mut self, written: Written) {
        let ports = listed(&written.plan.ports);
        let service = &written.key;
        let outcome = Outcome {
            succeeded: written.result.is_ok(),
            troubles: written.troubles.clone(),
            other: written.other,
        };
        let now = Instant::now();
        let noted = self.pace.note(service, &written.plan, outcome, now);
        match &written.result {
            Ok(()) => {
                self.metrics.writes.inc();
                let Noted { repeats, .. } = noted;
                tracing::info!(%service, ports, repeats, "wrote the ports that Gateways need");
            }
            Err(Failure::Gone | Failure::Write(WriteError::NotLeader) | Failure::Refused(_)) => {}
            Err(error @ Failure::Write(_)) => {
                self.metrics.failures.inc();
                tracing::warn!(%service, ports, %error, "cannot write the ports that Gateways need; trying again");
            }
        }
        for trouble in &written.troubles {
            self.metrics.refusals.inc();
            let (ports, why) = (enumeration(&trouble.ports), &trouble.text);
            tracing::warn!(%service, ports, why, "a port that Gateways need is refused");
        }
        let why = written.troubles.iter().map(|trouble| trouble.text.clone());
        let why: BTreeSet<String> = why.collect();
        if let Some(transition) = transition(&ports, noted, written.result.is_ok(), &why) {
            self.notices.send(Notice {
                object: written.key,
                uid: written.plan.uid,
                api_version: Kind::Service.api_version(),
                transitions: vec![transition],
            });
        }
    }

    /// Lets the next plan know what the writes came to, and returns when there will be other news.
    async fn tell(&mut self, plan: &Plan) -> Option<Instant> {
        let now = Instant::now();
        let verdicts: BTreeMap<ObjectKey, PortWrite> = plan
            .services
            .iter()
            .filter_map(|(key, service)| Some((key.clone(), self.pace.verdict(key, service, now)?)))
            .collect();
        let over = self.told.keys().filter(|key| !verdicts.contains_key(key));
        let mut news: Vec<_> = over.map(|key| (key.clone(), None)).collect();
        for (key, verdict) in &verdicts {
            if self.told.get(key) != Some(verdict) {
                news.push((key.clone(), Some(verdict.clone())));
            }
        }
        self.told = verdicts;
        for (key, write) in news {
            // The engine ends only with the process.
            let _ = self.inputs.send(Input::PortWrite(key, write)).await;
        }
        let peace = plan.services.iter();
        peace
            .filter_map(|(key, service)| self.pace.peace_at(key, service, now))
            .min()
    }
}

/// The numbers of the ports.
fn listed(ports: &[PlannedPort]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    enumeration(ports.iter().map(|port| port.port))
}

/// What an event on the Service says about a write of `ports`, of which `refused` was not done.
fn transition(
    ports: &str,
    noted: Noted,
    written: bool,
    refused: &BTreeSet<String>,
) -> Option<Transition> {
    let (warning, reason, message) = match noted {
        Noted { news: true, .. } if !refused.is_empty() => (
            true,
            "GatewayPortsRefused",
            format!(
                "the ports that Gateways need here ({ports}) can't all be as they should: {}",
                enumeration(refused)
            ),
        ),
        _ if !written || !refused.is_empty() => return None,
        Noted { repeats: 1, .. } => (
            false,
            "GatewayPortsApplied",
            format!("ports that Gateways need here: {ports}"),
        ),
        // Once is an accident or a rollout.
        Noted { undone: 0 | 1, .. } => return None,
        Noted { .. } => (
            true,
            "GatewayPortsOverwritten",
            format!(
                "something keeps removing the ports that Gateways need here ({ports}); they were added again, and will be \
                 ever more rarely: let it leave ports alone that it does not own, or annotate this Service with \
                 {MANAGE_PORTS}=false and add the ports by hand"
            ),
        ),
    };
    Some(Transition {
        warning,
        reason: reason.to_owned(),
        message,
    })
}
