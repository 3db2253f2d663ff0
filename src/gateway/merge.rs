//! What the Gateways ask for, laid over what the Services have.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Claim, GatewayClaims};
use super::finding::{Finding, Reason, Refusal, of_trouble};
use super::members::Members;
use super::node_ports;
use super::settled::{Ask, Settled};
use super::{Exposure, GatewayPlan, Plan};
use crate::api::annotations::MANAGE_PORTS;
use crate::api::ports::OF_THE_PROXY;
use crate::world::{ObjectKey, World};

/// The Services that any Gateway concerns, with their ports decided.
pub(super) type AllSettled<'a> = BTreeMap<&'a ObjectKey, Settled<'a>>;

/// Settles every Service, then reads off what that means for each Gateway.
pub(super) fn plan<'a>(
    world: &'a World,
    gateways: &'a [GatewayClaims<'a>],
    members: &'a Members<'a>,
) -> Plan {
    let mut settled = settle(world, gateways, members);
    let mut unmet = node_ports::assign(gateways, members, &mut settled);
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
        let mut outcome = outcome(gateway, members, &settled);
        outcome
            .findings
            .extend(unmet.remove(gateway.key).unwrap_or_default());
        for exposure in &outcome.exposed {
            listen(&mut plan, members, exposure);
        }
        plan.gateways.insert(gateway.key.clone(), outcome);
    }
    plan
}

fn settle<'a>(
    world: &'a World,
    gateways: &'a [GatewayClaims<'a>],
    members: &'a Members<'a>,
) -> AllSettled<'a> {
    let mut asks: BTreeMap<&ObjectKey, Vec<Ask<'a>>> = BTreeMap::new();
    for gateway in gateways.iter().filter(|gateway| gateway.managed) {
        for (service, membership) in members.of(gateway.selector) {
            let asked = asks.entry(service).or_default();
            asked.extend(gateway.claims.iter().map(|claim| Ask {
                gateway: gateway.key,
                claim,
                node_port: gateway.node_ports.get(&claim.port).copied(),
                membership: *membership,
            }));
        }
    }
    members
        .services
        .iter()
        .map(|(key, member)| {
            let asks = asks.get(key).map_or(&[][..], Vec::as_slice);
            (*key, Settled::new(member, asks, world.port_write(key)))
        })
        .collect()
}

/// Notes that the pods behind an exposed port must listen.
fn listen(plan: &mut Plan, members: &Members<'_>, exposure: &Exposure) {
    let own = |port: &u16| OF_THE_PROXY.contains(port);
    let Some(target) = exposure.target_port.filter(|port| !own(port)) else {
        return;
    };
    let namespace = exposure.service.namespace.clone();
    let listeners = plan.listeners.entry(namespace).or_default();
    listeners.ports.insert(target);
    listeners.followed |= members
        .services
        .get(&exposure.service)
        .is_some_and(|member| member.pods.iter().any(|pod| pod.reads_gateway_ports));
}

/// What all Services of a Gateway make of its servers.
fn outcome(
    gateway: &GatewayClaims<'_>,
    members: &Members<'_>,
    settled: &AllSettled<'_>,
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
        if gateway.managed {
            let mut against = troubles(gateway, claim, &services);
            if against.is_empty() {
                against.extend(shortcoming(gateway, claim, &services, here.is_empty()));
            }
            if against.is_empty() && here.is_empty() && !gateway.selector.labels.is_empty() {
                let has_pods = members.has_pods(gateway.selector);
                against.push(no_service(gateway, claim, has_pods));
            }
            findings.extend(against);
        } else if here.is_empty() {
            findings.push(opted_out(claim));
        }
        exposed.extend(here);
    }
    GatewayPlan {
        exposed: exposed.into_iter().collect(),
        findings,
    }
}

/// What the Services have against a server, where none exposes it or two protocols meet.
fn shortcoming(
    gateway: &GatewayClaims<'_>,
    claim: &Claim,
    services: &[&Settled<'_>],
    nowhere: bool,
) -> Option<Finding> {
    let refusals = services.iter();
    let refusals = refusals
        .filter_map(|service| Some((service.refusal(gateway.key, claim.port)?, service.key())));
    let (refusal, service) = refusals.min()?;
    let conflict = matches!(refusal, Refusal::Conflict { .. });
    (conflict || nowhere).then(|| {
        let namespace = &gateway.key.namespace;
        refusal.finding(service, namespace, claim.port, claim.path.clone())
    })
}

/// What the API server and others made of the port when it was written.
fn troubles(gateway: &GatewayClaims<'_>, claim: &Claim, services: &[&Settled<'_>]) -> Vec<Finding> {
    let node_port = gateway.node_ports.get(&claim.port).copied();
    services
        .iter()
        .filter(|service| service.welcomes(gateway.key))
        .flat_map(|service| {
            let troubles = service.troubles(claim.port);
            troubles.filter_map(|trouble| of_trouble(trouble, service.key(), claim, node_port))
        })
        .collect()
}

fn opted_out(claim: &Claim) -> Finding {
    Finding {
        reason: Reason::OptedOut,
        path: claim.path.clone(),
        text: format!(
            "port {} is on no Service, and the Gateway's annotation {MANAGE_PORTS} says that ports are managed by hand",
            claim.port
        ),
    }
}

fn no_service(gateway: &GatewayClaims<'_>, claim: &Claim, has_pods: bool) -> Finding {
    let labels: Vec<String> = gateway
        .selector
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let (reason, missing) = if has_pods {
        (Reason::NoService, "no Service selects the pods with")
    } else {
        (Reason::NoPods, "no pod and no Service's selector has")
    };
    let place = match gateway.selector.namespace {
        Some(namespace) => format!(" in namespace {namespace}, to which Gateways are confined"),
        None => String::new(),
    };
    Finding {
        reason,
        path: claim.path.clone(),
        text: format!(
            "port {} is not reachable: {missing} the labels {} of spec.selector{place}",
            claim.port,
            labels.join(",")
        ),
    }
}
