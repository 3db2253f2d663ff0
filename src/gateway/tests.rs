//! Situations as golden cases (`tests/cases/*.yaml` → `tests/snapshots`), and what holds in every situation.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Plan, plan};
use crate::api::kind::Kind;
use crate::api::ownership::GATEWAY_FIELD_MANAGER;
use crate::world::{ObjectKey, PortTrouble, PortTroubleKind, PortWrite, Settings, World};

/// Says in `metadata.managedFields` what the members `ours` and `shared` of a case's Service say in short.
fn with_owners(mut object: Value) -> Value {
    let mut entries = Vec::new();
    let short = [
        ("ours", [GATEWAY_FIELD_MANAGER].as_slice()),
        ("shared", &[GATEWAY_FIELD_MANAGER, "helm"]),
    ];
    for (member, managers) in short {
        let ports = object
            .as_object_mut()
            .and_then(|object| object.remove(member));
        for port in ports.iter().filter_map(Value::as_array).flatten() {
            let key = format!("k:{{\"port\":{port},\"protocol\":\"TCP\"}}");
            entries.extend(managers.iter().map(|manager| {
                json!({"manager": manager, "operation": "Apply",
                       "fieldsV1": {"f:spec": {"f:ports": {&key: {".": {}, "f:port": {}}}}}})
            }));
        }
    }
    object["metadata"]["managedFields"] = json!(entries);
    object
}

/// What the member `troubles` of a case's Service says became of the last write.
fn troubles(object: &mut Value) -> Option<PortWrite> {
    use PortTroubleKind as Kind;
    let kinds = [
        ("NodePortTaken", Kind::NodePortTaken),
        ("NodePortOutOfRange", Kind::NodePortOutOfRange),
        ("NodePortsExhausted", Kind::NodePortsExhausted),
        ("FieldConflict", Kind::FieldConflict),
        ("Overwritten", Kind::Overwritten),
        ("Forbidden", Kind::Forbidden),
        ("Refused", Kind::Refused),
    ];
    let troubles = object.as_object_mut()?.remove("troubles")?;
    let trouble = |trouble: &Value| PortTrouble {
        kind: kinds
            .iter()
            .find(|(name, _)| trouble["kind"] == *name)
            .unwrap()
            .1,
        ports: serde_json::from_value(trouble["ports"].clone()).unwrap(),
        text: trouble["text"].as_str().unwrap().to_owned(),
    };
    Some(PortWrite {
        uid: object["metadata"]["uid"].as_str().unwrap().to_owned(),
        troubles: troubles.as_array().unwrap().iter().map(trouble).collect(),
    })
}

fn world(objects: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::default();
    for mut object in objects {
        let write = troubles(&mut object);
        let change = world.apply(&with_owners(object.clone())).unwrap();
        assert!(change.is_some(), "{object}");
        if write.is_some() {
            world.note_port_write(&ObjectKey::of(Kind::Service, &object), write);
        }
    }
    world
}

/// The plan, for people.
fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for (key, service) in &plan.services {
        let state = if service.in_sync {
            "in sync"
        } else {
            "to be written"
        };
        writeln!(text, "{key}: {state}").unwrap();
        for port in &service.ports {
            let (name, number, target, protocol) =
                (&port.name, port.port, port.target_port, &port.app_protocol);
            let node = port
                .node_port
                .map_or(String::new(), |port| format!(", node port {port}"));
            writeln!(text, "  {name} {number} -> {target} {protocol}{node}").unwrap();
        }
    }
    for (key, gateway) in &plan.gateways {
        writeln!(text, "{key}: PortsExposed={}", gateway.findings.is_empty()).unwrap();
        for at in &gateway.exposed {
            let target = at
                .target_port
                .map_or("?".to_owned(), |port| port.to_string());
            let node = at
                .node_port
                .map_or(String::new(), |port| format!(", node port {port}"));
            let service = at.service.qualified_name();
            let live = if at.live { "" } else { ", not yet" };
            writeln!(
                text,
                "  {} at {service}:{} -> {target}{node}{live}",
                at.port, at.service_port
            )
            .unwrap();
        }
        for finding in &gateway.findings {
            writeln!(
                text,
                "  {} {}: {}",
                finding.reason.as_str(),
                finding.path,
                finding.text
            )
            .unwrap();
        }
    }
    for (namespace, listeners) in &plan.listeners {
        let followed = if listeners.followed {
            ""
        } else {
            " (no pod follows)"
        };
        writeln!(
            text,
            "listeners in {namespace}: {:?}{followed}",
            listeners.ports
        )
        .unwrap();
    }
    text
}

