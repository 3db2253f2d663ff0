//! The promise of `docs/performance.md`, measured with the program as it is released:
//! `cargo test --test integration -- --ignored --nocapture control::scale`.

use std::time::Instant;

use outrigger_e2e::binaries;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;

use super::daemon::Daemon;
use super::*;

/// Objects of each kind.
const COUNT: usize = 1000;
/// From the start of the process to the last status.
const COLD_START: Duration = Duration::from_secs(10);
/// For how long nothing may be written once all is right.
const QUIET: Duration = Duration::from_secs(60);
/// Highest resident memory, in bytes.
const MEMORY: u64 = 80 << 20;

/// One Service, and its DestinationRule and VirtualService; every tenth VirtualService names a subset that isn't there.
fn application(index: usize) -> String {
    let name = format!("app-{index:04}");
    let subset = if index.is_multiple_of(10) { "v4" } else { "v1" };
    reviews("scale", subset).replace("reviews", &name)
}

/// The highest resident memory that a process ever had, in bytes.
fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.context("no VmHWM")? * 1024)
}

/// How many objects of a kind say Ready with this status for their current generation.
fn count_ready(cluster: &ControlPlane, kind: &str, ready: &str) -> usize {
    let list = read(cluster, "scale", kind).unwrap();
    let objects = list["items"].as_array().unwrap().iter();
    let says = |object: &&Value| condition(object, "Ready").is_ok_and(|found| found.0 == ready);
    objects.filter(says).count()
}

#[test]
#[ignore = "measures for minutes; run it on an idle machine"]
fn a_thousand_of_each_kind_are_right_within_10_seconds_and_then_nothing_is_written() {
    let outriggerd = binaries::build(&Lines).unwrap().outriggerd();
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    cluster.create_namespace("scale").unwrap();
    for batch in (0..COUNT).collect::<Vec<_>>().chunks(250) {
        let manifests: Vec<String> = batch.iter().map(|index| application(*index)).collect();
        cluster.apply(&manifests.join("\n---")).unwrap();
    }

    let started = Instant::now();
    let daemon = Daemon::start_program(&outriggerd, "scale", &installed.kubeconfig, &[]);
    let expected = 2.0 * COUNT as f64;
    daemon.wait_for_metric("outrigger_status_writes_total", expected);
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
        let written = daemon.metric("outrigger_status_writes_total");
        (settled.elapsed() >= QUIET)
            .then_some(written)
            .ok_or("not over")
    });
    let written = quiet.unwrap() - expected;

    let changed = Instant::now();
    cluster.apply(&application(0).replace("v4", "v1")).unwrap();
    wait_for_ready(cluster, "scale", "virtualservice/app-0000", "True");
    let change = changed.elapsed();
    let conflicts = daemon.metric("outrigger_status_conflicts_total");
    let memory = peak_memory(daemon.pid()).unwrap();
    println!(
        "{COUNT} VirtualServices, {COUNT} DestinationRules, {COUNT} Services\n\
         cold start to the last of {expected} statuses: {cold_start:.1?}\n\
         conflicts: {conflicts}\n\
         writes in {QUIET:?} without a change: {written}\n\
         change to status, two kubectl calls included: {change:.2?}\n\
         peak memory: {:.1} MiB",
        memory as f64 / f64::from(1 << 20),
    );
    assert_eq!(written, 0.0);
    assert!(cold_start < COLD_START, "{cold_start:?}");
    assert!(memory < MEMORY, "{memory} bytes");
}
