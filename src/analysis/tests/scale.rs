//! The cost of a change follows what depends on it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::analysis::{Snapshot, preview_delete};
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

/// A Service, a DestinationRule with two subsets and a VirtualService with two routes, `count` times over.
fn objects(count: usize) -> Vec<Value> {
    (0..count)
        .flat_map(|i| {
            let meta = json!({"name": format!("svc-{i}"), "namespace": format!("ns-{}", i % 20), "generation": 1});
            let host = format!("svc-{i}");
            [
                json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}}),
                json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta,
                       "spec": {"host": host, "subsets": [{"name": "v1"}, {"name": "v2"}]}}),
                virtual_service(i, "v2"),
            ]
        })
        .collect()
}

fn virtual_service(i: usize, subset: &str) -> Value {
    let host = format!("svc-{i}");
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
    "metadata": {"name": host, "namespace": format!("ns-{}", i % 20), "generation": 1},
    "spec": {"hosts": [host], "http": [{"route": [
        {"destination": {"host": host, "subset": "v1"}, "weight": 50},
        {"destination": {"host": host, "subset": subset}, "weight": 50},
    ]}]}})
}

fn world(count: usize) -> World {
    let mut world = World::default();
    for object in objects(count) {
        world.apply(&object).unwrap();
    }
    world
}

#[test]
fn a_change_concerns_only_those_that_depend_on_it() {
    let snapshot = Snapshot::new(world(200));
    let mut world = snapshot.world().clone();
    let service = ObjectKey::new(Kind::Service, "ns-7", "svc-7");
    let change = world.delete(&service).unwrap();
    let (next, concerned) = snapshot.update(world, &[change]);
    let of = |kind| ObjectKey::new(kind, "ns-7", "svc-7");
    assert_eq!(
        concerned,
        [of(Kind::VirtualService), of(Kind::DestinationRule), service]
    );
    let judged = next.judged_since(&snapshot);
    assert_eq!(
        judged,
        [of(Kind::VirtualService), of(Kind::DestinationRule)]
    );
}

/// VirtualServices of ten thousand routes each: by path, by header, by host, and to subsets that are not there.
#[test]
#[ignore = "a measurement"]
fn cost_of_one_large_object() {
    let count = 10_000;
    let route =
        |i: usize| json!({"destination": {"host": "svc-0", "subset": format!("v{}", i % 100)}});
    let by_path: Vec<Value> = (0..count)
        .map(|i| json!({"match": [{"uri": {"prefix": format!("/{i}/")}}], "route": [route(i)]}))
        .collect();
    let by_header: Vec<Value> = (0..count)
        .map(|i| json!({"match": [{"uri": {"prefix": "/"}, "headers": {"user": {"exact": i.to_string()}}}],
                        "route": [route(i)]}))
        .collect();
    let hosts: Vec<String> = (0..count)
        .map(|i| format!("host-{i}.example.com"))
        .collect();
    let one_route = json!([{"route": [{"destination": {"host": "svc-0"}}]}]);
    for (case, spec) in [
        ("paths", json!({"hosts": ["svc-0"], "http": by_path})),
        ("headers", json!({"hosts": ["svc-0"], "http": by_header})),
        ("hosts", json!({"hosts": hosts, "http": one_route})),
    ] {
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                            "metadata": {"name": "large", "namespace": "ns-0"}, "spec": spec});
        let mut world = world(10);
        let snapshot = Snapshot::new(world.clone());
        let start = Instant::now();
        let change = world.apply(&object).unwrap();
        let read = start.elapsed();
        let (next, _) = snapshot.update(world.clone(), change.as_slice());
        let judged = start.elapsed() - read;
        let rule = ObjectKey::new(Kind::DestinationRule, "ns-0", "svc-0");
        let start = Instant::now();
        let said = preview_delete(&next, &rule).len();
        let deleted = start.elapsed();
        eprintln!(
            "{case}: read {read:?}, judged {judged:?}, preview of a delete {deleted:?} with {said} messages"
        );
    }
}

#[test]
fn many_objects_are_judged_at_once_as_one_after_the_other() {
    let mut all = objects(1_500);
    for place in (0..all.len()).step_by(100) {
        all[place]["spec"]["exportTo"] = json!(["nowhere"]);
    }
    let at_once = all.iter().fold(World::default(), |mut world, object| {
        world.apply(object).unwrap();
        world
    });
    let mut snapshot = Snapshot::default();
    for some in all.chunks(500) {
        let mut world = snapshot.world().clone();
        let changes: Vec<_> = some
            .iter()
            .filter_map(|object| world.apply(object).unwrap())
            .collect();
        snapshot = snapshot.update(world, &changes).0;
    }
    let at_once = Snapshot::new(at_once);
    assert!(!at_once.all_messages().is_empty());
    assert_eq!(at_once.all_messages(), snapshot.all_messages());
    assert!(at_once.bookkeeping_equals(&snapshot));
}
