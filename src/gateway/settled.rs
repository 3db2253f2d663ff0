//! A Service with its ports decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::{Claim, opted_out};
use super::finding::{Asker, Refusal};
use super::members::{Member, Membership};
use super::protocol::Protocol;
use super::{Asked, Exposure, PlannedPort, ServicePlan};
use crate::api::annotations::ALLOW_GATEWAYS_FROM;
use crate::api::ownership::Ownership;
use crate::api::ports::FIRST_UNPRIVILEGED;
use crate::world::{ObjectKey, PortTrouble, PortTroubleKind, PortWrite, ServicePort, TargetPort};

/// A server that asks one Service for a port.
pub(super) struct Ask<'a> {
    pub gateway: &'a ObjectKey,
    pub claim: &'a Claim,
    /// The port on every node that the Gateway asks for.
    pub node_port: Option<u16>,
    pub membership: Membership,
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
pub(super) struct Settled<'a> {
    member: &'a Member<'a>,
    /// What is known to be wrong with the last write.
    troubles: &'a [PortTrouble],
    /// Whether Gateways may add ports here at all.
    managed: bool,
    asked: BTreeMap<u16, Asked>,
    planned: BTreeMap<u16, PlannedPort>,
    conflicts: BTreeMap<u16, Refusal>,
}

impl<'a> Settled<'a> {
    /// `write` is what is known of the last write to a Service of this name.
    pub(super) fn new(
        member: &'a Member<'a>,
        asks: &[Ask<'_>],
        write: Option<&'a PortWrite>,
    ) -> Self {
        let write = write.filter(|write| write.uid == member.service.meta.uid);
        let mut settled = Settled {
            member,
            troubles: write.map_or(&[], |write| &write.troubles),
            managed: !opted_out(&member.service.meta.annotations),
            asked: BTreeMap::new(),
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
        settled.asked = asked(&welcome);
        settled.conflicts = settled.find_conflicts(&welcome);
        if settled.may_add() {
            settled.planned = settled.plan_ports(&welcome);
        }
        settled
    }

    /// The Service.
    pub(super) fn key(&self) -> &'a ObjectKey {
        self.member.key
    }

    /// Whether this Service can get ports of ours.
    fn may_add(&self) -> bool {
        self.managed && !self.headless() && !self.is_alias() && self.unnamed().is_none()
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

    /// Whether it stands for a name elsewhere.
    fn is_alias(&self) -> bool {
        self.member.spec.service_type == "ExternalName"
    }

    /// Its type, if its ports can't have node ports.
    pub(super) fn type_without_node_ports(&self) -> Option<&'a str> {
        match self.member.spec.service_type.as_str() {
            "NodePort" | "LoadBalancer" => None,
            "" => Some("ClusterIP"),
            other => Some(other),
        }
    }

    /// Whether a port of this number is, or will be, ours.
    pub(super) fn plans(&self, number: u16) -> bool {
        self.planned.contains_key(&number)
    }

    /// Asks for the port of ours with this number to have a node port.
    pub(super) fn set_node_port(&mut self, number: u16, node_port: u16) {
        if let Some(port) = self.planned.get_mut(&number) {
            port.node_port = Some(node_port);
        }
    }

    /// What went wrong when this port was written; nothing for one that is not ours.
    pub(super) fn troubles(&self, number: u16) -> impl Iterator<Item = &'a PortTrouble> + use<'a> {
        let troubles = if self.plans(number) {
            self.troubles
        } else {
            &[]
        };
        let concerns = move |trouble: &&PortTrouble| {
            trouble.ports.is_empty() || trouble.ports.contains(&number)
        };
        troubles.iter().filter(concerns)
    }

    fn has_trouble(&self, number: u16, kinds: &[PortTroubleKind]) -> bool {
        self.troubles(number)
            .any(|trouble| kinds.contains(&trouble.kind))
    }

    /// The namespace guard.
    pub(super) fn welcomes(&self, gateway: &ObjectKey) -> bool {
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
        const OFFSET: u16 = 8000;
        let pods = &self.member.pods;
        let binds = |start: u16| start <= number;
        let pods_may = !pods.is_empty()
            && pods
                .iter()
                .all(|pod| pod.unprivileged_port_start.is_some_and(binds));
        if number >= FIRST_UNPRIVILEGED || pods_may {
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
                    node_port: None,
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
            node_port: None,
        })
    }

