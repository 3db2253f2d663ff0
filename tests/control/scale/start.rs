//! From the start of the process to the status of what was there before it.

use super::*;

/// Objects of each kind.
const COUNT: usize = 1000;
/// From the start of the process to the last status.
const COLD_START: Duration = Duration::from_secs(10);
/// For how long nothing may be written once all is right.
const QUIET: Duration = Duration::from_secs(60);
/// Highest resident memory, in bytes.
const MEMORY: f64 = 80.0 * MIB;

/// One Service, and its DestinationRule and VirtualService; every tenth VirtualService names a subset that isn't there.
fn application(index: usize) -> String {
    let name = format!("app-{index:04}");
    let subset = if index.is_multiple_of(10) { "v4" } else { "v1" };
    reviews("scale", subset).replace("reviews", &name)
}

/// How many objects of a kind say Ready with this status for their current generation.
fn count_ready(cluster: &ControlPlane, kind: &str, ready: &str) -> usize {
    let list = read(cluster, "scale", kind).unwrap();
    let objects = list["items"].as_array().unwrap().iter();
    objects
        .filter(|object| says(object, "Ready", ready))
        .count()
}

#[test]
#[ignore = "measures for minutes; run it on an idle machine"]
fn a_thousand_of_each_kind_are_right_within_10_seconds_and_then_nothing_is_written() {
    let outriggerd = released();
    let _alone = alone();
    let installed = Installed::start().unwrap();
    let cluster = &installed.cluster;
    cluster.create_namespace("scale").unwrap();
    for batch in (0..COUNT).collect::<Vec<_>>().chunks(250) {
        let manifests: Vec<String> = batch.iter().map(|index| application(*index)).collect();
        cluster.apply(&manifests.join("\n---")).unwrap();
    }

    let started = Instant::now();
    let daemon = Daemon::start_program(&outriggerd, "scale", &installed.kubeconfig, &[]);
    let expected = 2.0 * COUNT as f64;
    daemon.wait_for_metric(WRITES, expected);
    let cold_start = started.elapsed();
    assert_eq!(count_ready(cluster, "virtualservices", "False"), COUNT / 10);
    assert_eq!(
        count_ready(cluster, "virtualservices", "True"),
        COUNT - COUNT / 10
    );
    assert_eq!(count_ready(cluster, "destinationrules", "True"), COUNT);

    // The one place that waits for time itself: for a time, nothing must happen.
    let settled = Instant::now();
    let quiet = wait::until(QUIET * 2, "a quiet minute", || {
        let written = daemon.metric(WRITES);
        (settled.elapsed() >= QUIET)
            .then_some(written)
            .ok_or("not over")
    });
    let written = quiet.unwrap() - expected;

    let changed = Instant::now();
    cluster.apply(&application(0).replace("v4", "v1")).unwrap();
    wait_for_ready(cluster, "scale", "virtualservice/app-0000", "True");
    let change = changed.elapsed();
    let conflicts = daemon.metric(CONFLICTS);
    let memory = memory(&daemon, "VmHWM");
    println!(
        "{COUNT} VirtualServices, {COUNT} DestinationRules, {COUNT} Services\n\
         cold start to the last of {expected} statuses: {cold_start:.1?}\n\
         conflicts: {conflicts}\n\
         writes in {QUIET:?} without a change: {written}\n\
         change to status, two kubectl calls included: {change:.2?}\n\
         peak memory: {:.1} MiB",
        memory / MIB,
    );
    assert_eq!(written, 0.0);
    assert!(cold_start < COLD_START, "{cold_start:?}");
    assert!(memory < MEMORY, "{memory} bytes");
}
