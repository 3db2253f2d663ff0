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
//! What has to be written again and again (somebody rewrites the whole Service, the API server refuses it) is written
//! ever more rarely, and an event on the Service says so.

mod listeners;
mod pace;

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{
    engine::Changes,
    events::{Notice, Notices, Transition},
    lease::{Leadership, WriteError},
    watch::{State, States},
};
use crate::{
    api::{
        annotations::MANAGE_PORTS, kind::Kind, ownership::GATEWAY_FIELD_MANAGER, text::enumeration,
    },
    gateway::{Plan, PlannedPort, ServicePlan},
    world::ObjectKey,
};
use listeners::ListenerWriter;
use pace::Pace;

/// Writes at a time.
const CONCURRENCY: usize = 8;
/// When everything is compared again: a write that was lost brings no event.
const RESYNC: Duration = Duration::from_secs(60);

/// The kinds that a plan rests on. While one of them is not watched, a Gateway that can't be seen would look like one
/// that is gone, so nothing is written.
const PLAN_NEEDS: [Kind; 3] = [Kind::Gateway, Kind::Service, Kind::Pod];

/// Whether everything that a plan rests on was listed and is watched.
fn can_plan(inputs: &States) -> bool {
    PLAN_NEEDS
        .iter()
        .all(|kind| matches!(inputs.get(kind), Some(State::Watched { .. })))
}

/// The writer of gateways' ports.
pub struct ServiceWriter {
    client: Client,
    changes: Changes,
    leadership: Leadership,
    notices: Notices,
    metrics: Metrics,
    /// `None` while a Snapshot may lack what it rests on.
    plan: Option<Arc<Plan>>,
    pace: Pace,
    listeners: ListenerWriter,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the object is gone, or another one has its name")]
    Gone,
    #[error("the API server refused it: {0}")]
    Refused(String),
    #[error(transparent)]
    Write(WriteError),
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let WriteError::Api(kube::Error::Api(status)) = &error else {
            return Self::Write(error);
        };
        // A uid that is another's is a conflict as well, but not one of field managers.
        let details = status.details.as_ref();
        let of_fields = details.is_some_and(|details| !details.causes.is_empty());
        if status.is_invalid() || status.is_conflict() && of_fields {
            Self::Refused(status.message.clone())
        } else if status.is_not_found() || status.is_conflict() {
            Self::Gone
        } else {
            Self::Write(error)
        }
    }
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
    /// A writer of what the Snapshots lead to.
    pub fn new(
        client: Client,
        changes: Changes,
        leadership: Leadership,
        notices: Notices,
        registry: &mut Registry,
    ) -> Self {
        Self {
            listeners: ListenerWriter::new(client.clone(), leadership.clone()),
            client,
            changes,
            leadership,
            notices,
            metrics: Metrics::register(registry),
            plan: None,
            pace: Pace::default(),
        }
    }

    /// Writes until `shutdown` is ready; writes in flight are waited for.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut leadership = self.leadership.clone();
        let mut tick = interval(RESYNC);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = None;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                news = self.changes.next() => {
                    self.plan = can_plan(&news.inputs).then(|| Arc::clone(news.snapshot.ports()));
                }
                () = leadership.changed() => {
                    self.pace = Pace::default();
                    self.listeners.look_again();
                }
                _ = tick.tick() => self.listeners.look_again(),
                () = until(due) => {}
            }
            due = if self.leadership.is_held() {
                self.write_what_differs().await
            } else {
                None
            };
        }
    }

    /// Writes what is due, and returns when more will be.
    async fn write_what_differs(&mut self) -> Option<Instant> {
        let plan = self.plan.clone()?;
        let now = Instant::now();
        self.pace.forget(&plan.services, now);
        let differing = || plan.services.iter().filter(|(_, service)| !service.in_sync);
        let due: Vec<Write> = differing()
            .filter(|(key, service)| self.pace.due(key, service) <= Some(now))
            .map(|(key, service)| Write {
                client: self.client.clone(),
                leadership: self.leadership.clone(),
                key: key.clone(),
                plan: service.clone(),
            })
            .collect();
        let outcomes: Vec<_> = stream::iter(due)
            .map(Write::run)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for (key, service, outcome) in outcomes {
            let repeats = self.pace.note(&key, &service, Instant::now());
            self.settle(&key, &service, repeats, outcome);
        }
        let listeners = self.listeners.write(&plan.listeners).await;
        differing()
            .filter_map(|(key, service)| self.pace.due(key, service))
            .chain(listeners)
            .min()
    }

    /// Counts and tells what became of a write.
    fn settle(
        &self,
        key: &ObjectKey,
        plan: &ServicePlan,
        repeats: u32,
        outcome: Result<(), Failure>,
    ) {
        let ports = listed(&plan.ports);
        match &outcome {
            Ok(()) => {
                self.metrics.writes.inc();
                tracing::info!(service = %key, ports, repeats, "wrote the ports that Gateways need");
            }
            Err(Failure::Gone | Failure::Write(WriteError::NotLeader)) => {}
            Err(error @ Failure::Refused(_)) => {
                self.metrics.refusals.inc();
                tracing::warn!(service = %key, ports, %error, "cannot write the ports that Gateways need");
            }
            Err(error) => {
                self.metrics.failures.inc();
                tracing::warn!(service = %key, ports, %error, "cannot write the ports that Gateways need; trying again");
            }
        }
        if let Some(transition) = transition(&ports, repeats, &outcome) {
            self.notices.send(Notice {
                object: key.clone(),
                uid: plan.uid.clone(),
                api_version: Kind::Service.api_version(),
                transitions: vec![transition],
            });
        }
    }
}