#[test]
fn situations_lead_to_the_recorded_plans() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/tests/cases");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut count = 0;
    for entry in std::fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let yaml = std::fs::read_to_string(&path).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        settings.bind(|| insta::assert_snapshot!(name, render(&plan(&world(objects)))));
        count += 1;
    }
    assert!(count >= 20, "{count} cases");
}

const NUMBERS: [u32; 10] = [0, 80, 81, 90, 443, 8080, 8081, 8088, 8090, 15021];
const PROTOCOLS: [&str; 6] = ["HTTP", "GRPC", "HTTPS", "TLS", "TCP", "MONGO"];

prop_compose! {
    fn gateway(name: usize)(
        namespace in prop::sample::select(&["edge", "shop", "evil"]),
        servers in prop::collection::vec((prop::sample::select(&NUMBERS), prop::sample::select(&PROTOCOLS)), 0..4),
    ) -> Value {
        let servers: Vec<Value> = servers
            .into_iter()
            .map(|(number, protocol)| json!({"port": {"number": number, "protocol": protocol, "name": "p"}, "hosts": ["*"]}))
            .collect();
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
               "metadata": {"namespace": namespace, "name": format!("gateway-{name}")},
               "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers}})
    }
}

fn gateways() -> impl Strategy<Value = Vec<Value>> {
    (0_usize..6).prop_flat_map(|count| (0..count).map(gateway).collect::<Vec<_>>())
}

/// A Service with ports of others, and some of ours.
fn service() -> impl Strategy<Value = Value> {
    let numbers = || prop::sample::subsequence(NUMBERS[1..].to_vec(), 0..5);
    let allowed = prop::sample::select(&["", "shop", "*"]);
    (numbers(), numbers(), 0_u32..3, allowed).prop_map(|(foreign, ours, offset, allowed)| {
        let ours: Vec<u32> = ours.into_iter().filter(|port| !foreign.contains(port)).collect();
        let port = |name: &str, number: u32, target: u32| {
            json!({"name": format!("{name}-{number}"), "port": number, "targetPort": target, "protocol": "TCP"})
        };
        // Some names of others are those that ours would like to have.
        let foreign = foreign.iter().enumerate().map(|(index, number)| {
            port(if index == 0 { "http" } else { "p" }, *number, number + offset * 8000)
        });
        let ports: Vec<Value> = foreign.chain(ours.iter().map(|number| port("old", *number, *number))).collect();
        json!({"apiVersion": "v1", "kind": "Service", "ours": ours,
               "metadata": {"namespace": "edge", "name": "gateway", "uid": "uid-1",
                            "annotations": {"outrigger.dev/allow-gateways-from": allowed}},
               "spec": {"selector": {"istio": "ingressgateway"}, "ports": ports}})
    })
}

fn of_service<'a>(plan: &'a Plan, service: &Value) -> Option<&'a super::ServicePlan> {
    plan.services.get(&ObjectKey::of(Kind::Service, service))
}

/// The Service as the API server has it after the plan was applied.
fn applied(service: &Value, plan: &super::ServicePlan) -> Value {
    let mut service = service.clone();
    let ours = std::mem::take(&mut service["ours"]);
    let is_ours = |port: &Value| {
        ours.as_array()
            .is_some_and(|ours| ours.contains(&port["port"]))
    };
    let mut ports: Vec<Value> = service["spec"]["ports"].as_array().unwrap().clone();
    ports.retain(|port| !is_ours(port));
    ports.extend(plan.ports.iter().map(|port| {
        json!({"name": port.name, "port": port.port, "targetPort": port.target_port, "protocol": "TCP",
               "appProtocol": port.app_protocol})
    }));
    service["spec"]["ports"] = json!(ports);
    service["ours"] = plan.ports.iter().map(|port| port.port).collect();
    service
}

