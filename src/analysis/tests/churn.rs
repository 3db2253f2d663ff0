//! However a World came about, its verdicts are the same.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::analysis::{Snapshot, preview, preview_delete};
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

const NAMESPACES: &[&str] = &["a", "b", "istio-system"];
const NAMES: &[&str] = &["x", "y", "z"];
const HOSTS: &[&str] = &[
    "*-api.example.com",
    "x-api.example.com",
    "x",
    "y",
    "x.a.svc.cluster.local",
    "x.b",
    "*.svc.cluster.local",
    "*.b.svc.cluster.local",
    "api.example.com",
    "*.example.com",
    "*.com",
    "*",
];

fn one(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(list)
}

fn export_to() -> impl Strategy<Value = Value> {
    select(vec![
        json!([]),
        json!(["*"]),
        json!(["."]),
        json!(["a"]),
        json!(["a", "b"]),
        json!(["~"]),
    ])
}

fn hosts() -> impl Strategy<Value = Vec<&'static str>> {
    vec(one(HOSTS), 1..4)
}

fn destination() -> impl Strategy<Value = Value> {
    (one(HOSTS), one(&["", "v1", "v2"]), option::of(select(vec![80u32, 81]))).prop_map(|(host, subset, port)| {
        json!({"host": host, "subset": subset, "port": port.map(|number| json!({"number": number}))})
    })
}

fn spec(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::VirtualService => (
            hosts(),
            subsequence(vec!["mesh", "x", "b/y", "x.a.svc.cluster.local"], 0..3),
            vec(destination(), 0..3),
            export_to(),
            option::of(one(NAMES)),
            any::<bool>(),
            condition(),
        )
            .prop_map(|(hosts, gateways, destinations, export_to, delegate, is_delegate, condition)| {
                let routes: Vec<Value> = destinations.into_iter().map(|it| json!({"destination": it})).collect();
                let hosts = if is_delegate { Vec::new() } else { hosts };
                let claims = json!({"headers": {"@request.auth.claims.a": {"exact": "b"}}});
                let http = match delegate {
                    Some(name) => json!([{"match": [claims], "delegate": {"name": name}},
                                         {"match": [condition], "delegate": {"name": name}}, {"route": routes}]),
                    None => json!([{"match": [condition], "route": routes}, {"route": routes}]),
                };
                json!({"hosts": hosts, "gateways": gateways, "exportTo": export_to, "http": http})
            })
            .boxed(),
        Kind::DestinationRule => (one(HOSTS), subsequence(vec!["v1", "v2"], 0..=2), export_to(), labels(), policy(), prop::bool::weighted(0.2))
            .prop_map(|(host, subsets, export_to, labels, policy, selects)| {
                let subsets: Vec<Value> = subsets
                    .into_iter()
                    .map(|name| json!({"name": name, "labels": labels, "trafficPolicy": policy}))
                    .collect();
                let selector = selects.then(|| json!({"matchLabels": labels}));
                json!({"host": host, "subsets": subsets, "exportTo": export_to, "trafficPolicy": policy, "workloadSelector": selector})
            })
            .boxed(),
        Kind::ServiceEntry => (hosts(), export_to(), subsequence(vec![80, 81], 0..=2))
            .prop_map(|(hosts, export_to, ports)| {
                let ports: Vec<Value> = ports.into_iter().map(|number| json!({"number": number, "name": "p"})).collect();
                json!({"hosts": hosts, "exportTo": export_to, "ports": ports})
            })
            .boxed(),
        Kind::Service => (subsequence(vec![80, 81], 0..=2), labels())
            .prop_map(|(ports, selector)| {
                let ports: Vec<Value> = ports.into_iter().map(|port| json!({"port": port, "targetPort": 80})).collect();
                json!({"ports": ports, "selector": selector})
            })
            .boxed(),
        Kind::Gateway => (hosts(), one(&["", "./", "a/", "*/"]), labels())
            .prop_map(|(hosts, scope, labels)| {
                let hosts: Vec<String> = hosts.iter().map(|host| format!("{scope}{host}")).collect();
                json!({"selector": labels, "servers": [{"hosts": hosts, "port": {"number": 80}}]})
            })
            .boxed(),
        Kind::Pod => (one(&["p:1", "p:2", "auto"]), option::of(any::<bool>()), one(&["", "x"]))
            .prop_map(|(image, runs_as_proxy, node)| {
                let user = runs_as_proxy.map(|is| if is { 1337 } else { 1 });
                json!({"nodeName": node, "securityContext": {"runAsUser": user},
                       "containers": [{"name": "istio-proxy", "image": image}]})
            })
            .boxed(),
        Kind::Deployment => (labels(), one(&["", "auto"]))
            .prop_map(|(labels, image)| {
                json!({"template": {"metadata": {"labels": labels},
                       "spec": {"containers": [{"name": "istio-proxy", "image": image}]}}})
            })
            .boxed(),
        Kind::AuthorizationPolicy => (labels(), one(NAMESPACES))
            .prop_map(|(labels, namespace)| {
                json!({"selector": {"matchLabels": labels},
                       "rules": [{"from": [{"source": {"namespaces": [namespace]}}]}]})
            })
            .boxed(),
        Kind::Telemetry | Kind::RequestAuthentication | Kind::WasmPlugin | Kind::TrafficExtension => option::of(labels())
            .prop_map(|labels| json!({"selector": {"matchLabels": labels}, "accessLogging": [{}]}))
            .boxed(),
        Kind::KubernetesGateway => one(HOSTS)
            .prop_map(|host| json!({"listeners": [{"hostname": host}]}))
            .boxed(),
        Kind::EnvoyFilter => (option::of(one(&["^1"])), any::<bool>())
            .prop_map(|(version, priority)| {
                json!({"priority": i32::from(priority), "configPatches": [{
                    "applyTo": "HTTP_FILTER", "match": {"proxy": {"proxyVersion": version}},
                    "patch": {"operation": "INSERT_BEFORE", "value": {"name": "x"}}}]})
            })
            .boxed(),
        Kind::Sidecar => option::of(labels()).prop_map(|labels| json!({"workloadSelector": {"labels": labels}})).boxed(),
        _ => Just(json!({})).boxed(),
    }
}