/// One write, ready to go.
struct Write {
    client: Client,
    leadership: Leadership,
    key: ObjectKey,
    plan: ServicePlan,
}

impl Write {
    async fn run(self) -> (ObjectKey, ServicePlan, Result<(), Failure>) {
        let outcome = self.apply().await;
        (self.key, self.plan, outcome)
    }

    async fn apply(&self) -> Result<(), Failure> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let patch = desired(&self.key, &self.plan);
        let params = PatchParams::apply(GATEWAY_FIELD_MANAGER);
        let patch = Patch::Apply(&patch);
        let write = api.patch(&self.key.name, &params, &patch);
        Ok(self.leadership.write(write).await.map(drop)?)
    }
}

/// All that we want of a Service: our ports.
fn desired(key: &ObjectKey, plan: &ServicePlan) -> Value {
    let port = |port: &PlannedPort| {
        json!({
            "name": port.name,
            "port": port.port,
            "targetPort": port.target_port,
            "protocol": "TCP",
            "appProtocol": port.app_protocol,
        })
    };
    let ports: Vec<Value> = plan.ports.iter().map(port).collect();
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": *key.name, "namespace": *key.namespace, "uid": plan.uid },
    });
    if !ports.is_empty() {
        service["spec"] = json!({ "ports": ports });
    }
    service
}

/// The numbers of the ports.
fn listed(ports: &[PlannedPort]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    enumeration(ports.iter().map(|port| port.port))
}

/// What an event says about a write that was the same one `repeats` times by now.
fn transition(ports: &str, repeats: u32, outcome: &Result<(), Failure>) -> Option<Transition> {
    let (warning, reason, message) = match (outcome, repeats) {
        (Ok(()), 1) => (
            false,
            "GatewayPortsApplied",
            format!("ports that Gateways need here: {ports}"),
        ),
        // Once is an accident or a rollout.
        (Ok(()), 2) => return None,
        (Ok(()), _) => (
            true,
            "GatewayPortsOverwritten",
            format!(
                "something keeps removing the ports that Gateways need here ({ports}); they were added again, and will be \
                 ever more rarely: let it leave ports alone that it does not own, or annotate this Service with \
                 {MANAGE_PORTS}=false and add the ports by hand"
            ),
        ),
        (Err(Failure::Refused(why)), _) => (
            true,
            "GatewayPortsRefused",
            format!("the ports that Gateways need here ({ports}) can't be added: {why}"),
        ),
        (Err(_), _) => return None,
    };
    Some(Transition {
        warning,
        reason: reason.to_owned(),
        message,
    })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_holds_our_ports_and_the_uid_and_nothing_else_of_the_service() {
        let key = ObjectKey::new(Kind::Service, "edge", "gateway");
        let mut plan = ServicePlan {
            uid: "uid-1".to_owned(),
            ports: Vec::new(),
            in_sync: false,
        };
        // Without the uid, an apply to a Service that is gone would make one without a selector.
        let metadata = json!({"name": "gateway", "namespace": "edge", "uid": "uid-1"});
        let nothing = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
        assert_eq!(desired(&key, &plan), nothing);

        plan.ports.push(PlannedPort {
            name: "http-8088".to_owned(),
            port: 8088,
            target_port: 8088,
            app_protocol: "http".to_owned(),
        });
        let port = json!({"name": "http-8088", "port": 8088, "targetPort": 8088, "protocol": "TCP", "appProtocol": "http"});
        let mut one = nothing;
        one["spec"] = json!({"ports": [port]});
        assert_eq!(desired(&key, &plan), one);
    }
}