/// A change of something that a plan may depend on: an object to apply, or to delete.
fn change() -> impl Strategy<Value = (Value, bool)> {
    let place = (
        prop::sample::select(&["a", "b"]),
        prop::sample::select(&["x", "y"]),
    );
    let selectors = [
        json!({}),
        json!({"app": "x"}),
        json!({"app": "x", "tier": "edge"}),
        json!({"app": "y"}),
    ];
    let selector = prop::sample::select(selectors.to_vec());
    let kind = prop::sample::select(&["Gateway", "Service", "Pod"]);
    (kind, place, selector, prop::sample::select(&["", "8088"]), prop::bool::weighted(0.3)).prop_map(
        |(kind, (namespace, name), labels, ours, delete)| {
            let metadata = json!({"namespace": namespace, "name": name, "uid": "u"});
            let ours: Vec<u16> = ours.parse().into_iter().collect();
            let object = match kind {
                "Gateway" => json!({
                    "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata,
                    "spec": {"selector": labels, "servers": [
                        {"port": {"number": 8088, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]}}),
                "Service" => json!({
                    "apiVersion": "v1", "kind": kind, "metadata": metadata, "ours": ours,
                    "spec": {"selector": labels, "ports": [
                        {"name": "http", "port": 80}, {"name": "http-8088", "port": 8088}]}}),
                _ => json!({
                    "apiVersion": "v1", "kind": kind, "spec": {},
                    "metadata": {"namespace": namespace, "name": name, "labels": labels}}),
            };
            (object, delete)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn plan_updated_change_by_change_equals_the_one_made_at_once(changes in prop::collection::vec(change(), 1..16)) {
        let mut world = World::default();
        let mut known = plan(&world);
        for (object, delete) in changes {
            let mut next = world.clone();
            let kind = Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
            let key = ObjectKey::of(kind, &object);
            if delete {
                next.delete(&key);
            } else {
                next.apply(&with_owners(object)).unwrap();
            }
            known = known.update(&world, &next, [&key]).unwrap_or(known);
            prop_assert_eq!(&known, &plan(&next), "after {}", key);
            world = next;
        }
    }

    #[test]
    fn plan_does_not_depend_on_the_order_in_which_objects_came(
        (objects, shuffled) in (gateways(), service()).prop_flat_map(|(mut objects, service)| {
            objects.push(service);
            (Just(objects.clone()), Just(objects).prop_shuffle())
        })
    ) {
        prop_assert_eq!(plan(&world(objects)), plan(&world(shuffled)));
    }

    #[test]
    fn ports_of_others_are_never_planned_and_names_are_unique(gateways in gateways(), service in service()) {
        let plan = plan(&world(gateways.into_iter().chain([service.clone()])));
        let Some(plan) = of_service(&plan, &service) else { return Ok(()) };
        let is_ours = |port: &Value| service["ours"].as_array().unwrap().contains(&port["port"]);
        let foreign: Vec<&Value> = service["spec"]["ports"].as_array().unwrap().iter().filter(|port| !is_ours(port)).collect();
        let mut names: BTreeSet<&str> = foreign.iter().map(|port| port["name"].as_str().unwrap()).collect();
        for port in &plan.ports {
            prop_assert!(foreign.iter().all(|foreign| foreign["port"] != port.port), "{port:?}");
            prop_assert!(names.insert(&port.name), "{port:?} has a name that is taken");
        }
    }

    #[test]
    fn applied_plan_leaves_nothing_to_write(gateways in gateways(), service in service()) {
        let first = plan(&world(gateways.iter().cloned().chain([service.clone()])));
        let Some(first) = of_service(&first, &service) else { return Ok(()) };
        let second = plan(&world(gateways.into_iter().chain([applied(&service, first)])));
        if let Some(second) = of_service(&second, &service) {
            prop_assert!(second.in_sync, "{first:?} then {second:?}");
            prop_assert_eq!(&first.ports, &second.ports);
        } else {
            prop_assert!(first.ports.is_empty());
        }
    }

    #[test]
    fn unwelcome_gateways_change_no_service(gateways in gateways(), service in service()) {
        let allowed = service["metadata"]["annotations"]["outrigger.dev/allow-gateways-from"].as_str().unwrap().to_owned();
        let welcome = |gateway: &Value| {
            let namespace = gateway["metadata"]["namespace"].as_str().unwrap();
            namespace == "edge" || allowed == "*" || allowed == namespace
        };
        let all = plan(&world(gateways.iter().cloned().chain([service.clone()])));
        let only_welcome = plan(&world(gateways.into_iter().filter(welcome).chain([service.clone()])));
        prop_assert_eq!(all.services, only_welcome.services);
    }
}

#[test]
fn confined_gateways_apply_to_pods_of_their_own_namespace_only() {
    let gateway = |namespace: &str, number: u16| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
               "metadata": {"namespace": namespace, "name": "shop"},
               "spec": {"selector": {"istio": "edge"}, "servers": [
                   {"port": {"number": number, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]}})
    };
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "edge", "name": "gateway", "uid": "uid-1",
                     "annotations": {"outrigger.dev/allow-gateways-from": "*"}},
        "spec": {"selector": {"istio": "edge"}, "ports": [{"name": "http", "port": 80}]}});
    let open = world([
        gateway("edge", 8088),
        gateway("shop", 8089),
        service.clone(),
    ]);
    let confined = open.clone().with_settings(Settings {
        gateways_stay_in_their_namespace: true,
        ..Settings::default()
    });
    let planned = |world: &World| -> Vec<u16> {
        let plan = plan(world);
        let service = of_service(&plan, &service).unwrap();
        service.ports.iter().map(|port| port.port).collect()
    };
    assert_eq!(planned(&open), [8088, 8089]);
    assert_eq!(planned(&confined), [8088]);
    let plan = plan(&confined);
    let findings = plan.findings(&ObjectKey::new(Kind::Gateway, "shop", "shop"));
    assert_eq!(findings[0].reason.as_str(), "NoPods");
    assert!(
        findings[0]
            .text
            .ends_with("in namespace shop, to which Gateways are confined"),
        "{findings:?}"
    );
}

