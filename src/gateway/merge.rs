//! What the Gateways ask for, laid over what the Services have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::{Claim, GatewayClaims, RESERVED, opted_out};
use super::finding::{Asker, Finding, Reason, Refusal};
use super::members::{Member, Members, Membership};
use super::protocol::Protocol;
use super::{Exposure, GatewayPlan, Plan, PlannedPort, ServicePlan};
use crate::api::annotations::ALLOW_GATEWAYS_FROM;
use crate::api::ownership::Ownership;
use crate::world::{ObjectKey, ServicePort, TargetPort};

/// Settles every Service, then reads off what that means for each Gateway.
pub(super) fn plan(gateways: &[GatewayClaims<'_>], members: &Members<'_>) -> Plan {
    let mut asks: BTreeMap<&ObjectKey, Vec<Ask<'_>>> = BTreeMap::new();
    for gateway in gateways.iter().filter(|gateway| gateway.managed) {
        for (service, membership) in members.of(gateway.selector) {
            let asked = asks.entry(service).or_default();
            asked.extend(gateway.claims.iter().map(|claim| Ask {
                gateway: gateway.key,
                claim,
                membership: *membership,
            }));
        }
    }
    let settled: BTreeMap<&ObjectKey, Settled<'_>> = members
        .services
        .iter()
        .map(|(key, member)| {
            let asks = asks.get(key).map_or(&[][..], Vec::as_slice);
            (*key, Settled::new(member, asks))
        })
        .collect();

    let mut plan = Plan {
        scope: members.scope.clone(),
        ..Plan::default()
    };
    for (key, service) in &settled {
        if let Some(service) = service.plan() {
            plan.services.insert((*key).clone(), service);
        }
    }
    for gateway in gateways {
        let outcome = outcome(gateway, members, &settled);
        for exposure in &outcome.exposed {
            let Some(target) = exposure.target_port.filter(|port| !RESERVED.contains(port)) else {
                continue;
            };
            let namespace = exposure.service.namespace.clone();
            let listeners = plan.listeners.entry(namespace).or_default();
            listeners.ports.insert(target);
            listeners.followed |= members
                .services
                .get(&exposure.service)
                .is_some_and(|member| member.pods.iter().any(|pod| pod.reads_gateway_ports));
        }
        if gateway.managed {
            plan.gateways.insert(gateway.key.clone(), outcome);
        }
    }
    plan
}

/// What all Services of a Gateway make of its servers.
fn outcome(
    gateway: &GatewayClaims<'_>,
    members: &Members<'_>,
    settled: &BTreeMap<&ObjectKey, Settled<'_>>,
) -> GatewayPlan {
    let mut exposed = BTreeSet::new();
    let mut findings = gateway.findings.clone();
    let services: Vec<&Settled<'_>> = members
        .of(gateway.selector)
        .iter()
        .filter_map(|(key, _)| settled.get(key))
        .collect();
    for claim in &gateway.claims {
        let here: Vec<Exposure> = services
            .iter()
            .filter_map(|service| service.exposure(claim.port))
            .collect();
        let refusal = services
            .iter()
            .filter_map(|service| Some((service.refusal(gateway.key, claim.port)?, service.key())))
            .min();
        let conflict = matches!(refusal, Some((Refusal::Conflict { .. }, _)));
        match refusal {
            Some((refusal, service)) if conflict || here.is_empty() => {
                findings.push(refusal.finding(
                    service,
                    &gateway.key.namespace,
                    claim.port,
                    claim.path.clone(),
                ))
            }
            None if here.is_empty() && !gateway.selector.is_empty() => {
                let has_pods = members.has_pods(gateway.selector);
                findings.push(no_service(gateway, claim, has_pods));
            }
            _ => {}
        }
        exposed.extend(here);
    }
    GatewayPlan {
        exposed: exposed.into_iter().collect(),
        findings,
    }
}

fn no_service(gateway: &GatewayClaims<'_>, claim: &Claim, has_pods: bool) -> Finding {
    let labels: Vec<String> = gateway
        .selector
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let (reason, missing) = if has_pods {
        (Reason::NoService, "no Service selects the pods with")
    } else {
        (Reason::NoPods, "no pod and no Service's selector has")
    };
    Finding {
        reason,
        path: claim.path.clone(),
        text: format!(
            "port {} is not reachable: {missing} the labels {} of spec.selector",
            claim.port,
            labels.join(",")
        ),
    }
}

/// A server that asks one Service for a port.
struct Ask<'a> {
    gateway: &'a ObjectKey,
    claim: &'a Claim,
    membership: Membership,
}

/// How a port reaches the pods.
#[derive(Clone, Copy)]
enum Route<'a> {
    /// Through a port that somebody else owns.
    Foreign(&'a ServicePort),
    /// Through a port of ours, which is there or could be.
    Ours,
}

/// A Service with its ports decided.
struct Settled<'a> {
    member: &'a Member<'a>,
    /// Whether Gateways may add ports here at all.
    managed: bool,
    planned: BTreeMap<u16, PlannedPort>,
    conflicts: BTreeMap<u16, Refusal>,
}

