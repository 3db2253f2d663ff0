//! A mesh of many services: each with a Service, a Deployment, a VirtualService with two routes and a DestinationRule with
//! two subsets, twenty to a namespace at least.

use outrigger::api::yaml;
use outrigger::world::World;
use serde_json::{Value, json};

/// Namespaces, however many services there are.
const NAMESPACES: usize = 20;

/// All objects, Namespaces first: four for each service and twenty.
pub fn objects(services: usize) -> impl Iterator<Item = Value> {
    let namespaces = (0..NAMESPACES).map(|i| {
        json!({"apiVersion": "v1", "kind": "Namespace",
               "metadata": {"name": namespace(i), "labels": {"istio-injection": "enabled"}}})
    });
    namespaces.chain((0..services).flat_map(|i| {
        [
            service(i),
            deployment(i),
            virtual_service(i, 10),
            destination_rule(i),
        ]
    }))
}

/// The objects, taken in as an API server lists them: kind by kind, by namespace and name.
pub fn world(services: usize) -> World {
    let place = |object: &Value| {
        let (kind, metadata) = (object["kind"].to_string(), &object["metadata"]);
        let namespace = metadata["namespace"].to_string();
        (kind, namespace, metadata["name"].to_string())
    };
    let mut all: Vec<Value> = objects(services).collect();
    all.sort_by_cached_key(place);
    let mut world = World::default();
    for object in all {
        world.apply(&object).unwrap();
    }
    world
}

/// The objects as one file.
pub fn manifest(services: usize) -> String {
    objects(services)
        .map(|object| format!("---\n{}", yaml::write(&object).unwrap()))
        .collect()
}

/// The VirtualService of a service, with so many per cent of the requests to its second version.
pub fn virtual_service(i: usize, share: usize) -> Value {
    let host = name(i);
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata(i),
    "spec": {"hosts": [host], "http": [
        {"match": [{"headers": {"x-canary": {"exact": "true"}}}],
         "route": [{"destination": {"host": host, "subset": "v2"}}]},
        {"route": [{"destination": {"host": host, "subset": "v1"}, "weight": 100 - share},
                   {"destination": {"host": host, "subset": "v2"}, "weight": share}]},
    ]}})
}

fn destination_rule(i: usize) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata(i),
           "spec": {"host": name(i), "subsets": [
               {"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"track": "stable"}}]}})
}

fn service(i: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(i),
           "spec": {"selector": {"app": name(i)}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

fn deployment(i: usize) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(i),
    "spec": {"selector": {"matchLabels": {"app": name(i)}}, "template": {
        "metadata": {"labels": {"app": name(i), "version": "v1", "track": "stable"}},
        "spec": {"containers": [{"name": "app", "image": "example/app:1", "ports": [{"containerPort": 8080}]}]}}}})
}

fn metadata(i: usize) -> Value {
    json!({"name": name(i), "namespace": namespace(i % NAMESPACES)})
}

fn name(i: usize) -> String {
    format!("service-{i}")
}

fn namespace(i: usize) -> String {
    format!("team-{i}")
}
