//! What can be wrong with objects: each is told what, nothing panics, and whoever stands beside is not disturbed.

use serde_json::{Value, json};

use crate::analysis::Snapshot;
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

use super::said;

fn virtual_service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
           "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

/// A World with a healthy VirtualService, and this one.
fn beside_a_healthy_one(spec: &Value) -> Snapshot {
    let mut world = World::default();
    let healthy =
        json!({"hosts": ["healthy"], "http": [{"route": [{"destination": {"host": "healthy"}}]}]});
    for object in [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "healthy", "namespace": "shop"},
               "spec": {"ports": [{"name": "http", "port": 80}]}}),
        virtual_service("healthy", &healthy),
        virtual_service("bad", spec),
    ] {
        world.apply(&object).unwrap();
    }
    Snapshot::new(world)
}

/// The first thing that is said of a VirtualService, and that nothing is said of its neighbour.
fn first_of(spec: &Value) -> String {
    let snapshot = beside_a_healthy_one(spec);
    let of = |name: &str| snapshot.messages(&ObjectKey::new(Kind::VirtualService, "shop", name));
    assert!(of("healthy").is_empty(), "{:#?}", of("healthy"));
    of("bad")
        .first()
        .map(|message| format!("{} {}", message.code, message.line()))
        .unwrap_or_default()
}

#[test]
fn missing_and_empty_parts_of_routes_are_told_by_their_paths() {
    let http = |route: Value| json!({"hosts": ["a.example.com"], "http": [route]});
    for (spec, expected) in [
        (Value::Null, "IST0106 spec"),
        (json!({}), "IST0106 spec"),
        (json!({"hosts": null, "http": null}), "IST0106 spec"),
        (
            json!({"hosts": ["a.example.com"], "http": []}),
            "IST0106 spec",
        ),
        (
            json!({"hosts": ["a.example.com"], "http": [null]}),
            "IST0106 spec.http[0]",
        ),
        (http(json!({})), "IST0106 spec.http[0]"),
        (
            http(json!({"route": [null]})),
            "IST0106 spec.http[0].route[0]",
        ),
        (
            http(json!({"route": [{}]})),
            "IST0106 spec.http[0].route[0].destination",
        ),
        (
            http(json!({"route": [{"destination": null}]})),
            "IST0106 spec.http[0].route[0].destination",
        ),
        (
            http(json!({"match": [null], "route": [{"destination": {"host": "healthy"}}]})),
            "IST0106 spec.http[0].match[0]",
        ),
        (
            json!({"hosts": ["a.example.com"], "tcp": [{}]}),
            "IST0106 spec.tcp[0]",
        ),
        (
            json!({"hosts": ["a.example.com"], "tcp": [{"route": []}]}),
            "IST0106 spec.tcp[0]",
        ),
        (
            json!({"hosts": ["a.example.com"], "tls": [{"match": [], "route": []}]}),
            "IST0106 spec.tls[0]",
        ),
        // A fault alone, without a route.
        (
            http(json!({"fault": {"abort": {"httpStatus": 500, "percentage": {"value": 100}}}})),
            "IST0106 spec.http[0]",
        ),
    ] {
        let said = first_of(&spec);
        assert!(
            said.starts_with(expected),
            "{spec}\nexpected {expected}\nsaid {said}"
        );
    }
}

#[test]
fn weights_that_are_no_shares_are_told() {
    let weights = |list: &[i64]| {
        let route = |weight: &i64| json!({"destination": {"host": "healthy"}, "weight": weight});
        let routes: Vec<Value> = list.iter().map(route).collect();
        json!({"hosts": ["a.example.com"], "http": [{"route": routes}]})
    };
    for (list, expected) in [
        (vec![50, 50], ""),
        (vec![500, 1], ""),
        (vec![-1, 101], "IST0106 spec.http[0].route[0].weight"),
        (vec![0, 0], "IST0106 spec.http[0].route"),
        (
            vec![i64::from(i32::MAX) + 1, 1],
            "IST0106 spec.http[0].route[0].weight",
        ),
    ] {
        let said = first_of(&weights(&list));
        assert!(
            said.starts_with(expected) && said.is_empty() == expected.is_empty(),
            "{list:?}: {said}"
        );
    }
    // The sum does not fit the type.
    let large = i64::from(i32::MAX);
    let _ = first_of(&weights(&[large, large, large]));
}