/// A condition of an HTTP route.
fn condition() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"uri": {"prefix": "/a"}}),
        json!({"uri": {"exact": "/a/b"}}),
        json!({"uri": {"prefix": "/a/b"}, "port": 80}),
        json!({"headers": {"x": {"exact": "a"}}}),
        json!({"uri": {"regex": "/a.*"}, "gateways": ["x"]}),
    ])
}

/// A policy of a DestinationRule, or none.
fn policy() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!({}),
        json!({"tls": {}}),
        json!({"loadBalancer": {}, "portLevelSettings": [{"port": {"number": 80}, "tls": {}}]}),
    ])
}

/// Labels of pods and selectors.
fn labels() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"app": "x"}),
        json!({"app": "y"}),
        json!({"app": "x", "tier": "edge"}),
        json!({"tier": "edge"}),
        json!({"tier": "edge", "zone": "a"}),
        json!({"istio-injection": "enabled"}),
        json!({"istio.io/dataplane-mode": "ambient"}),
        json!({"topology.kubernetes.io/zone": "z"}),
    ])
}

fn object() -> impl Strategy<Value = Value> {
    let kinds = vec![
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::ServiceEntry,
        Kind::Service,
        Kind::Gateway,
        Kind::Sidecar,
        Kind::Pod,
        Kind::Namespace,
        Kind::Deployment,
        Kind::Node,
        Kind::ConfigMap,
        Kind::MutatingWebhookConfiguration,
        Kind::AuthorizationPolicy,
        Kind::RequestAuthentication,
        Kind::Telemetry,
        Kind::WasmPlugin,
        Kind::TrafficExtension,
        Kind::EnvoyFilter,
        Kind::KubernetesGateway,
    ];
    (select(kinds), one(NAMESPACES), one(NAMES), prop::bool::weighted(0.05), labels(), 0..3u32).prop_flat_map(
        |(kind, namespace, name, broken, labels, age)| {
            let labels = labels.clone();
            let name = match kind {
                // So that the namespaces of the others are among them, and an injector's values.
                Kind::Namespace => namespace,
                Kind::ConfigMap => "istio-sidecar-injector",
                _ => name,
            };
            spec(kind).prop_map(move |spec| {
                let status = if labels["app"] == "x" { "False" } else { "True" };
                json!({
                    "data": {"values": "{\"global\": {\"hub\": \"a\", \"tag\": \"1\", \"proxy\": {\"image\": \"p\"}}}"},
                    "webhooks": [{"name": format!("{name}.istio.io"), "namespaceSelector": {"matchLabels": labels},
                                  "clientConfig": {"service": {"namespace": "a", "name": name}}}],
                    "status": {"conditions": [{"type": "Ready", "status": status},
                                              {"type": "istio.io/WaypointBound", "status": status}]},
                    "apiVersion": kind.api_version(),
                    "kind": kind.as_str(),
                    "metadata": {
                        "namespace": namespace,
                        "name": name,
                        "labels": labels,
                        "creationTimestamp": (age > 0).then(|| format!("2026-01-01T00:00:0{age}Z")),
                    },
                    "spec": if broken { json!({"hosts": 7, "host": 7, "ports": 7, "servers": 7}) } else { spec },
                })
            })
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Value),
    /// An object that was applied gets other labels and another resolution, and is the same else.
    Touch(usize, Value, &'static str),
    Delete(usize),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let touch = (any::<usize>(), labels(), one(&["NONE", "DNS"]));
    let step = prop_oneof![
        6 => object().prop_map(Step::Apply),
        3 => touch.prop_map(|(index, labels, resolution)| Step::Touch(index, labels, resolution)),
        2 => any::<usize>().prop_map(Step::Delete),
    ];
    vec(vec(step, 1..4), 1..12)
}

fn all_keys(world: &World) -> Vec<ObjectKey> {
    Kind::all().flat_map(|kind| world.keys(kind)).collect()
}

/// Messages of every object, in the order of objects.
fn verdicts(snapshot: &Snapshot) -> Vec<String> {
    let keys = all_keys(snapshot.world());
    keys.iter()
        .flat_map(|key| snapshot.messages(key))
        .map(|message| message.to_string())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn snapshot_updated_change_by_change_equals_the_one_made_at_once(batches in steps()) {
        let mut snapshot = Snapshot::default();
        let mut applied: Vec<Value> = Vec::new();
        for batch in batches {
            let mut world = snapshot.world().clone();
            let mut changes = Vec::new();
            for step in batch {
                let keys = all_keys(&world);
                match step {
                    Step::Apply(object) => {
                        changes.extend(world.apply(&object).unwrap());
                        applied.push(object);
                    }
                    Step::Touch(index, labels, resolution) if !applied.is_empty() => {
                        let mut object = applied[index % applied.len()].clone();
                        object["metadata"]["labels"] = labels;
                        if object["kind"] == "ServiceEntry" {
                            object["spec"]["resolution"] = resolution.into();
                        }
                        changes.extend(world.apply(&object).unwrap());
                    }
                    Step::Touch(..) => {}
                    Step::Delete(index) if !keys.is_empty() => changes.extend(world.delete(&keys[index % keys.len()])),
                    Step::Delete(_) => {}
                }
            }
            let (next, concerned) = snapshot.update(world.clone(), &changes);
            let fresh = Snapshot::new(world);
            prop_assert_eq!(verdicts(&next), verdicts(&fresh));
            prop_assert!(next.bookkeeping_equals(&fresh), "what verdicts depend on differs");
            for key in all_keys(snapshot.world()).iter().chain(&all_keys(next.world())) {
                let differs = snapshot.messages(key) != next.messages(key);
                prop_assert!(!differs || concerned.contains(key), "{} changed unsaid", key);
            }
            snapshot = next;
        }
    }

    #[test]
    fn the_order_of_objects_never_changes_what_is_said(
        objects in vec(object(), 1..12).prop_map(without_repetition).prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
    ) {
        let (one, other) = objects;
        let of = |objects: &[Value]| {
            let mut world = World::default();
            for object in objects {
                world.apply(object).unwrap();
            }
            verdicts(&Snapshot::new(world))
        };
        prop_assert_eq!(of(&one), of(&other));
    }

    #[test]
    fn preview_says_what_the_snapshot_would_say(objects in vec(object(), 1..10), new in object()) {
        let mut world = World::default();
        for object in &objects {
            world.apply(object).unwrap();
        }
        let snapshot = Snapshot::new(world.clone());
        let kind = Kind::of(new["apiVersion"].as_str().unwrap(), new["kind"].as_str().unwrap()).unwrap();
        let key = ObjectKey::of(kind, &new);
        let previewed = preview(&snapshot, &new);
        world.apply(&new).unwrap();
        let after = Snapshot::new(world.clone());
        let own: Vec<_> = previewed.iter().filter(|message| message.object == key).cloned().collect();
        prop_assert_eq!(&own[..], after.messages(&key));
        for message in preview_delete(&after, &key) {
            prop_assert!(!after.messages(&message.object).contains(&message));
            world.delete(&key);
            prop_assert!(Snapshot::new(world.clone()).messages(&message.object).contains(&message));
        }
    }

    #[test]
    fn no_json_makes_analysis_panic(spec in anything(), meta in anything(), kind in select(Kind::all().collect::<Vec<_>>())) {
        let mut world = World::default();
        let object = json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": meta, "spec": spec});
        let _ = world.apply(&object);
        let named = json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": {"name": "n"}, "spec": spec});
        world.apply(&named).unwrap();
        let snapshot = Snapshot::new(world);
        let _ = preview(&snapshot, &object);
        let _ = preview(&snapshot, &meta);
    }
}

#[test]
fn a_host_that_an_object_repeats_stays_known_when_something_else_of_the_object_changes() {
    let entry = |hosts: &Value, label: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
               "metadata": {"name": "x", "namespace": "a", "labels": {"tier": label}},
               "spec": {"hosts": hosts, "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}})
    };
    let route = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "y", "namespace": "a"},
        "spec": {"hosts": ["y.example.com"], "http": [{"route": [{"destination": {"host": "x.a.svc.cluster.local"}}]}]}});
    for hosts in [
        json!(["x.a.svc.cluster.local", "x.a.svc.cluster.local"]),
        json!(["x", "x.a.svc.cluster.local"]),
    ] {
        let mut world = World::default();
        world.apply(&entry(&hosts, "one")).unwrap();
        world.apply(&route).unwrap();
        let snapshot = Snapshot::new(world.clone());
        let said = verdicts(&snapshot);
        let changes = world.apply(&entry(&hosts, "other")).unwrap();
        let (next, _) = snapshot.update(world, changes.as_slice());
        assert_eq!(verdicts(&next), said);
        assert!(
            !said.iter().any(|message| message.contains("IST0101")),
            "{said:?}"
        );
    }
}

