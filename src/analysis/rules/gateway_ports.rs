//! Ports of Gateways that no Service exposes, as [`crate::gateway`] finds them.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::api::networking::GatewaySpec;
use crate::api::text::enumeration;
use crate::gateway::Reason;
use crate::world::{ObjectKey, ServicePort, ServiceSpec, TargetPort};

use super::{Inspected, Report};

/// What [`ports_are_exposed`] may say.
pub(super) const SAYS: &[&Diagnosis] = &[
    &say::PORT_NOT_ALLOWED,
    &say::PORT_NOT_MANAGED,
    &say::SERVICE_PORT_UNNAMED,
    &say::SERVICE_UNSUPPORTED,
    &say::NO_GATEWAY_SERVICE,
    &say::PORT_CONFLICT,
    &say::NO_GATEWAY_SELECTOR,
    &say::NODE_PORT_INVALID,
    &say::NODE_PORT_CONFLICT,
    &say::NODE_PORT_TAKEN,
    &say::NODE_PORT_UNSUPPORTED,
];

/// Every server's port is on a Service, or is put there. Istio: IST0162, which can only be said of a live cluster.
pub(super) fn ports_are_exposed(
    view: &View<'_>,
    gateway: &Inspected<'_, GatewaySpec>,
    report: &mut Report<'_>,
) {
    for finding in view.port_findings(gateway.key) {
        if let Some(diagnosis) = diagnosis(finding.reason) {
            report.say(diagnosis, &finding.path, &finding.text);
        }
    }
}

/// Every server's port is on a Service of the Gateway's pods as it is now, by its number there or on the pods. Said of
/// ports about which [`ports_are_exposed`] has nothing to say, because they are going to be added. Istio: IST0162.
pub(super) fn ports_are_on_a_service(
    view: &View<'_>,
    gateway: &Inspected<'_, GatewaySpec>,
    report: &mut Report<'_>,
) {
    let selector = &gateway.spec.selector;
    if selector.is_empty() {
        return;
    }
    let mut services: BTreeMap<&ObjectKey, &ServiceSpec> = BTreeMap::new();
    let stays = view.settings().gateways_stay_in_their_namespace;
    let own = |pod: &&ObjectKey| !stays || pod.namespace == gateway.key.namespace;
    for pod in view.pods(selector).filter(own) {
        if let Some(labels) = view.labels(pod) {
            services.extend(view.selecting(&pod.namespace, labels));
        }
    }
    if services.is_empty() {
        return;
    }
    let of_pods = |port: &ServicePort| match port.target_port {
        Some(TargetPort::Number(number)) => number,
        _ => port.port,
    };
    let offered: BTreeSet<u32> = services
        .values()
        .flat_map(|service| &service.ports)
        .filter(|port| matches!(port.protocol.as_str(), "" | "TCP"))
        .flat_map(|port| [port.port, of_pods(port)])
        .map(u32::from)
        .collect();
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let Some(port) = &server.port else { continue };
        let path = format!("spec.servers[{index}].port");
        let mut findings = view.port_findings(gateway.key).iter();
        if offered.contains(&port.number) || findings.any(|finding| finding.path.starts_with(&path))
        {
            continue;
        }
        let names = services.keys().map(ToString::to_string);
        let text = format!(
            "port {} is not on {} yet, which has {}",
            port.number,
            enumeration(names),
            enumeration(&offered)
        );
        let message = report.say(&say::PORT_PENDING, format!("{path}.number"), text);
        for service in services.keys().take(MOST_SERVICES) {
            message.concerning(service);
        }
    }
}

/// Most Services that a message names.
const MOST_SERVICES: usize = 10;

