//! The node ports that ports of ours have, remembered for when somebody rewrites the whole Service without them.
//!
//! Every replica remembers what it sees, so a new leader knows as well. What no replica has seen is lost: a port that was
//! removed while none ran comes back with another node port, unless a Gateway asks for one.

use std::collections::BTreeMap;

use crate::{gateway::ServicePlan, world::ObjectKey};

/// What is known of each Service.
#[derive(Debug, Default)]
pub(super) struct NodePorts(BTreeMap<ObjectKey, Known>);

#[derive(Debug)]
struct Known {
    uid: String,
    by_port: BTreeMap<u16, u16>,
}

impl NodePorts {
    /// Learns what the Services have now. What Gateways no longer need is forgotten, and so is a Service that is gone or
    /// has no node ports any more: then they are free for others.
    pub(super) fn learn(&mut self, plans: &BTreeMap<ObjectKey, ServicePlan>) {
        self.0.retain(|key, known| {
            let plan = plans.get(key);
            plan.is_some_and(|plan| plan.uid == known.uid && plan.node_ports.is_some())
        });
        for (key, plan) in plans {
            let Some(live) = &plan.node_ports else {
                continue;
            };
            let known = self.0.entry(key.clone()).or_insert_with(|| Known {
                uid: plan.uid.clone(),
                by_port: BTreeMap::new(),
            });
            known.by_port.extend(live);
            let needed = |port: u16| plan.ports.iter().any(|planned| planned.port == port);
            known.by_port.retain(|port, _| needed(*port));
        }
    }

    /// What the missing ports of a Service had, where that can be asked for beside what Gateways ask for.
    pub(super) fn of_missing(&self, key: &ObjectKey, plan: &ServicePlan) -> BTreeMap<u16, u16> {
        let known = self.0.get(key).filter(|known| known.uid == plan.uid);
        let wanted = |node_port: u16| {
            let mut ports = plan.ports.iter();
            ports.any(|port| port.node_port == Some(node_port))
        };
        known
            .into_iter()
            .flat_map(|known| &known.by_port)
            .map(|(port, node_port)| (*port, *node_port))
            .filter(|(port, node_port)| !plan.present.contains(port) && !wanted(*node_port))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::kind::Kind, gateway::PlannedPort};

    fn plan(uid: &str, ports: &[(u16, Option<u16>)], live: Option<&[(u16, u16)]>) -> ServicePlan {
        let port = |(number, node_port): &(u16, Option<u16>)| PlannedPort {
            name: format!("http-{number}"),
            port: *number,
            target_port: *number,
            app_protocol: "http".to_owned(),
            node_port: *node_port,
        };
        let live = live.map(|live| live.iter().copied().collect::<BTreeMap<u16, u16>>());
        ServicePlan {
            uid: uid.to_owned(),
            ports: ports.iter().map(port).collect(),
            present: live.iter().flat_map(|live| live.keys().copied()).collect(),
            node_ports: live,
            asked: BTreeMap::new(),
            in_sync: false,
        }
    }

    fn after(plans: &[ServicePlan]) -> BTreeMap<u16, u16> {
        let key = ObjectKey::new(Kind::Service, "edge", "gateway");
        let mut memory = NodePorts::default();
        for plan in plans {
            memory.learn(&BTreeMap::from([(key.clone(), plan.clone())]));
        }
        memory.of_missing(&key, &plans[plans.len() - 1])
    }

    #[test]
    fn port_that_was_removed_is_remembered_while_a_gateway_needs_it() {
        let both = [(8088, None), (8089, None)];
        let live = plan("u", &both, Some(&[(8088, 30001), (8089, 30002)]));
        assert_eq!(
            after(std::slice::from_ref(&live)),
            BTreeMap::new(),
            "nothing is missing"
        );
        let one_left = plan("u", &both, Some(&[(8089, 30002)]));
        assert_eq!(
            after(&[live.clone(), one_left]),
            BTreeMap::from([(8088, 30001)])
        );
        let unneeded = plan("u", &[(8089, None)], Some(&[(8089, 30002)]));
        let needed_again = plan("u", &both, Some(&[(8089, 30002)]));
        assert_eq!(after(&[live, unneeded, needed_again]), BTreeMap::new());
    }

    #[test]
    fn another_service_of_the_name_one_without_node_ports_and_what_gateways_ask_for_come_first() {
        let port = [(8088, None)];
        let live = plan("u", &port, Some(&[(8088, 30001)]));
        assert_eq!(
            after(&[live.clone(), plan("other", &port, Some(&[]))]),
            BTreeMap::new()
        );
        let inner = plan("u", &port, None);
        assert_eq!(
            after(&[live.clone(), inner, plan("u", &port, Some(&[]))]),
            BTreeMap::new()
        );
        let taken_over = plan("u", &[(8088, None), (8090, Some(30001))], Some(&[]));
        assert_eq!(after(&[live, taken_over]), BTreeMap::new());
    }
}
