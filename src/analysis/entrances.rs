//! Where a gateway is reached from outside of the cluster: at its load balancers, else at the nodes' own addresses.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use crate::api::text::enumeration;
use crate::gateway::Exposure;
use crate::world::{NodeAddress, NodeSpec, ObjectKey, ServiceSpec, World};

use super::view::View;

/// How many nodes a condition names: those that have been there for longest, so that the words stay while a cluster
/// grows and shrinks.
const NAMED: usize = 10;

/// How many addresses of them.
const LISTED: usize = 20;

/// Where the Services of a Gateway are reached from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrances {
    /// Addresses of load balancers.
    pub load_balancers: Vec<String>,
    /// Addresses of nodes, the oldest node first: those that take traffic for the node ports of a Service without the
    /// address of a load balancer.
    pub nodes: Vec<String>,
}

impl Entrances {
    pub(super) fn of<'a>(view: &View<'a>, world: &World, exposed: &'a [Exposure]) -> Entrances {
        let ways = Ways::of(view, exposed);
        let mut nodes = Unique::default();
        let oldest = oldest_first(world);
        for families in &ways.everywhere {
            for (_, node) in &oldest {
                nodes.add(best(node, families));
            }
        }
        for (key, service) in &ways.local {
            let names = nodes_of_pods(view, key, service);
            for (node, spec) in &oldest {
                if names.contains(&*node.name) {
                    nodes.add(best(spec, &service.ip_families));
                }
            }
        }
        Entrances {
            load_balancers: ways.load_balancers.list,
            nodes: nodes.list,
        }
    }
}

/// The same for the message of a condition. Where pods run is not said: it would change with each of their restarts.
pub(super) fn sentences<'a>(view: &View<'a>, exposed: &'a [Exposure]) -> Vec<String> {
    let ways = Ways::of(view, exposed);
    let mut sentences = Vec::new();
    if !ways.load_balancers.list.is_empty() {
        let addresses = enumeration(&ways.load_balancers.list);
        sentences.push(format!("Addresses: {addresses}."));
    }
    let firsts = ways.everywhere.iter();
    let firsts = firsts.map(|families| view.first_nodes().of_families(families));
    let firsts: Vec<&First> = firsts.collect();
    let mut nodes = Unique::default();
    nodes.add(
        firsts
            .iter()
            .flat_map(|first| first.addresses.iter().cloned()),
    );
    if !nodes.list.is_empty() {
        let mut next = firsts.iter().filter_map(|first| first.next.as_ref());
        let has_more = nodes.list.len() > LISTED || next.any(|next| !nodes.known.contains(next));
        let more = if has_more { " and more" } else { "" };
        let listed = enumeration(nodes.list.iter().take(LISTED));
        sentences.push(format!("Nodes: {listed}{more}."));
    }
    if !ways.local.is_empty() {
        let names = ways.local.iter().map(|(key, _)| key.qualified_name());
        sentences.push(format!(
            "Nodes: those that run a pod of Service {} (externalTrafficPolicy: Local).",
            enumeration(names)
        ));
    }
    sentences
}

/// How the Services of a Gateway are reached.
#[derive(Default)]
struct Ways<'a> {
    load_balancers: Unique,
    /// The families of the Services that have node ports on every node.
    everywhere: BTreeSet<&'a [String]>,
    /// The Services of which only nodes with a pod take traffic (`externalTrafficPolicy: Local`).
    local: Vec<(&'a ObjectKey, &'a ServiceSpec)>,
}

