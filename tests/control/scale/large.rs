//! Ten thousand services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;

/// Services; each has a Deployment, a VirtualService with two routes and a DestinationRule with two subsets.
const COUNT: usize = 10_000;
/// Services of a namespace.
const SHARE: usize = 200;
/// Highest resident memory, in bytes.
const MEMORY: f64 = 300e6;
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(900);
/// Changes whose cost is measured, one after the other.
const CHANGES: usize = 20;
/// The application that they are made to.
const CHANGED: usize = 4;
/// The compute of one change: a Snapshot and everything that is said in it.
const COMPUTE: Duration = Duration::from_millis(1);

fn namespace_of(index: usize) -> String {
    format!("large-{:02}", index / SHARE)
}

/// One application; every tenth VirtualService names a subset that isn't there.
fn application(index: usize) -> [Value; 4] {
    let name = format!("app-{index:05}");
    let metadata = json!({
        "name": name, "namespace": namespace_of(index), "labels": { "app": name, "team": "shop" },
    });
    let labels = json!({ "app": name });
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": { "selector": labels, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": { "app": name, "version": "v1" } },
                    "spec": { "containers": [{
                        "name": "app", "image": format!("registry.example.com/shop/{name}:1.4.2"),
                        "ports": [{ "name": "http", "containerPort": 8080 }],
                        "env": [{ "name": "LOG_LEVEL", "value": "info" }],
                        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
                        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
                    }] },
                },
            },
        }),
        virtual_service(index, if index.is_multiple_of(10) { "v9" } else { "v2" }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata,
            "spec": {
                "host": name,
                "trafficPolicy": { "connectionPool": { "tcp": { "maxConnections": 100 } } },
                "subsets": [
                    { "name": "v1", "labels": { "version": "v1" } },
                    { "name": "v2", "labels": { "version": "v2" } },
                ],
            },
        }),
    ]
}

fn virtual_service(index: usize, subset: &str) -> Value {
    let name = format!("app-{index:05}");
    let to = |subset: &str| json!([{ "destination": { "host": name, "subset": subset } }]);
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {
            "name": name, "namespace": namespace_of(index), "labels": { "app": name, "team": "shop" },
        },
        "spec": {
            "hosts": [name],
            "http": [
                { "match": [{ "headers": { "x-canary": { "exact": "true" } } }], "route": to(subset) },
                { "route": to("v1"), "timeout": "5s" },
            ],
        },
    })
}

/// Waits until as many objects as have a status were counted by this metric, and returns how long that took.
fn wait_for_all(daemon: &Daemon, counter: &str, started: Instant) -> Duration {
    let all = 2.0 * COUNT as f64;
    wait::until(PATIENCE, counter, || {
        let counted = daemon.metric(counter);
        (counted >= all).then_some(()).ok_or(counted)
    })
    .unwrap();
    started.elapsed()
}

/// What the changes of one object after the other cost: to each status, shortest first, and of compute on average.
fn change(cluster: &Bulk, daemon: &Daemon) -> (Vec<Duration>, Duration) {
    let arrived: Arc<Mutex<BTreeMap<u64, Instant>>> = Arc::default();
    let seen = Arc::clone(&arrived);
    let name = bulk::name(&virtual_service(CHANGED, "v2"));
    let _watching = cluster.watch(Kind::VirtualService, move |event| {
        if let bulk::Seen::Applied(object) = event
            && bulk::name(&object) == name
            && condition(&object, "Ready").is_ok()
        {
            let generation = object["metadata"]["generation"]
                .as_u64()
                .unwrap_or_default();
            seen.lock()
                .unwrap()
                .entry(generation)
                .or_insert_with(Instant::now);
        }
    });
    let builds = |field: &str| daemon.metric(&format!("outrigger_snapshot_build_seconds_{field}"));
    let (sum, count) = (builds("sum"), builds("count"));
    let mut latencies = Vec::new();
    for round in 0..CHANGES {
        let subset = if round.is_multiple_of(2) { "v9" } else { "v2" };
        let object = virtual_service(CHANGED, subset);
        let changed = Instant::now();
        let replaced = bulk::replace(cluster.client(), &object);
        let generation = cluster.runtime().block_on(replaced).unwrap();
        let told = wait::until(PATIENCE, "the status of the change", || {
            let arrived = arrived.lock().unwrap();
            arrived.get(&generation).copied().ok_or("not yet")
        });
        latencies.push(told.unwrap() - changed);
    }
    latencies.sort();
    let compute = (builds("sum") - sum) / (builds("count") - count);
    (latencies, Duration::from_secs_f64(compute))
}

#[test]
#[ignore = "measures for minutes; run it on an idle machine"]
fn ten_thousand_services_are_resident_under_300_megabytes() {
    let outriggerd = released();
    let _alone = alone();
    let installed = Installed::start().unwrap();
    let bulk = Bulk::new(&installed.cluster);
    bulk.create((0..COUNT / SHARE).map(|share| bulk::namespace(&namespace_of(share * SHARE))));
    let created = Instant::now();
    bulk.create((0..COUNT).flat_map(application));
    println!("created within {:.0?}", created.elapsed());

    let started = Instant::now();
    let daemon = Daemon::start_program(&outriggerd, "large", &installed.kubeconfig, &[]);
    let first = wait_for_all(&daemon, WRITES, started);
    let after_writing = [memory(&daemon, "VmRSS"), memory(&daemon, "VmHWM")];
    println!(
        "{COUNT} services, no status yet: all written after {first:.1?}, conflicts: {}\n\
         resident: {:.1} MiB, at most {:.1} MiB",
        daemon.metric(CONFLICTS),
        after_writing[0] / MIB,
        after_writing[1] / MIB,
    );
    assert!(daemon.stop().success());

    let started = Instant::now();
    let daemon = Daemon::start_program(&outriggerd, "large-2", &installed.kubeconfig, &[]);
    let second = wait_for_all(&daemon, NO_OPS, started);
    let written = daemon.metric(WRITES);
    let (latencies, compute) = change(&bulk, &daemon);
    let with_statuses = [memory(&daemon, "VmRSS"), memory(&daemon, "VmHWM")];
    println!(
        "started again: all compared after {second:.1?}, {written} written\n\
         resident: {:.1} MiB, at most {:.1} MiB\n\
         one changed VirtualService: {compute:.2?} of compute, {:.0?} to its status (median of {CHANGES}; longest {:.0?})",
        with_statuses[0] / MIB,
        with_statuses[1] / MIB,
        latencies[CHANGES / 2],
        latencies[CHANGES - 1],
    );
    assert_eq!(written, 0.0);
    for highest in [after_writing[1], with_statuses[1]] {
        assert!(highest < MEMORY, "{highest} bytes");
    }
    assert!(compute < COMPUTE, "{compute:?}");
}