#[test]
fn node_port_that_becomes_free_is_asked_for_as_soon_as_it_is() {
    let mut gateway = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "edge", "name": "shop", "annotations": {"outrigger.dev/node-ports": "8088=30080"}},
        "spec": {"selector": {"istio": "edge"}, "servers": [
            {"port": {"number": 8088, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]}});
    gateway["metadata"]["uid"] = json!("uid-3");
    let service = |name: &str, selector: &str, node_port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": name, "name": name, "uid": name},
               "spec": {"type": "NodePort", "selector": {"istio": selector},
                        "ports": [{"name": "http", "port": 80, "nodePort": node_port}]}})
    };
    let old = world([
        gateway,
        service("edge", "edge", 30001),
        service("other", "other", 30080),
    ]);
    let key = ObjectKey::new(Kind::Service, "other", "other");
    let before = plan(&old);
    let node_port = |plan: &Plan| {
        plan.services[&ObjectKey::new(Kind::Service, "edge", "edge")].ports[0].node_port
    };
    assert_eq!(node_port(&before), None);
    let mut new = old.clone();
    new.delete(&key);
    let after = before.update(&old, &new, [&key]).unwrap();
    assert_eq!(node_port(&after), Some(30080));
}

#[test]
fn change_that_no_gateway_is_concerned_by_costs_no_plan() {
    let labelled = |kind: &str, namespace: &str, app: &str| {
        json!({"apiVersion": "v1", "kind": kind, "spec": {"selector": {"app": app}},
               "metadata": {"namespace": namespace, "name": "one", "labels": {"app": app}}})
    };
    let gateway = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
                         "metadata": {"namespace": "edge", "name": "shop"}, "spec": {"selector": {"app": "edge"}}});
    let old = world([
        gateway,
        labelled("Service", "edge", "edge"),
        labelled("Pod", "edge", "edge"),
    ]);
    let plan = plan(&old);
    for (namespace, app, concerned) in [
        ("shop", "reviews", false),
        ("shop", "edge", true),
        ("edge", "reviews", true),
    ] {
        for (kind, object) in
            [Kind::Pod, Kind::Service].map(|kind| (kind, labelled(kind.as_str(), namespace, app)))
        {
            let mut new = old.clone();
            new.apply(&object).unwrap();
            let updated = plan.update(&old, &new, [&ObjectKey::of(kind, &object)]);
            assert_eq!(updated.is_some(), concerned, "{object}");
        }
    }
}
