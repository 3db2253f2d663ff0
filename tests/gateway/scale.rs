//! The promise of `docs/performance.md`, measured with the program as it is released:
//! `cargo test --test integration -- --ignored --nocapture gateway::scale`.

use std::time::{Duration, Instant};

use outrigger_e2e::binaries;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::progress::Lines;
use outrigger_e2e::wait;
use serde_json::Value;

use crate::control::Installed;
use crate::control::daemon::Daemon;

const SERVICES: usize = 10;
const GATEWAYS: usize = 1000;
/// From the start of the process to the last port.
const COLD_START: Duration = Duration::from_secs(3);
/// For how long nothing may be written once all is right.
const QUIET: Duration = Duration::from_secs(60);
const WRITES: &str = "outrigger_gateway_services_writes_total";

fn service(index: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: gateway-{index}, namespace: scale}}\n\
         spec: {{type: ClusterIP, selector: {{istio: gateway-{index}}}, ports: [{{name: http2, port: 80, targetPort: 8080}}]}}\n"
    )
}

fn gateway(index: usize) -> String {
    let (service, port) = (index % SERVICES, 20_000 + index / SERVICES);
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g-{index:04}, namespace: scale}}\n\
         spec:\n  selector: {{istio: gateway-{service}}}\n  servers:\n\
         \x20   - {{port: {{number: {port}, protocol: HTTP, name: http}}, hosts: [\"g-{index}.example.com\"]}}\n"
    )
}

#[test]
#[ignore = "measures for minutes; run it on an idle machine"]
fn a_thousand_gateways_on_ten_services_have_their_ports_within_3_seconds_and_then_nothing_is_written()
 {
    let outriggerd = binaries::build(&Lines).unwrap().outriggerd();
    let installed = Installed::start_with(&[]).unwrap();
    let cluster = &installed.cluster;
    cluster.create_namespace("scale").unwrap();
    let services: Vec<String> = (0..SERVICES).map(service).collect();
    cluster.apply(&services.join("---\n")).unwrap();
    let gateways: Vec<String> = (0..GATEWAYS).map(gateway).collect();
    for batch in gateways.chunks(250) {
        cluster.apply(&batch.join("---\n")).unwrap();
    }

    // It counts what was applied just now too.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let started = Instant::now();
    let daemon = Daemon::start_program(&outriggerd, "scale", installed.kubeconfig(), &[]);
    daemon.wait_for_metric(WRITES, SERVICES as f64);
    let cold_start = started.elapsed();
    let list = cluster.kubectl(&["get", "services", "--namespace=scale", "--output=json"]);
    let list: Value = serde_json::from_str(&list.unwrap()).unwrap();
    let ports = |service: &Value| service["spec"]["ports"].as_array().map_or(0, Vec::len);
    let ports: usize = list["items"].as_array().unwrap().iter().map(ports).sum();

    // The one place that waits for time itself: for a time, nothing must happen.
    let settled = Instant::now();
    let writes = wait::until(QUIET * 2, "a quiet minute", || {
        let written = daemon.metric(WRITES);
        (settled.elapsed() >= QUIET)
            .then_some(written)
            .ok_or("not over")
    });
    let more = writes.unwrap() - SERVICES as f64;
    println!(
        "{GATEWAYS} Gateways on {SERVICES} Services, load {load}\n\
         cold start to the last port: {cold_start:.2?}\n\
         writes in {QUIET:?} without a change: {more}"
    );
    assert_eq!(ports, GATEWAYS + SERVICES);
    assert_eq!(more, 0.0);
    assert!(cold_start < COLD_START, "{cold_start:?}");
}