/// `None`: another rule says it, or only the condition does, because no object is wrong. Files without pods are no
/// reason to say anything: `NoPods` is IST0101's.
fn diagnosis(reason: Reason) -> Option<&'static Diagnosis> {
    match reason {
        Reason::NotAllowed => Some(&say::PORT_NOT_ALLOWED),
        Reason::NotManaged => Some(&say::PORT_NOT_MANAGED),
        Reason::ServicePortUnnamed => Some(&say::SERVICE_PORT_UNNAMED),
        Reason::ServiceUnsupported => Some(&say::SERVICE_UNSUPPORTED),
        Reason::NoService => Some(&say::NO_GATEWAY_SERVICE),
        Reason::Conflict => Some(&say::PORT_CONFLICT),
        Reason::NoSelector => Some(&say::NO_GATEWAY_SELECTOR),
        Reason::NodePortInvalid => Some(&say::NODE_PORT_INVALID),
        Reason::NodePortConflict => Some(&say::NODE_PORT_CONFLICT),
        Reason::NodePortTaken => Some(&say::NODE_PORT_TAKEN),
        Reason::NodePortUnsupported => Some(&say::NODE_PORT_UNSUPPORTED),
        Reason::InvalidPort
        | Reason::NoPods
        | Reason::OptedOut
        | Reason::NodePortOutOfRange
        | Reason::NodePortsExhausted
        | Reason::FieldConflict
        | Reason::Overwritten
        | Reason::Forbidden
        | Reason::Refused => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::analysis::conditions::{
        CONFLICTED, Condition, PORTS_EXPOSED, READY, STALLED, desired,
    };
    use crate::analysis::{Snapshot, preview};
    use crate::api::kind::Kind;
    use crate::world::{ObjectKey, World};

    fn service(annotations: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"namespace": "edge", "name": "gateway", "annotations": annotations},
               "spec": {"selector": {"istio": "ingressgateway"}, "ports": [{"name": "http", "port": 80}]}})
    }

    fn gateway() -> Value {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
               "metadata": {"namespace": "shop", "name": "shop"},
               "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
                   {"port": {"number": 8088, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]}})
    }

    #[test]
    fn port_that_no_service_exposes_turns_a_condition_until_the_service_allows_it() {
        let mut world = World::default();
        world.apply(&service(json!({}))).unwrap();
        world.apply(&gateway()).unwrap();
        let key = ObjectKey::new(Kind::Gateway, "shop", "shop");
        let snapshot = Snapshot::new(world.clone());
        let conditions = desired(snapshot.messages(&key), &snapshot.standing(&key));
        for kind in [PORTS_EXPOSED, READY] {
            let condition = conditions.iter().find(|one| one.kind == kind).unwrap();
            assert_eq!(
                (&*condition.status, &*condition.reason),
                ("False", "NotAllowed")
            );
            let cure =
                "kubectl -n edge annotate service gateway outrigger.dev/allow-gateways-from='shop'";
            assert!(
                condition.message.starts_with("spec.servers[0].port: "),
                "{}",
                condition.message
            );
            assert!(condition.message.contains(cure), "{}", condition.message);
        }

        let allow = json!({"outrigger.dev/allow-gateways-from": "shop"});
        let change = world.apply(&service(allow.clone())).unwrap().unwrap();
        let (cured, concerned) = snapshot.update(world.clone(), &[change]);
        assert!(concerned.contains(&key), "its status is to be written");
        let of = |snapshot: &Snapshot, kind: &str| {
            let conditions = desired(snapshot.messages(&key), &snapshot.standing(&key));
            let found = conditions.into_iter().find(|one| one.kind == kind);
            found
                .map(|one| (one.status, one.reason, one.message))
                .unwrap()
        };
        let (status, reason, message) = of(&cured, PORTS_EXPOSED);
        assert_eq!((&*status, &*reason), ("Unknown", "Pending"));
        assert_eq!(message, "8088 is about to be on Service edge/gateway");
        assert_eq!(of(&cured, READY).0, "True");

        let mut written = service(allow);
        let port = json!({"name": "http-8088", "port": 8088, "appProtocol": "http"});
        written["spec"]["ports"].as_array_mut().unwrap().push(port);
        let change = world.apply(&written).unwrap().unwrap();
        let (exposed, concerned) = cured.update(world, &[change]);
        assert!(concerned.contains(&key), "its status is to be written");
        let (status, _, message) = of(&exposed, PORTS_EXPOSED);
        let way = "8088 on Service edge/gateway port 8088, pods listen on 8088";
        assert_eq!((&*status, &*message), ("True", way));
    }

    #[test]
    fn gateways_with_two_protocols_on_one_port_are_conflicted_until_one_gives_way() {
        let of = |name: &str, protocol: &str| {
            let mut gateway = gateway();
            gateway["metadata"] = json!({"namespace": "edge", "name": name});
            gateway["spec"]["servers"][0]["port"]["protocol"] = json!(protocol);
            gateway
        };
        let mut world = World::default();
        let objects = [service(json!({})), of("a", "HTTP"), of("b", "TCP")];
        for object in objects {
            world.apply(&object).unwrap();
        }
        let snapshot = Snapshot::new(world.clone());
        let conditions = |snapshot: &Snapshot, name: &str| {
            let key = ObjectKey::new(Kind::Gateway, "edge", name);
            desired(snapshot.messages(&key), &snapshot.standing(&key))
        };
        let find = |conditions: &[Condition], kind: &str| {
            let found = conditions.iter().find(|one| one.kind == kind);
            found.map(|one| (one.status.clone(), one.reason.clone(), one.message.clone()))
        };
        for name in ["a", "b"] {
            let now = conditions(&snapshot, name);
            for (kind, status) in [
                (CONFLICTED, "True"),
                (PORTS_EXPOSED, "False"),
                (READY, "False"),
                (STALLED, "True"),
            ] {
                let (found, reason, message) = find(&now, kind).unwrap();
                assert_eq!(
                    (&*found, &*reason),
                    (status, "Conflict"),
                    "{kind} of {name}"
                );
                let both = "HTTP 8088 by Gateway edge/a, TCP 8088 by Gateway edge/b";
                assert!(message.contains(both), "{message}");
            }
        }
        let change = world.apply(&of("b", "GRPC")).unwrap().unwrap();
        let (cured, concerned) = snapshot.update(world, &[change]);
        assert!(concerned.contains(&ObjectKey::new(Kind::Gateway, "edge", "a")));
        let now = conditions(&cured, "a");
        assert_eq!((find(&now, CONFLICTED), find(&now, STALLED)), (None, None));
    }

    #[test]
    fn applying_a_gateway_warns_before_it_is_stored() {
        let mut world = World::default();
        world.apply(&service(json!({}))).unwrap();
        let messages = preview(&Snapshot::new(world), &gateway());
        let reasons: Vec<&str> = messages.iter().map(|message| message.reason).collect();
        assert!(reasons.contains(&"NotAllowed"), "{messages:?}");
    }

    #[test]
    fn files_without_services_and_pods_say_nothing_about_ports() {
        let mut world = World::default();
        world.apply(&gateway()).unwrap();
        let snapshot = Snapshot::new(world);
        let said = snapshot.all_messages();
        let reasons: Vec<&str> = said.iter().map(|message| message.reason).collect();
        assert_eq!(reasons, ["WorkloadNotFound", "NoRoutes"]);
    }
}