    /// Whether the port of ours is as it must be. A node port that nobody asks for may be any.
    fn is_live(&self, planned: &PlannedPort) -> bool {
        let Some(port) = self.live(planned.port) else {
            return false;
        };
        let right = planned
            .node_port
            .is_none_or(|wanted| wanted == port.node_port);
        let wanted = PlannedPort {
            node_port: None,
            ..planned.clone()
        };
        right && self.as_it_is(port) == Some(wanted)
    }

    /// The same, where a node port that was refused doesn't count: who asked for it is told, and others have no part in it.
    fn is_live_as_far_as_it_can_be(&self, planned: &PlannedPort) -> bool {
        const OF_NODE_PORTS: [PortTroubleKind; 2] = [
            PortTroubleKind::NodePortTaken,
            PortTroubleKind::NodePortOutOfRange,
        ];
        let mut planned = planned.clone();
        if self.has_trouble(planned.port, &OF_NODE_PORTS) {
            planned.node_port = None;
        }
        self.is_live(&planned)
    }

    /// What is to be written; `None` where nothing of ours is or must be.
    pub(super) fn plan(&self) -> Option<ServicePlan> {
        let applied = &self.member.spec.applied_ports;
        if !self.managed || (self.planned.is_empty() && applied.is_empty()) {
            return None;
        }
        let in_sync = applied.iter().all(|(port, ownership)| {
            ownership == Ownership::Exclusive && self.planned.contains_key(&port)
        }) && self.planned.values().all(|planned| self.is_live(planned));
        let ours = || self.tcp_ports().filter(|port| self.is_ours(port));
        let node_ports = ours()
            .filter(|port| port.node_port != 0)
            .map(|port| (port.port, port.node_port));
        Some(ServicePlan {
            uid: self.member.service.meta.uid.clone(),
            ports: self.planned.values().cloned().collect(),
            present: ours().map(|port| port.port).collect(),
            node_ports: self
                .type_without_node_ports()
                .is_none()
                .then(|| node_ports.collect()),
            asked: self.asked.clone(),
            in_sync,
        })
    }

    /// How the Service exposes a server's port, once its plan is written.
    pub(super) fn exposure(&self, number: u16) -> Option<Exposure> {
        if self.is_alias() {
            return None;
        }
        let (service_port, target_port, ours, live) = match self.route(number) {
            Route::Foreign(port) => (port.port, self.target_of(port), false, true),
            Route::Ours => {
                let planned = self.planned.get(&number)?;
                let target = self.target_in_effect(planned)?;
                (
                    planned.port,
                    target,
                    true,
                    self.is_live_as_far_as_it_can_be(planned),
                )
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
            ours,
            live,
        })
    }

    /// Where a port of ours will lead, once the plan is written as far as it can be; `None` where it will not be.
    fn target_in_effect(&self, planned: &PlannedPort) -> Option<Option<u16>> {
        const KEEPS_OUT: [PortTroubleKind; 4] = [
            PortTroubleKind::NodePortsExhausted,
            PortTroubleKind::Overwritten,
            PortTroubleKind::Forbidden,
            PortTroubleKind::Refused,
        ];
        match self.live(planned.port) {
            None if self.has_trouble(planned.port, &KEEPS_OUT) => None,
            Some(port) if self.has_trouble(planned.port, &[PortTroubleKind::FieldConflict]) => {
                Some(self.target_of(port))
            }
            _ => Some(Some(planned.target_port)),
        }
    }

    /// What the Service has against a Gateway's port.
    pub(super) fn refusal(&self, gateway: &ObjectKey, number: u16) -> Option<Refusal> {
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
        if self.is_alias() {
            return Some(Refusal::ExternalName);
        }
        if self.headless() {
            return Some(Refusal::Headless);
        }
        self.unnamed()
            .map(|port| Refusal::ServicePortUnnamed { port })
    }
}

/// What the Gateways ask for, whatever the Service has already.
fn asked(asks: &[&Ask<'_>]) -> BTreeMap<u16, Asked> {
    let mut asked: BTreeMap<u16, Asked> = BTreeMap::new();
    for ask in asks {
        let port = asked.entry(ask.claim.port).or_default();
        port.protocols.insert(ask.claim.protocol.service_name());
        port.node_ports.extend(ask.node_port);
    }
    asked
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
