//! Objects that no webhook has looked at: the process stays up, no other object is touched, and the cause is told.

use std::time::Instant;

use outrigger::api::kind::Kind;
use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::bulk::{self, Bulk};
use super::daemon::Daemon;
use super::faults::lax_definition;
use super::*;

/// What must be said of an object that is stored.
#[derive(Clone, Copy)]
enum Told {
    /// Not accepted, and this is a part of the message.
    Invalid(&'static str),
    /// Not Ready, and this is a part of the message.
    Broken(&'static str),
    /// Some verdict on its current generation.
    Anything,
}

use Told::{Anything, Broken, Invalid};

/// One destination that is there.
fn to() -> Value {
    json!([{ "destination": { "host": "reviews", "subset": "v1" } }])
}

fn http(entry: Value) -> Value {
    json!({ "hosts": ["bad.example.com"], "http": [entry] })
}

fn matching(condition: Value) -> Value {
    http(json!({ "match": condition, "route": to() }))
}

fn weights(weights: &[Value]) -> Value {
    let destination = json!({ "host": "reviews", "subset": "v1" });
    let weighted = |weight| json!({ "destination": destination, "weight": weight });
    http(json!({ "route": weights.iter().map(weighted).collect::<Vec<_>>() }))
}

fn hosts(hosts: Value) -> Value {
    json!({ "hosts": hosts, "http": [{ "route": to() }] })
}

/// A value that is nested deeper than JSON parsers like.
pub fn deep(levels: usize) -> Value {
    (0..levels).fold(json!("bottom"), |inner, _| json!({ "a": inner }))
}

/// VirtualServices, by their names.
fn specs() -> Vec<(&'static str, Value, Told)> {
    let host = json!(["bad.example.com"]);
    vec![
        ("no-routes", json!({ "hosts": host }), Invalid("http")),
        (
            "null-http",
            json!({ "hosts": host, "http": null }),
            Invalid("http"),
        ),
        (
            "empty-http",
            json!({ "hosts": host, "http": [] }),
            Invalid("http"),
        ),
        (
            "null-tcp",
            json!({ "hosts": host, "tcp": null }),
            Invalid("http"),
        ),
        (
            "null-tls",
            json!({ "hosts": host, "tls": null }),
            Invalid("http"),
        ),
        ("null-entry", http(json!(null)), Invalid("http[0]")),
        ("empty-entry", http(json!({})), Invalid("http[0]")),
        (
            "null-route",
            http(json!({ "route": null })),
            Invalid("http[0]"),
        ),
        (
            "empty-route",
            http(json!({ "route": [] })),
            Invalid("http[0]"),
        ),
        (
            "null-destination-entry",
            http(json!({ "route": [null] })),
            Invalid("http[0].route[0]"),
        ),
        (
            "empty-destination-entry",
            http(json!({ "route": [{}] })),
            Invalid("http[0].route[0]"),
        ),
        (
            "null-destination",
            http(json!({ "route": [{ "destination": null }] })),
            Invalid("http[0].route[0]"),
        ),
        (
            "empty-destination",
            http(json!({ "route": [{ "destination": {} }] })),
            Invalid("http[0].route[0]"),
        ),
        (
            "fault-alone",
            http(json!({ "fault": { "abort": { "httpStatus": 503 } } })),
            Invalid("http[0]"),
        ),
        ("null-match", matching(json!(null)), Anything),
        ("empty-match", matching(json!([])), Anything),
        ("null-match-entry", matching(json!([null])), Anything),
        (
            "tcp-without-route",
            json!({ "hosts": host, "tcp": [{}] }),
            Invalid("tcp[0]"),
        ),
        (
            "tcp-null-route",
            json!({ "hosts": host, "tcp": [{ "route": null }] }),
            Invalid("tcp[0]"),
        ),
        (
            "tcp-null-entry",
            json!({ "hosts": host, "tcp": [null] }),
            Invalid("tcp[0]"),
        ),
        (
            "tls-null-match",
            json!({ "hosts": host, "tls": [{ "match": null, "route": to() }] }),
            Invalid("tls[0]"),
        ),
        (
            "tls-empty-match",
            json!({ "hosts": host, "tls": [{ "match": [{}], "route": to() }] }),
            Invalid("tls[0].match[0]"),
        ),
        (
            "negative-weight",
            weights(&[json!(-1), json!(101)]),
            Invalid("weight"),
        ),
        (
            "no-weight-at-all",
            weights(&[json!(0), json!(0)]),
            Invalid("weight"),
        ),
        (
            "weights-over-100",
            weights(&[json!(101), json!(102)]),
            Anything,
        ),
        (
            "weights-overflow",
            weights(&[json!(i32::MAX), json!(i32::MAX)]),
            Anything,
        ),
        (
            "weight-beyond-numbers",
            weights(&[json!(1e300)]),
            Invalid("weight"),
        ),
        ("weight-of-text", weights(&[json!("10")]), Invalid("weight")),
        (
            "regex-unclosed",
            matching(json!([{ "uri": { "regex": "(" } }])),
            Invalid("uri"),
        ),
        (
            "regex-look-behind",
            matching(json!([{ "uri": { "regex": "(?<=a)b" } }])),
            Invalid("uri"),
        ),
        (
            "regex-catastrophic",
            matching(json!([{ "uri": { "regex": "(a+)+(b*)*$" } }])),
            Anything,
        ),
        (
            "regex-exploding",
            matching(json!([{ "uri": { "regex": "((a{1000}){1000}){1000}" } }])),
            Anything,
        ),
        (
            "regex-of-a-megabyte",
            matching(json!([{ "uri": { "regex": "a?".repeat(500_000) } }])),
            Anything,
        ),
        // Those of a delegate, which has no hosts of its own.
        ("hosts-null", hosts(json!(null)), Anything),
        ("hosts-empty", hosts(json!([])), Anything),
        (
            "hosts-text",
            hosts(json!("bad.example.com")),
            Invalid("hosts"),
        ),
        (
            "hosts-twice-a-star",
            hosts(json!(["*.*"])),
            Invalid("hosts[0]"),
        ),
        (
            "hosts-too-long",
            hosts(json!(["a".repeat(300)])),
            Invalid("hosts[0]"),
        ),
        (
            "hosts-unicode",
            hosts(json!(["bücher.example.com"])),
            Invalid("hosts[0]"),
        ),
        (
            "hosts-same",
            hosts(json!(["same.example.com", "same.example.com"])),
            Invalid("hosts"),
        ),
        (
            "routes-of-text",
            json!({ "hosts": host, "http": "reviews" }),
            Invalid("http"),
        ),
        ("spec-null", json!(null), Invalid("spec")),
        ("spec-text", json!("reviews"), Invalid("spec")),
        (
            "delegate-to-itself",
            http(json!({ "delegate": { "name": "delegate-to-itself" } })),
            Broken("delegate"),
        ),
    ]
}

fn object(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

/// Waits until what is to be told of an object is told.
fn check(bulk: &Bulk, namespace: &str, name: &str, told: Told) {
    wait::until(RECOVERY, name, || {
        let object = bulk.get(&object(namespace, name, &json!({})))?;
        let (ready, reason, message) = condition(&object, "Ready")?;
        let (accepted, ..) = condition(&object, "Accepted")?;
        let part = match told {
            Invalid(part) | Broken(part) => part,
            Anything => return Ok(()),
        };
        ensure!(
            ready == "False" && message.contains(part),
            "{ready} {reason}: {message}"
        );
        ensure!(accepted == "False" || matches!(told, Broken(_)), "accepted");
        Ok(())
    })
    .unwrap();
}

/// Stores what the schema takes of [`specs`] and checks what is said; returns how many that were.
fn live_through(cluster: &ControlPlane, bulk: &Bulk, mut daemon: Daemon, ns: &str) -> usize {
    let mut stored = Vec::new();
    for (name, spec, told) in specs() {
        // A host of its own for each, so that none is about a conflict.
        let own = spec
            .to_string()
            .replace("bad.example.com", &format!("{name}.example.com"));
        let spec: Value = serde_json::from_str(&own).unwrap();
        let object = object(ns, name, &spec);
        match bulk
            .runtime()
            .block_on(bulk::create(bulk.client(), &object))
        {
            Ok(_) => stored.push((name, told)),
            Err(kube::Error::Api(status)) if status.code == 422 => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    for (name, told) in &stored {
        check(bulk, ns, name, *told);
    }
    // All others are as they were, and followed as before.
    for (subset, ready) in [("v4", "False"), ("v1", "True")] {
        cluster.apply(&virtual_service(ns, subset)).unwrap();
        wait_for_ready(cluster, ns, "virtualservice/reviews", ready);
    }
    assert!(daemon.is_running());
    assert!(daemon.get("/readyz").is_ok());
    stored.len()
}

#[test]
fn whatever_our_own_schema_lets_through_is_told_and_harms_no_other_object() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "malformed";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    let bulk = Bulk::new(cluster);
    let stored = live_through(cluster, &bulk, installed.daemon(ns), ns);
    println!("{stored} of {} got past the schema", specs().len());
    bulk.delete_all(Kind::VirtualService, ns);
}

#[test]
fn whatever_a_foreign_schema_lets_through_is_told_and_harms_no_other_object() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    let crds = [
        ("virtualservices", "VirtualService"),
        ("destinationrules", "DestinationRule"),
    ]
    .map(|(plural, kind)| lax_definition(plural, kind, &[("v1", true), ("v1alpha3", true)]));
    cluster.apply(&crds.join("\n---")).unwrap();
    cluster.wait_for_definitions().unwrap();
    let ns = "default";
    wait::until(SOON, "the kinds are served", || {
        cluster.apply(&reviews(ns, "v1"))
    })
    .unwrap();
    let bulk = Bulk::new(&cluster);
    // Nested deeper than this process reads JSON; one is there before the start, so that the first list holds it.
    let nested = |name: &str| {
        let mut spec = hosts(json!([format!("{name}.example.com")]));
        spec["knob"] = deep(200);
        cluster.apply(&object(ns, name, &spec).to_string()).unwrap();
    };
    let is_ready = |name: &str| {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        wait::until(RECOVERY, name, || {
            let arguments = ["get", "virtualservice", name, "-n", ns, "-o", path];
            let ready = cluster.kubectl(&arguments)?;
            ensure!(ready == "True", "Ready={ready}");
            Ok(())
        })
        .unwrap();
    };
    nested("deep-before");
    let daemon = Daemon::start_ready("lax", cluster.kubeconfig(), &[]);
    is_ready("deep-before");
    nested("deep-after");
    is_ready("deep-after");
    assert_eq!(daemon.metric("outrigger_status_failures_total"), 0.0);
    cluster
        .kubectl(&[
            "delete",
            "virtualservice",
            "deep-before",
            "deep-after",
            "-n",
            ns,
        ])
        .unwrap();
    let stored = live_through(&cluster, &bulk, daemon, ns);
    assert_eq!(stored, specs().len());
}

#[test]
fn ten_thousand_routes_and_an_object_of_1_4_megabytes_are_judged_while_others_go_on() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "huge";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    let bulk = Bulk::new(cluster);
    let mut daemon = installed.daemon(ns);
    let routes = (0..10_000).map(|index| {
        let subset = if index == 9_999 { "nowhere" } else { "v1" };
        json!({
            "match": [{ "uri": { "exact": format!("/{index}") } }],
            "route": [{ "destination": { "host": "reviews", "subset": subset } }],
        })
    });
    let many = json!({ "hosts": ["many.example.com"], "http": routes.collect::<Vec<_>>() });
    let value = "x".repeat(1_400_000);
    let large = matching(json!([{ "headers": { "x-large": { "exact": value } } }]));
    let broken = json!({
        "hosts": ["broken.example.com"],
        "http": (0..10_000).map(|_| json!({ "route": [{ "destination": { "host": "nobody" } }] })).collect::<Vec<_>>(),
    });

    let started = Instant::now();
    bulk.create([
        object(ns, "many", &many),
        object(ns, "large", &large),
        object(ns, "broken", &broken),
    ]);
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    check(
        &bulk,
        ns,
        "many",
        Broken("spec.http[9999].route[0].destination.subset"),
    );
    check(&bulk, ns, "broken", Broken("more"));
    let told = bulk.get(&object(ns, "large", &json!({}))).unwrap();
    assert!(told.to_string().len() > 1_400_000);
    check(&bulk, ns, "large", Anything);
    eprintln!(
        "all told {:?} after the first creation began",
        started.elapsed()
    );
    assert!(daemon.is_running());
    bulk.delete_all(Kind::VirtualService, ns);
}
