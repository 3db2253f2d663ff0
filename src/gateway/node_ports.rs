//! The ports on every node that Gateways ask for by the annotation `outrigger.dev/node-ports`.
//!
//! A node port belongs to one port of one Service in the whole cluster. So a Gateway with several Services gets it on the
//! first of them, by namespace and name, that has node ports at all and where the port is ours. What cannot be had
//! is left out of the plan, not the port itself: it keeps the node port that it has, or gets any.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::GatewayClaims;
use super::finding::{Finding, Reason};
use super::members::Members;
use super::merge::AllSettled;
use crate::api::annotations::NODE_PORTS;
use crate::api::text::enumeration;
use crate::world::ObjectKey;

/// A port of a Service.
type Place<'a> = (&'a ObjectKey, u16);

/// A Gateway that asks for a node port.
struct Wish<'a> {
    gateway: &'a ObjectKey,
    node_port: u16,
    place: Place<'a>,
}

/// The finding about the annotation.
fn finding(reason: Reason, text: String) -> Finding {
    Finding {
        reason,
        path: path(),
        text,
    }
}

/// The field of the annotation.
pub(super) fn path() -> String {
    format!("metadata.annotations[{NODE_PORTS}]")
}

/// Reads the annotation: port → node port.
///
/// # Errors
/// It is not a list of `PORT=NODE_PORT`, or says two things about one of them.
pub(super) fn read(annotations: &BTreeMap<String, String>) -> Result<BTreeMap<u16, u16>, Finding> {
    let text = annotations.get(NODE_PORTS).map_or("", String::as_str);
    parse(text).map_err(|why| finding(Reason::NodePortInvalid, why))
}

fn parse(text: &str) -> Result<BTreeMap<u16, u16>, String> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let mut by_port = BTreeMap::new();
    let mut node_ports = BTreeSet::new();
    let items = text.split(',').map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        let pair = item
            .split_once('=')
            .and_then(|(port, node_port)| Some((number(port)?, number(node_port)?)));
        let Some((port, node_port)) = pair else {
            return Err(format!(
                "{item:?} is not PORT=NODE_PORT with numbers from 1 to 65535, as in 8088=30080"
            ));
        };
        if by_port.insert(port, node_port).is_some() {
            return Err(format!("port {port} is there twice"));
        }
        if !node_ports.insert(node_port) {
            return Err(format!("node port {node_port} is there twice"));
        }
    }
    Ok(by_port)
}

/// Adds to the plans the node ports that can be asked for, and returns what is to be said to each Gateway about those
/// that can't.
pub(super) fn assign<'a>(
    gateways: &'a [GatewayClaims<'a>],
    members: &Members<'a>,
    settled: &mut AllSettled<'a>,
) -> BTreeMap<&'a ObjectKey, Vec<Finding>> {
    let mut unmet: BTreeMap<&ObjectKey, Vec<Finding>> = BTreeMap::new();
    let mut wishes = Vec::new();
    for gateway in gateways {
        for (port, node_port) in &gateway.node_ports {
            match place(gateway, *port, *node_port, members, settled) {
                Ok(Some(place)) => wishes.push(Wish {
                    gateway: gateway.key,
                    node_port: *node_port,
                    place,
                }),
                Ok(None) => {}
                Err(finding) => unmet.entry(gateway.key).or_default().push(finding),
            }
        }
    }
    let rivals = Rivals::of(&wishes);
    for wish in &wishes {
        match rivals
            .over_the_place(wish)
            .or_else(|| taken(wish, members))
            .or_else(|| rivals.over_the_node_port(wish, members))
        {
            Some(finding) => unmet.entry(wish.gateway).or_default().push(finding),
            None => {
                if let Some(service) = settled.get_mut(wish.place.0) {
                    service.set_node_port(wish.place.1, wish.node_port);
                }
            }
        }
    }
    unmet
}

/// Where a Gateway's node port is, or would be; `None` where the port is on no Service, which others say.
fn place<'a>(
    gateway: &GatewayClaims<'a>,
    port: u16,
    node_port: u16,
    members: &Members<'a>,
    settled: &AllSettled<'a>,
) -> Result<Option<Place<'a>>, Finding> {
    if !gateway.claims.iter().any(|claim| claim.port == port) {
        let text = format!(
            "no server of the Gateway needs port {port}, for which it asks for a node port"
        );
        return Err(finding(Reason::NodePortInvalid, text));
    }
    let of_gateway = members.of(gateway.selector).iter();
    let exposed: Vec<_> = of_gateway
        .filter_map(|(key, _)| settled.get(key))
        .filter_map(|service| Some((service, service.exposure(port)?)))
        .collect();
    let there = exposed
        .iter()
        .find(|(_, exposure)| exposure.node_port == Some(node_port));
    let possible = exposed.iter().find(|(service, exposure)| {
        exposure.ours && service.plans(port) && service.type_without_node_ports().is_none()
    });
    if let Some((service, exposure)) = there.or(possible) {
        return Ok(Some((service.key(), exposure.service_port)));
    }
    let Some((service, exposure)) = exposed.first() else {
        return Ok(None);
    };
    let name = service.key().qualified_name();
    let text = match service.type_without_node_ports() {
        Some(kind) => format!(
            "port {port} can't have node port {node_port}: Service {name} is of type {kind}, which has none; make it \
             NodePort or LoadBalancer"
        ),
        None => {
            let has = exposure
                .node_port
                .map_or("none".to_owned(), |port| port.to_string());
            format!(
                "port {} of Service {name} is somebody else's, who alone can give it node port {node_port}; it has {has}",
                exposure.service_port
            )
        }
    };
    Err(finding(Reason::NodePortUnsupported, text))
}