impl<'a> Ways<'a> {
    fn of(view: &View<'a>, exposed: &'a [Exposure]) -> Ways<'a> {
        let mut has_node_port: BTreeMap<&ObjectKey, bool> = BTreeMap::new();
        for at in exposed {
            *has_node_port.entry(&at.service).or_default() |= at.node_port.is_some();
        }
        let mut ways = Ways::default();
        for (key, has_node_port) in has_node_port {
            let object = view.object::<ServiceSpec>(key);
            let Some(service) = object.and_then(|object| object.spec()) else {
                continue;
            };
            if !service.load_balancer.is_empty() {
                ways.load_balancers
                    .add(service.load_balancer.iter().cloned());
            } else if has_node_port && service.external_traffic_policy == "Local" {
                ways.local.push((key, service));
            } else if has_node_port {
                ways.everywhere.insert(&service.ip_families);
            }
        }
        ways
    }
}

/// A list in which everything is once.
#[derive(Default)]
struct Unique {
    list: Vec<String>,
    known: HashSet<String>,
}

impl Unique {
    fn add(&mut self, more: impl IntoIterator<Item = String>) {
        for one in more {
            if self.known.insert(one.clone()) {
                self.list.push(one);
            }
        }
    }
}

/// The addresses of the oldest nodes, for each choice of families that a Service can have: made once for all Gateways, and
/// mostly the same when a node comes, changes or goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FirstNodes {
    any: First,
    v4: First,
    v6: First,
    both: First,
}

/// The addresses of the oldest nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct First {
    addresses: Vec<String>,
    /// One that another node has.
    next: Option<String>,
}

impl FirstNodes {
    pub(super) fn of(world: &World) -> FirstNodes {
        let nodes = oldest_first(world);
        let [v4, v6] = ["IPv4", "IPv6"].map(str::to_owned);
        FirstNodes {
            any: First::of(&nodes, &[]),
            both: First::of(&nodes, &[v4.clone(), v6.clone()]),
            v4: First::of(&nodes, &[v4]),
            v6: First::of(&nodes, &[v6]),
        }
    }

    fn of_families(&self, families: &[String]) -> &First {
        let has = |family: &str| families.iter().any(|one| one == family);
        match (has("IPv4"), has("IPv6")) {
            (true, true) => &self.both,
            (true, false) => &self.v4,
            (false, true) => &self.v6,
            (false, false) => &self.any,
        }
    }
}

impl First {
    fn of(nodes: &[(&ObjectKey, &NodeSpec)], families: &[String]) -> First {
        let addresses = nodes.iter().map(|(_, node)| best(node, families));
        let mut addresses = addresses.filter(|addresses| !addresses.is_empty());
        let mut first = Unique::default();
        for of_node in addresses.by_ref().take(NAMED) {
            first.add(of_node);
        }
        First {
            next: addresses.flatten().find(|one| !first.known.contains(one)),
            addresses: first.list,
        }
    }
}

/// The nodes that run pods of a Service.
fn nodes_of_pods<'a>(view: &View<'a>, key: &ObjectKey, service: &ServiceSpec) -> BTreeSet<&'a str> {
    if service.selector.is_empty() {
        return BTreeSet::new();
    }
    view.pods(&service.selector)
        .filter(|pod| pod.namespace == key.namespace)
        .filter_map(|pod| view.pod(pod))
        .filter(|pod| !pod.has_ended())
        .map(|pod| pod.node_name.as_str())
        .collect()
}

/// All nodes, by age and name.
fn oldest_first(world: &World) -> Vec<(&ObjectKey, &NodeSpec)> {
    let mut nodes: Vec<_> = world.all::<NodeSpec>().iter().collect();
    nodes.sort_by_key(|(key, node)| (node.meta.created, *key));
    nodes
        .into_iter()
        .filter_map(|(key, node)| Some((key, node.spec()?)))
        .collect()
}

