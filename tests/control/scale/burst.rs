//! Many bad objects at once.

use super::*;

/// VirtualServices.
const COUNT: usize = 1000;
/// Services, each with a DestinationRule, that they route to.
const SERVICES: usize = 100;
/// From the end of the last creation to the last right status.
const LATEST: Duration = Duration::from_secs(4);
/// How many Events may follow each other at once, and how many a second after that.
const EVENTS: (f64, f64) = (50.0, 10.0);
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(120);

const NAMESPACE_OF_APPLICATIONS: &str = "burst";

/// What is wrong with a VirtualService: the condition that says so, and its reason.
const WRONGS: [(&str, &str); 5] = [
    ("ResolvedRefs", "SubsetNotFound"),
    ("ResolvedRefs", "HostNotFound"),
    ("ResolvedRefs", "GatewayNotFound"),
    ("Accepted", "Invalid"),
    ("Accepted", "Invalid"),
];

fn service(index: usize) -> [Value; 2] {
    let name = format!("app-{index:03}");
    let metadata = json!({ "name": name, "namespace": NAMESPACE_OF_APPLICATIONS });
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 9080 }] },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata,
            "spec": { "host": name, "subsets": [{ "name": "v1", "labels": { "version": "v1" } }] },
        }),
    ]
}

/// A VirtualService on a host of its own, wrong as [`WRONGS`] says of its index.
fn bad(index: usize) -> Value {
    let host = format!("app-{:03}", index % SERVICES);
    let destination = json!({ "host": host, "subset": "v1" });
    let mut spec = json!({
        "hosts": [format!("bad-{index:04}.example.com")],
        "http": [{ "route": [{ "destination": destination }] }],
    });
    match index % WRONGS.len() {
        0 => spec["http"][0]["route"][0]["destination"]["subset"] = "v9".into(),
        1 => spec["http"][0]["route"][0]["destination"] = json!({ "host": "nobody" }),
        2 => spec["gateways"] = json!(["absent"]),
        3 => spec["http"][0]["match"] = json!([{ "uri": { "regex": "(" } }]),
        _ => {
            let half = json!({ "destination": destination, "weight": 0 });
            spec["http"][0]["route"] = json!([half, half]);
        }
    }
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": format!("bad-{index:04}"), "namespace": NAMESPACE_OF_APPLICATIONS },
        "spec": spec,
    })
}

fn has_its_status(object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let index = name
        .strip_prefix("bad-")
        .and_then(|index| index.parse().ok());
    let Some(index): Option<usize> = index else {
        return false;
    };
    let (kind, reason) = WRONGS[index % WRONGS.len()];
    let is_right = |found: &(String, String, String)| found.0 == "False" && found.1 == reason;
    condition(object, kind).is_ok_and(|found| is_right(&found)) && says(object, "Ready", "False")
}

#[test]
#[ignore = "measures for minutes; run it on an idle machine"]
fn a_thousand_bad_virtual_services_at_once_have_their_status_within_4_seconds_of_the_last() {
    let outriggerd = released();
    let _alone = alone();
    let installed = Installed::start().unwrap();
    let cluster = &installed.cluster;
    cluster.create_namespace(NAMESPACE_OF_APPLICATIONS).unwrap();
    let bulk = Bulk::new(cluster);
    let daemon = Daemon::start_program(&outriggerd, "burst", &installed.kubeconfig, &[]);
    daemon.wait_for_metric("outrigger_leader", 1.0);
    bulk.create((0..SERVICES).flat_map(service));
    daemon.wait_for_metric(WRITES, SERVICES as f64);

    let arrivals = bulk.arrivals(Kind::VirtualService, has_its_status);
    let events_before = daemon.metric("outrigger_events_written_total");
    let started = Instant::now();
    bulk.create((0..COUNT).map(bad));
    let created = Instant::now();
    let right = arrivals.wait_for(COUNT, PATIENCE);
    let events = daemon.metric("outrigger_events_written_total") - events_before;
    let elapsed = started.elapsed();

    let took = right.saturating_duration_since(created);
    let of_routes = |name: &str| daemon.metric(&format!("{name}{{kind=\"virtualservices\"}}"));
    println!(
        "{COUNT} bad VirtualServices, created within {:.2?}\n\
         end of the last creation to the last right status: {took:.2?}\n\
         writes: {}, conflicts: {}, failures: {}\n\
         Events written until then: {events}, dropped: {}\n\
         peak memory: {:.1} MiB",
        created - started,
        of_routes(WRITES),
        of_routes(CONFLICTS),
        of_routes(FAILURES),
        daemon.metric("outrigger_events_dropped_total"),
        memory(&daemon, "VmHWM") / MIB,
    );
    assert!(took < LATEST, "{took:?}");
    // The answers to the last writes may still be on their way; no object is written twice.
    wait::until(SOON, "one write for each", || {
        let writes = of_routes(WRITES);
        (writes == COUNT as f64).then_some(()).ok_or(writes)
    })
    .unwrap();
    let (at_once, a_second) = EVENTS;
    let most = at_once + a_second * elapsed.as_secs_f64() + 1.0;
    assert!(events <= most, "{events} Events within {elapsed:?}");
}
