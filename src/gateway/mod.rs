//! Which ports the Services of gateways must have, from the Gateway objects: Istio leaves that edit to people
//! (istio/istio#17076), here the Gateway is enough.
//!
//! The rules, in the order in which they apply:
//!
//! 1. **Services.** A Gateway's `selector` selects pods in every namespace, or where Gateways are confined in its own, as
//!    Istio's does (`PILOT_SCOPE_GATEWAY_TO_NAMESPACE`); its Services are those that select one of these pods. A Service whose selector holds all of the Gateway's labels can select nothing else,
//!    so it belongs to the Gateway before the first pod exists and after the last one is gone. A Service that lost
//!    its pods otherwise keeps the ports that it was given, so that a restart doesn't cost a node port.
//! 2. **Guard.** A Gateway adds ports to Services of its own namespace; elsewhere only where the Service's annotation
//!    `outrigger.dev/allow-gateways-from` names the Gateway's namespace or says `*`. What an unwelcome Gateway asks for
//!    changes nothing and conflicts with nothing. `outrigger.dev/manage-ports: "false"` opts a Service or Gateway out.
//! 3. **Foreign ports.** A port that anybody else owns is never touched. It exposes the servers whose number is its
//!    `port` (its target port is what they listen on) or its `targetPort` (as Istio's IST0162 reads it).
//! 4. **Merging.** Servers of all Gateways on one target port share it when their protocols can be told apart on one
//!    listener: plain HTTP protocols with each other, `HTTPS` with `TLS` (by SNI). Otherwise it is a conflict, which
//!    names the Gateways and changes nothing.
//! 5. **Target port.** The number itself where every pod may bind it, else Istio's convention for gateways that don't
//!    run as root: 8000 more (80 → 8080, 443 → 8443).
//! 6. **Node port.** Whatever the API server gives, and then the same for as long as the port is there; the annotation
//!    `outrigger.dev/node-ports` asks for a certain one.
//!
//! [`plan`] is a function of the [`World`] alone, to which belongs what the last write came to; `kubernetes::services`
//! writes what differs. The type of a Service (`ClusterIP`, `NodePort`, `LoadBalancer`), its address families and its
//! traffic policies change nothing here, nor does the TLS mode of a server: what is said with the port is its protocol.

mod claims;
mod finding;
mod members;
mod merge;
mod node_ports;
mod protocol;
mod settled;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::world::{ObjectKey, World};

pub use finding::{Finding, Reason};

/// What the Services of all gateways must look like, and what that means for each Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The Services that must have ports of ours, or still have some.
    pub services: BTreeMap<ObjectKey, ServicePlan>,
    /// Every Gateway that can be read.
    pub gateways: BTreeMap<ObjectKey, GatewayPlan>,
    /// By namespace of the gateways' pods: what they must listen on.
    pub listeners: BTreeMap<Arc<str>, Listeners>,
    scope: members::Scope,
}

impl Plan {
    /// The plan of `new`, if it may differ from this one, which is the plan of `old`: some of `changed` has a part in
    /// it. Changes elsewhere cost nothing.
    pub fn update<'a>(
        &self,
        old: &World,
        new: &World,
        changed: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Option<Plan> {
        changed
            .into_iter()
            .any(|key| self.scope.holds(old, key) || self.scope.holds(new, key))
            .then(|| plan(new))
    }

    /// What keeps a Gateway's servers from being reached.
    pub fn findings(&self, gateway: &ObjectKey) -> &[Finding] {
        self.gateways
            .get(gateway)
            .map_or(&[], |gateway| &gateway.findings)
    }

    /// The Gateways of which the two plans say something different.
    pub fn differing<'a>(&'a self, other: &'a Plan) -> impl Iterator<Item = &'a ObjectKey> {
        let keys = self.gateways.keys().chain(other.gateways.keys());
        keys.filter(|key| self.gateways.get(key) != other.gateways.get(key))
    }
}

/// Ports of ours on one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// The Service's uid: a write is for this Service and no later one of the same name.
    pub uid: String,
    /// Every port that must be ours, ascending; others of ours must go.
    pub ports: Vec<PlannedPort>,
    /// The ports that are ours now.
    pub present: BTreeSet<u16>,
    /// The node ports that these have; `None` where the Service is of a type without node ports.
    pub node_ports: Option<BTreeMap<u16, u16>>,
    /// What Gateways ask for, whatever the Service has: as long as this stays, a difference comes from the Service.
    pub asked: BTreeMap<u16, Asked>,
    /// Whether the Service already is like that.
    pub in_sync: bool,
}

/// What Gateways ask for about one port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The protocols, in lower case.
    pub protocols: BTreeSet<&'static str>,
    /// The node ports.
    pub node_ports: BTreeSet<u16>,
}

/// A TCP port of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPort {
    /// Its name: `<protocol>-<port>`, with a suffix where another port has that name.
    pub name: String,
    /// Its number on the Service.
    pub port: u16,
    /// The port that the pods listen on.
    pub target_port: u16,
    /// The protocol inside, in lower case.
    pub app_protocol: String,
    /// The port on every node that a Gateway asks for; `None` leaves it to the API server.
    pub node_port: Option<u16>,
}

/// What the gateways' pods of one namespace must listen on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// The ports, of all gateways in the namespace.
    pub ports: BTreeSet<u16>,
    /// Whether a pod mounts [`GATEWAY_PORTS_CONFIG_MAP`](crate::api::ownership::GATEWAY_PORTS_CONFIG_MAP): where none
    /// does, nothing is to be written into the namespace.
    pub followed: bool,
}

/// What became of the ports that one Gateway needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Where the servers can be reached, by server port and Service.
    pub exposed: Vec<Exposure>,
    /// What keeps servers from being reached, in the order of the servers; empty: all is well.
    pub findings: Vec<Finding>,
}

impl GatewayPlan {
    /// Whether all is well but for ports that the API server has yet to get.
    pub fn is_settling(&self) -> bool {
        self.findings.is_empty() && self.exposed.iter().any(|at| !at.live)
    }
}

/// A server port that a Service exposes once its plan is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposure {
    /// `spec.servers[].port.number`.
    pub port: u16,
    /// The Service.
    pub service: ObjectKey,
    /// Its port.
    pub service_port: u16,
    /// The port on every node; `None` when there is none, or none yet.
    pub node_port: Option<u16>,
    /// The port that the pods listen on; `None` when it is named and no pod says what the name means.
    pub target_port: Option<u16>,
    /// Whether the Service's port is ours; otherwise somebody else put it there.
    pub ours: bool,
    /// Whether the Service has the port already as it must be.
    pub live: bool,
}

/// Derives the plan. Costs one pass over the pods, Services and Gateways.
pub fn plan(world: &World) -> Plan {
    let gateways = claims::of_gateways(world);
    let selectors = gateways.iter().map(|gateway| gateway.selector);
    let node_ports = gateways
        .iter()
        .flat_map(|gateway| gateway.node_ports.values().copied());
    let members = members::of_selectors(world, selectors, node_ports.collect());
    merge::plan(world, &gateways, &members)
}