/// The addresses of the best kind that a node has, among those of the families of a Service.
fn best(node: &NodeSpec, families: &[String]) -> Vec<String> {
    let is_served = |address: &&NodeAddress| {
        let family = match address.address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => "IPv4",
            Ok(IpAddr::V6(_)) => "IPv6",
            Err(_) => return true,
        };
        families.is_empty() || families.iter().any(|one| one == family)
    };
    let served: Vec<&NodeAddress> = node.addresses.iter().filter(is_served).collect();
    let best = served.first().map(|first| first.kind);
    served
        .into_iter()
        .filter(|one| Some(one.kind) == best)
        .map(|one| one.address.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::analysis::Snapshot;
    use crate::analysis::conditions::{Condition, READY, desired};
    use crate::analysis::gateway_status::GatewayStatus;
    use crate::api::kind::Kind;
    use crate::world::{ObjectKey, World};

    fn node(name: &str, created: u32, addresses: &[(&str, &str)]) -> Value {
        let addresses: Vec<Value> = addresses
            .iter()
            .map(|(kind, address)| json!({"type": kind, "address": address}))
            .collect();
        json!({"apiVersion": "v1", "kind": "Node",
               "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:{created:02}:00Z")},
               "status": {"addresses": addresses, "conditions": [{"type": "Ready", "lastHeartbeatTime": "x"}]}})
    }

    fn service(more: Value) -> Value {
        let mut service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "edge", "name": "gateway"},
            "spec": {"type": "NodePort", "selector": {"istio": "edge"}, "ipFamilies": ["IPv4"],
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]}});
        json_patch::merge(&mut service, &more);
        service
    }

    fn world(objects: impl IntoIterator<Item = Value>) -> World {
        let mut world = World::default();
        let gateway = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "edge", "name": "shop"},
            "spec": {"selector": {"istio": "edge"}, "servers": [
                {"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]}});
        for object in objects.into_iter().chain([gateway]) {
            world.apply(&object).unwrap();
        }
        world
    }

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::Gateway, "edge", "shop")
    }

    fn ready(snapshot: &Snapshot) -> Condition {
        let conditions = desired(snapshot.messages(&key()), &snapshot.standing(&key()));
        let mut conditions = conditions.into_iter();
        conditions.find(|one| one.kind == READY).unwrap()
    }

    fn nodes(snapshot: &Snapshot) -> Vec<String> {
        GatewayStatus::of(snapshot, &key()).unwrap().entrances.nodes
    }

    #[test]
    fn node_ports_are_at_each_nodes_best_address_of_the_services_families() {
        let nodes_here = || {
            [
                node(
                    "b",
                    1,
                    &[
                        ("InternalIP", "10.0.0.1"),
                        ("InternalIP", "fd00::1"),
                        ("ExternalIP", "fd00::2"),
                    ],
                ),
                node(
                    "a",
                    2,
                    &[
                        ("Hostname", "a"),
                        ("ExternalIP", "203.0.113.1"),
                        ("InternalIP", "10.0.0.2"),
                    ],
                ),
                node("c", 3, &[("InternalDNS", "c.internal"), ("Hostname", "c")]),
            ]
        };
        let four = Snapshot::new(world(nodes_here().into_iter().chain([service(json!({}))])));
        assert_eq!(nodes(&four), ["10.0.0.1", "203.0.113.1", "c"]);
        let said = ready(&four);
        assert!(
            said.message.contains(" Nodes: 10.0.0.1, 203.0.113.1, c. "),
            "{said:?}"
        );

        let both = service(json!({"spec": {"ipFamilies": ["IPv4", "IPv6"]}}));
        let both = Snapshot::new(world(nodes_here().into_iter().chain([both])));
        assert_eq!(nodes(&both), ["fd00::2", "203.0.113.1", "c"]);

        let balanced =
            service(json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}}));
        let balanced = Snapshot::new(world(nodes_here().into_iter().chain([balanced])));
        assert!(nodes(&balanced).is_empty());
        assert!(
            ready(&balanced)
                .message
                .contains("Addresses: 203.0.113.9. ")
        );
    }

    #[test]
    fn where_pods_run_is_told_to_who_asks_and_not_written_into_the_status() {
        let local = service(json!({"spec": {"externalTrafficPolicy": "Local"}}));
        let pod = |node: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": node},
            "metadata": {"namespace": "edge", "name": "gateway-1", "labels": {"istio": "edge"}}})
        };
        let of_names = ["a", "b"].map(|name| node(name, 1, &[("Hostname", name)]));
        let mut world = world(of_names.into_iter().chain([local, pod("a")]));
        let before = Snapshot::new(world.clone());
        assert_eq!(nodes(&before), ["a"]);
        let told = ready(&before);
        assert!(
            told.message.contains("Nodes: those that run a pod of Service edge/gateway (externalTrafficPolicy: Local)."),
            "{told:?}"
        );
        let change = world.apply(&pod("b")).unwrap().unwrap();
        let (after, _) = before.update(world, &[change]);
        assert_eq!(nodes(&after), ["b"]);
        assert_eq!(ready(&after), told);
    }

    /// Nodes with an IPv4 address, a Service for these and one for both families.
    fn ten_nodes_of_two_services() -> impl Iterator<Item = Value> {
        let ten = (10..20).map(|index| {
            let address = format!("10.0.0.{index}");
            node(&format!("n{index}"), index, &[("InternalIP", &address)])
        });
        let other =
            json!({"metadata": {"name": "other"}, "spec": {"ipFamilies": ["IPv4", "IPv6"]}});
        ten.chain([service(json!({})), service(other)])
    }

    #[test]
    fn nodes_of_two_services_with_the_same_addresses_are_no_more_than_those_of_one() {
        let told = ready(&Snapshot::new(world(ten_nodes_of_two_services())));
        assert!(told.message.contains(" 10.0.0.18, 10.0.0.19. "), "{told:?}");
    }

    #[test]
    fn addresses_that_another_service_has_among_its_first_are_no_more_and_many_of_a_node_are() {
        let v6 = node("n0", 1, &[("InternalIP", "fd00::1")]);
        let told = ready(&Snapshot::new(world(
            ten_nodes_of_two_services().chain([v6]),
        )));
        assert!(told.message.contains("10.0.0.19, fd00::1. "), "{told:?}");

        let many: Vec<String> = (10..40).map(|index| format!("10.0.0.{index}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|one| ("InternalIP", &**one)).collect();
        let of_many = [node("n0", 1, &many), service(json!({}))];
        let told = ready(&Snapshot::new(world(of_many)));
        assert!(told.message.contains(" 10.0.0.29 and more. "), "{told:?}");
    }

    #[test]
    fn heartbeats_and_new_nodes_of_a_large_cluster_change_no_status_and_a_new_address_does() {
        let many = (10..40).map(|index| {
            node(
                &format!("n{index}"),
                index,
                &[("InternalIP", &format!("10.0.0.{index}"))],
            )
        });
        let mut world = world(many.chain([service(json!({}))]));
        let before = Snapshot::new(world.clone());
        let told = ready(&before);
        assert!(told.message.contains(" 10.0.0.19 and more."), "{told:?}");

        let mut beat = node("n10", 10, &[("InternalIP", "10.0.0.10")]);
        beat["status"]["conditions"][0]["lastHeartbeatTime"] = json!("y");
        beat["metadata"]["resourceVersion"] = json!("2");
        let change = world.apply(&beat).unwrap().unwrap();
        assert!(!change.content);
        let change = [
            change,
            world
                .apply(&node("n40", 40, &[("InternalIP", "10.0.0.40")]))
                .unwrap()
                .unwrap(),
        ];
        let (grown, concerned) = before.update(world.clone(), &change);
        assert!(!concerned.contains(&key()));
        assert!(!grown.judged_since(&before).contains(&key()));
        assert_eq!(nodes(&grown).len(), 31);

        let change = world
            .apply(&node("n10", 10, &[("ExternalIP", "203.0.113.1")]))
            .unwrap()
            .unwrap();
        let (moved, concerned) = grown.update(world, &[change]);
        assert!(concerned.contains(&key()));
        assert!(
            ready(&moved)
                .message
                .contains("Nodes: 203.0.113.1, 10.0.0.11")
        );
    }
}