impl<'a> Settled<'a> {
    fn new(member: &'a Member<'a>, asks: &[Ask<'_>]) -> Self {
        let mut settled = Settled {
            member,
            managed: !opted_out(&member.service.meta.annotations),
            planned: BTreeMap::new(),
            conflicts: BTreeMap::new(),
        };
        let welcome: Vec<&Ask<'_>> = asks
            .iter()
            .filter(|ask| settled.welcomes(ask.gateway))
            .filter(|ask| {
                ask.membership == Membership::Certain || settled.live(ask.claim.port).is_some()
            })
            .collect();
        settled.conflicts = settled.find_conflicts(&welcome);
        if settled.may_add() {
            settled.planned = settled.plan_ports(&welcome);
        }
        settled
    }

    fn key(&self) -> &'a ObjectKey {
        self.member.key
    }

    /// Whether this Service can get ports of ours.
    fn may_add(&self) -> bool {
        self.managed && !self.headless() && self.unnamed().is_none()
    }

    /// The unnamed port that forbids a second one.
    fn unnamed(&self) -> Option<u16> {
        let ports = &self.member.spec.ports;
        let unnamed = ports.iter().find(|port| port.name.is_empty());
        unnamed.map(|port| port.port)
    }

    fn headless(&self) -> bool {
        self.member.spec.cluster_ip == "None"
    }

    /// The namespace guard.
    fn welcomes(&self, gateway: &ObjectKey) -> bool {
        let annotations = &self.member.service.meta.annotations;
        gateway.namespace == self.key().namespace
            || annotations.get(ALLOW_GATEWAYS_FROM).is_some_and(|allowed| {
                allowed
                    .split(',')
                    .map(str::trim)
                    .any(|namespace| namespace == "*" || namespace == &*gateway.namespace)
            })
    }

    fn tcp_ports(&self) -> impl Iterator<Item = &'a ServicePort> + use<'a> {
        self.member.spec.ports.iter().filter(|port| is_tcp(port))
    }

    fn is_ours(&self, port: &ServicePort) -> bool {
        self.managed && self.member.spec.applied_ports.of(port.port) == Some(Ownership::Exclusive)
    }

    /// TCP ports that somebody else owns.
    fn foreign(&self) -> impl Iterator<Item = &'a ServicePort> + '_ {
        self.tcp_ports().filter(|port| !self.is_ours(port))
    }

