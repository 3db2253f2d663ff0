//! What each Gateway asks for.

use std::collections::BTreeMap;

use super::finding::{Finding, Reason};
use super::members::Selector;
use super::node_ports;
use super::protocol::Protocol;
use crate::api::annotations::MANAGE_PORTS;
use crate::api::networking::{GatewaySpec, Server};
use crate::api::ports::OF_THE_PROXY;
use crate::world::{Object, ObjectKey, World};

/// A Gateway and the ports that it asks for.
pub(super) struct GatewayClaims<'a> {
    pub key: &'a ObjectKey,
    pub selector: Selector<'a>,
    /// By server; a server that needs no port of a Service is left out.
    pub claims: Vec<Claim>,
    /// By server port: the port on every node that it asks for.
    pub node_ports: BTreeMap<u16, u16>,
    /// Whether Services are changed for it; false when it opted out.
    pub managed: bool,
    /// What is wrong whatever the Services are.
    pub findings: Vec<Finding>,
}

/// A server's port.
pub(super) struct Claim {
    pub port: u16,
    pub protocol: Protocol,
    /// The server's field.
    pub path: String,
}

/// The claims of all Gateways that can be read.
pub(super) fn of_gateways(world: &World) -> Vec<GatewayClaims<'_>> {
    let confined = world.settings().gateways_stay_in_their_namespace;
    world
        .all::<GatewaySpec>()
        .iter()
        .filter_map(|(key, gateway)| of_gateway(key, gateway, confined))
        .collect()
}

/// Whether the annotation on a Gateway or Service says that ports are managed by hand.
pub(super) fn opted_out(annotations: &BTreeMap<String, String>) -> bool {
    annotations
        .get(MANAGE_PORTS)
        .is_some_and(|value| value == "false")
}

fn of_gateway<'a>(
    key: &'a ObjectKey,
    gateway: &'a Object<GatewaySpec>,
    confined: bool,
) -> Option<GatewayClaims<'a>> {
    let spec = gateway.spec()?;
    let mut claims = Vec::new();
    let mut findings = Vec::new();
    if spec.selector.is_empty() {
        findings.push(Finding {
            reason: Reason::NoSelector,
            path: "spec.selector".to_owned(),
            text: "without a selector the Gateway applies to every gateway, and no Service is changed for it; \
                   name the labels of the gateway's pods, for example `istio: ingressgateway`"
                .to_owned(),
        });
    }
    for (index, server) in spec.servers.iter().enumerate() {
        match claim(server, index) {
            Some(Ok(claim)) => claims.push(claim),
            Some(Err(finding)) => findings.push(finding),
            None => {}
        }
    }
    let managed = !opted_out(&gateway.meta.annotations);
    let node_ports = match node_ports::read(&gateway.meta.annotations) {
        Ok(node_ports) if managed => node_ports,
        Err(finding) if managed => {
            findings.push(finding);
            BTreeMap::new()
        }
        _ => BTreeMap::new(),
    };
    Some(GatewayClaims {
        key,
        selector: Selector {
            namespace: confined.then_some(&key.namespace),
            labels: &spec.selector,
        },
        claims,
        node_ports,
        managed,
        findings,
    })
}

/// The port that a server needs; `None` for a server that listens where no Service reaches it.
fn claim(server: &Server, index: usize) -> Option<Result<Claim, Finding>> {
    if listens_inside_the_pod(&server.bind) {
        return None;
    }
    let path = format!("spec.servers[{index}].port");
    let invalid = |field: &str, text: String| {
        Some(Err(Finding {
            reason: Reason::InvalidPort,
            path: format!("{path}{field}"),
            text,
        }))
    };
    let Some(port) = &server.port else {
        return invalid("", "the server has no port".to_owned());
    };
    let number = match u16::try_from(port.number) {
        Ok(number) if number > 0 => number,
        _ => {
            return invalid(
                ".number",
                format!("port {} is not in 1 to 65535", port.number),
            );
        }
    };
    if OF_THE_PROXY.contains(&number) {
        return invalid(
            ".number",
            format!("port {number} is used by the proxy itself"),
        );
    }
    let Some(protocol) = Protocol::parse(&port.protocol) else {
        return invalid(
            ".protocol",
            format!(
                "protocol {:?} is none that a server can speak; it can be {}",
                port.protocol,
                Protocol::all()
            ),
        );
    };
    Some(Ok(Claim {
        port: number,
        protocol,
        path,
    }))
}

/// Whether `spec.servers[].bind` is a Unix domain socket or a loopback address.
fn listens_inside_the_pod(bind: &str) -> bool {
    bind.starts_with("unix:")
        || bind
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