#[test]
fn expressions_are_bounded_wherever_they_stand() {
    let uri = |pattern: &str| json!({"hosts": ["a.example.com"], "http": [{"match": [{"uri": {"regex": pattern}}], "route": [{"destination": {"host": "healthy"}}]}]});
    let header = |pattern: &str| json!({"hosts": ["a.example.com"], "http": [{"match": [{"headers": {"x": {"regex": pattern}}}], "route": [{"destination": {"host": "healthy"}}]}]});
    let megabyte = "a".repeat(1 << 20);
    // RE2 runs these in linear time: they are valid.
    for pattern in ["(a+)+$", "(a|aa)+", "(.*)*x", "((a*)*)*"] {
        assert_eq!(first_of(&uri(pattern)), "", "{pattern}");
    }
    for (pattern, expected) in [
        ("(", "is not a valid RE2"),
        ("(?=a)", "is not a valid RE2"),
        ("((a{1000}){1000}){1000}[", "is not a valid RE2"),
        (megabyte.as_str(), "of 1048576 bytes is too long"),
    ] {
        for (spec, path) in [
            (uri(pattern), "spec.http[0].match[0].uri.regex"),
            (header(pattern), "spec.http[0].match[0].headers[x].regex"),
        ] {
            let said = first_of(&spec);
            assert!(
                said.starts_with(&format!("IST0106 {path}")) && said.contains(expected),
                "{said}"
            );
        }
    }
}

#[test]
fn odd_hosts_are_told_and_meet_no_other() {
    let long = "a".repeat(300);
    for host in [
        "*.*",
        "ümlaut.example.com",
        long.as_str(),
        "a..b",
        "-a.example.com",
        "a b",
        "*a*.example.com",
        ".",
    ] {
        let spec =
            json!({"hosts": [host], "http": [{"route": [{"destination": {"host": "healthy"}}]}]});
        let said = first_of(&spec);
        assert!(said.starts_with("IST0106 spec.hosts[0]"), "{host}: {said}");
    }
    for host in ["::1", "10.0.0.1", "A.Example.COM", "a.example.com."] {
        let spec =
            json!({"hosts": [host], "http": [{"route": [{"destination": {"host": "healthy"}}]}]});
        let _ = first_of(&spec);
    }
    let twice = json!({"hosts": ["a.example.com", "A.example.com"], "http": [{"route": [{"destination": {"host": "healthy"}}]}]});
    assert!(
        first_of(&twice).starts_with("IST0106 spec.hosts"),
        "{}",
        first_of(&twice)
    );
}

#[test]
fn ten_thousand_routes_of_one_object_are_judged_and_each_faulty_one_is_told() {
    let route = |index: usize| {
        let host = if index == 9_999 { "missing" } else { "healthy" };
        let condition =
            json!({"uri": {"prefix": "/"}, "headers": {"user": {"regex": format!("u{index}.+")}}});
        json!({"match": [condition], "route": [{"destination": {"host": host}}]})
    };
    let routes: Vec<Value> = (0..10_000).map(route).collect();
    let said = first_of(&json!({"hosts": ["a.example.com"], "http": routes}));
    assert!(
        said.starts_with("IST0101 spec.http[9999].route[0].destination.host"),
        "{said}"
    );
}

#[test]
fn of_equally_old_objects_the_first_by_namespace_and_name_wins_in_whatever_order_they_come() {
    let at = |namespace: &str, name: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
               "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
               "spec": {"hosts": ["a.example.com"], "gateways": ["mesh", "edge/edge"],
                        "http": [{"match": [{"uri": {"exact": "/a"}}], "directResponse": {"status": 200}}]}})
    };
    let mut objects = vec![at("b", "a"), at("a", "b"), at("a", "c"), at("c", "a")];
    let mut all = Vec::new();
    for _ in 0..objects.len() {
        objects.rotate_left(1);
        let mut world = World::default();
        for object in &objects {
            world.apply(object).unwrap();
        }
        all.push(said(&Snapshot::new(world)));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    let told = |namespace: &str, name: &str, code: &str| {
        let begin = format!("[{code}] (VirtualService {namespace}/{name})");
        all[0]
            .iter()
            .find(|line| line.contains(&begin))
            .cloned()
            .unwrap_or_default()
    };
    for (namespace, name) in [("a", "c"), ("b", "a"), ("c", "a")] {
        for code in ["IST0109", "ORG0022"] {
            let line = told(namespace, name, code);
            assert!(
                line.contains("VirtualService a/b"),
                "{namespace}/{name} {code}: {line}"
            );
        }
    }
    assert_eq!(told("a", "b", "ORG0022"), "");
}