#[test]
fn labels_of_an_object_concern_nobody_who_looks_at_its_hosts() {
    let object = |kind: &str, name: &str, label: &str, spec: &Value| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "spec": spec,
               "metadata": {"name": name, "namespace": name, "labels": {"tier": label}}})
    };
    let route = json!([{"route": [{"destination": {"host": "shop.example.com"}}]}]);
    for (kind, spec) in [
        (
            "VirtualService",
            json!({"hosts": ["shop.example.com"], "http": route}),
        ),
        ("DestinationRule", json!({"host": "shop.example.com"})),
    ] {
        let mut world = World::default();
        world
            .apply(&object(
                "VirtualService",
                "x",
                "one",
                &json!({"hosts": ["shop.example.com"], "http": route}),
            ))
            .unwrap();
        world.apply(&object(kind, "y", "one", &spec)).unwrap();
        let snapshot = Snapshot::new(world.clone());
        let changes = world.apply(&object(kind, "y", "other", &spec)).unwrap();
        let (_, concerned) = snapshot.update(world, changes.as_slice());
        let concerned: Vec<&str> = concerned.iter().map(|key| &*key.name).collect();
        assert_eq!(concerned, ["y"]);
    }
}

fn without_repetition(objects: Vec<Value>) -> Vec<Value> {
    // A namespace makes no difference where the kind has none.
    let key = |object: &Value| {
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        let kind = Kind::of(text("apiVersion"), text("kind"));
        kind.map(|kind| ObjectKey::of(kind, object))
    };
    let mut kept: Vec<Value> = Vec::new();
    for object in objects {
        if !kept.iter().any(|other| key(other) == key(&object)) {
            kept.push(object);
        }
    }
    kept
}

/// JSON of any shape, with the names that specs use.
fn anything() -> impl Strategy<Value = Value> {
    let names = &[
        "hosts",
        "host",
        "http",
        "tcp",
        "tls",
        "route",
        "destination",
        "subset",
        "port",
        "number",
        "match",
        "uri",
        "regex",
        "exact",
        "mirror",
        "gateways",
        "servers",
        "selector",
        "subsets",
        "labels",
        "exportTo",
        "name",
        "namespace",
        "ports",
        "weight",
        "timeout",
        "retries",
        "fault",
        "trafficPolicy",
        "workloadSelector",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z*./\\[\\]$ ]{0,8}".prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(&names[..]), inner), 0..5).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}