    /// The port of ours with this number, as it is now.
    fn live(&self, number: u16) -> Option<&'a ServicePort> {
        self.tcp_ports()
            .find(|port| port.port == number && self.is_ours(port))
    }

    fn route(&self, number: u16) -> Route<'a> {
        self.foreign()
            .find(|port| port.port == number)
            .or_else(|| {
                self.foreign()
                    .find(|port| self.target_of(port) == Some(number))
            })
            .map_or(Route::Ours, Route::Foreign)
    }

    /// The number that a port's target has in the pods.
    fn target_of(&self, port: &ServicePort) -> Option<u16> {
        match &port.target_port {
            None => Some(port.port),
            Some(TargetPort::Number(0)) => Some(port.port),
            Some(TargetPort::Number(number)) => Some(*number),
            Some(TargetPort::Name(name)) => self
                .member
                .pods
                .iter()
                .flat_map(|pod| &pod.containers)
                .flat_map(|container| &container.ports)
                .find(|port| port.name == *name)
                .map(|port| port.container_port),
        }
    }

    /// The target port of a port of ours.
    fn own_target(&self, number: u16) -> u16 {
        const UNPRIVILEGED: u16 = 1024;
        const OFFSET: u16 = 8000;
        let pods = &self.member.pods;
        let binds = |start: u16| start <= number;
        let pods_may = !pods.is_empty()
            && pods
                .iter()
                .all(|pod| pod.unprivileged_port_start.is_some_and(binds));
        if number >= UNPRIVILEGED || pods_may {
            number
        } else {
            number + OFFSET
        }
    }

    /// The ports whose target is asked for with protocols that don't fit.
    fn find_conflicts(&self, asks: &[&Ask<'_>]) -> BTreeMap<u16, Refusal> {
        let mut by_target: BTreeMap<u16, BTreeSet<Asker>> = BTreeMap::new();
        for ask in asks {
            let number = ask.claim.port;
            let target = match self.route(number) {
                Route::Foreign(port) => self.target_of(port).unwrap_or(number),
                Route::Ours => self.own_target(number),
            };
            by_target.entry(target).or_default().insert(Asker {
                gateway: ask.gateway.clone(),
                port: number,
                protocol: ask.claim.protocol,
            });
        }
        let mut conflicts = BTreeMap::new();
        for (target, askers) in by_target {
            let mut protocols = askers.iter().map(|asker| asker.protocol);
            let Some(first) = protocols.next() else {
                continue;
            };
            if protocols.all(|protocol| protocol.fits(first)) {
                continue;
            }
            let ports: BTreeSet<u16> = askers.iter().map(|asker| asker.port).collect();
            let askers = protocols_first(askers);
            for port in ports {
                let askers = Arc::clone(&askers);
                conflicts.insert(port, Refusal::Conflict { target, askers });
            }
        }
        conflicts
    }

    /// Every port that must be ours.
    fn plan_ports(&self, asks: &[&Ask<'_>]) -> BTreeMap<u16, PlannedPort> {
        let mut protocols: BTreeMap<u16, Protocol> = BTreeMap::new();
        for ask in asks {
            if matches!(self.route(ask.claim.port), Route::Ours) {
                let protocol = ask.claim.protocol;
                let first = protocols.entry(ask.claim.port).or_insert(protocol);
                *first = protocol.min(*first);
            }
        }
        let mut names: BTreeSet<String> = self
            .member
            .spec
            .ports
            .iter()
            .filter(|port| !(self.is_ours(port) && is_tcp(port)))
            .map(|port| port.name.clone())
            .collect();
        let mut planned = BTreeMap::new();
        for (number, protocol) in protocols {
            let port = if self.conflicts.contains_key(&number) {
                self.live(number).and_then(|port| self.as_it_is(port))
            } else {
                Some(PlannedPort {
                    name: free_name(protocol, number, &names),
                    port: number,
                    target_port: self.own_target(number),
                    app_protocol: protocol.service_name().to_owned(),
                })
            };
            if let Some(port) = port {
                names.insert(port.name.clone());
                planned.insert(number, port);
            }
        }
        planned
    }

    fn as_it_is(&self, port: &ServicePort) -> Option<PlannedPort> {
        Some(PlannedPort {
            name: port.name.clone(),
            port: port.port,
            target_port: self.target_of(port)?,
            app_protocol: port.app_protocol.clone(),
        })
    }

    /// What is to be written; `None` where nothing of ours is or must be.
    fn plan(&self) -> Option<ServicePlan> {
        let applied = &self.member.spec.applied_ports;
        if !self.managed || (self.planned.is_empty() && applied.is_empty()) {
            return None;
        }
        let in_sync = applied.iter().all(|(port, ownership)| {
            ownership == Ownership::Exclusive && self.planned.contains_key(&port)
        }) && self.planned.values().all(|planned| {
            self.live(planned.port)
                .and_then(|port| self.as_it_is(port))
                .is_some_and(|live| live == *planned)
        });
        Some(ServicePlan {
            uid: self.member.service.meta.uid.clone(),
            ports: self.planned.values().cloned().collect(),
            in_sync,
        })
    }

    /// How the Service exposes a server's port, once its plan is written.
    fn exposure(&self, number: u16) -> Option<Exposure> {
        let (service_port, target_port) = match self.route(number) {
            Route::Foreign(port) => (port.port, self.target_of(port)),
            Route::Ours => {
                let planned = self.planned.get(&number)?;
                (planned.port, Some(planned.target_port))
            }
        };
        let node_port = self
            .tcp_ports()
            .find(|port| port.port == service_port)
            .map(|port| port.node_port)
            .filter(|port| *port != 0);
        Some(Exposure {
            port: number,
            service: self.key().clone(),
            service_port,
            node_port,
            target_port,
        })
    }

    /// What the Service has against a Gateway's port.
    fn refusal(&self, gateway: &ObjectKey, number: u16) -> Option<Refusal> {
        if !self.managed {
            return Some(Refusal::NotManaged);
        }
        if !self.welcomes(gateway) {
            let annotations = &self.member.service.meta.annotations;
            let allowed = annotations.get(ALLOW_GATEWAYS_FROM).cloned();
            return Some(Refusal::NotAllowed { allowed });
        }
        if let Some(conflict) = self.conflicts.get(&number) {
            return Some(conflict.clone());
        }
        if self.headless() {
            return Some(Refusal::Headless);
        }
        self.unnamed()
            .map(|port| Refusal::ServicePortUnnamed { port })
    }
}

/// The askers in order, but one of each protocol before the second of any: those who read the first few see what
/// doesn't fit.
fn protocols_first(askers: BTreeSet<Asker>) -> Arc<[Asker]> {
    let mut counts: BTreeMap<Protocol, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, Asker)> = askers
        .into_iter()
        .map(|asker| {
            let count = counts.entry(asker.protocol).or_default();
            *count += 1;
            (*count, asker)
        })
        .collect();
    ranked.sort_by_key(|(count, _)| *count);
    ranked.into_iter().map(|(_, asker)| asker).collect()
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.is_empty() || port.protocol == "TCP"
}

/// `<protocol>-<port>`, with the first suffix from `-2` on that makes it a name that no other port has.
fn free_name(protocol: Protocol, number: u16, taken: &BTreeSet<String>) -> String {
    let name = format!("{}-{number}", protocol.service_name());
    if !taken.contains(&name) {
        return name;
    }
    (2_u32..)
        .map(|suffix| format!("{name}-{suffix}"))
        .find(|name| !taken.contains(name))
        .unwrap_or(name)
}