/// Another port in the cluster that has the node port.
fn taken(wish: &Wish<'_>, members: &Members<'_>) -> Option<Finding> {
    let owners = members.node_ports.get(&wish.node_port)?;
    let (service, port) = owners.iter().find(|owner| **owner != wish.place)?;
    let text = format!(
        "node port {} belongs to port {port} of Service {}; ask for another one",
        wish.node_port,
        service.qualified_name()
    );
    Some(finding(Reason::NodePortTaken, text))
}

/// Who asks for what, to find those that want different things.
struct Rivals<'a> {
    by_place: BTreeMap<Place<'a>, BTreeSet<(u16, &'a ObjectKey)>>,
    by_node_port: BTreeMap<u16, BTreeSet<(Place<'a>, &'a ObjectKey)>>,
}

impl<'a> Rivals<'a> {
    fn of(wishes: &[Wish<'a>]) -> Self {
        let mut rivals = Rivals {
            by_place: BTreeMap::new(),
            by_node_port: BTreeMap::new(),
        };
        for wish in wishes {
            let of_place = rivals.by_place.entry(wish.place).or_default();
            of_place.insert((wish.node_port, wish.gateway));
            let of_node_port = rivals.by_node_port.entry(wish.node_port).or_default();
            of_node_port.insert((wish.place, wish.gateway));
        }
        rivals
    }

    /// Another node port is asked for the same port: then it keeps the one that it has.
    fn over_the_place(&self, wish: &Wish<'a>) -> Option<Finding> {
        let (service, port) = wish.place;
        let here = self.by_place.get(&wish.place)?;
        let text = format!(
            "port {port} of Service {} can have one node port, and is asked to have {}; it keeps the one it has",
            service.qualified_name(),
            enumeration(here.iter().map(|(node_port, gateway)| format!(
                "{node_port} by Gateway {}",
                gateway.qualified_name()
            )))
        );
        let differs = here.iter().any(|(other, _)| *other != wish.node_port);
        differs.then(|| finding(Reason::NodePortConflict, text))
    }

    /// The node port is asked for other ports too, and nobody has it: then nobody gets it. Who has it keeps it.
    fn over_the_node_port(&self, wish: &Wish<'a>, members: &Members<'_>) -> Option<Finding> {
        let there = self.by_node_port.get(&wish.node_port)?;
        let text = format!(
            "one port can have node port {}, and several are to have it: {}; none was given it",
            wish.node_port,
            enumeration(there.iter().map(|((service, port), gateway)| format!(
                "port {port} of Service {} for Gateway {}",
                service.qualified_name(),
                gateway.qualified_name()
            )))
        );
        let differs = there.iter().any(|(other, _)| *other != wish.place);
        let is_free = !members.node_ports.contains_key(&wish.node_port);
        (differs && is_free).then(|| finding(Reason::NodePortConflict, text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ports_and_their_node_ports_are_read_and_what_is_wrong_is_named() {
        let pairs = |text: &str| parse(text).map(|ports| ports.into_iter().collect::<Vec<_>>());
        assert_eq!(pairs("8088=30080"), Ok(vec![(8088, 30080)]));
        assert_eq!(
            pairs(" 8443 = 30443 , 8088=30080,"),
            Ok(vec![(8088, 30080), (8443, 30443)])
        );
        assert_eq!(pairs(""), Ok(vec![]));
        for (wrong, named) in [
            ("8088", "\"8088\""),
            ("8088:30080", "\"8088:30080\""),
            ("8088=0", "\"8088=0\""),
            ("65536=30080", "\"65536=30080\""),
            ("8088=http", "\"8088=http\""),
            ("8088=30080,8088=30081", "port 8088 is there twice"),
            ("8088=30080,8089=30080", "node port 30080 is there twice"),
        ] {
            let error = pairs(wrong).unwrap_err();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|([0-9]{0,6}[=, :]){0,6}") {
            if let Ok(ports) = parse(&text) {
                let written: Vec<String> = ports.iter().map(|(port, node)| format!("{port}={node}")).collect();
                prop_assert_eq!(parse(&written.join(",")), Ok(ports));
            }
        }
    }
}
