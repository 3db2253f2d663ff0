//! Somebody else wants the Service to be different.

use std::time::{Duration, Instant};

use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::wait;
use serde_json::json;

use super::{DEADLINE, Namespace};

/// How long the other tool keeps at it; three of our writes are 5 and then 10 seconds apart.
const FIGHT: Duration = Duration::from_secs(17);

#[test]
fn tool_that_rewrites_the_whole_service_meets_few_writes_and_an_event() {
    let edge = Namespace::new("fight");
    edge.apply_client_side(&edge.service());
    let whole = edge.service().to_string();
    edge.gateway("shop", &[(8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);
    let node_ports: Vec<u64> = edge.ports().values().map(|port| port.node_port).collect();

    let start = Instant::now();
    let mut added = Vec::new();
    let mut last = String::new();
    wait::until_true(FIGHT * 3, "end of the fight", || {
        // A replace without the port, as often as it is seen.
        let service = edge.get("service/gateway");
        let version = service["metadata"]["resourceVersion"].to_string();
        let has_ours = service["spec"]["ports"]
            .as_array()
            .is_some_and(|ports| ports.iter().any(|port| port["port"] == 8088));
        if has_ours && version != last {
            added.push(start.elapsed());
            let mut kubectl = edge.cluster.kubectl_command();
            kubectl.args(["replace", "-f", "-"]);
            outrigger_e2e::command::output_with_input(&mut kubectl, &whole).unwrap();
            last = version;
        }
        start.elapsed() > FIGHT
    })
    .unwrap();
    assert!(
        (2..=4).contains(&added.len()),
        "the port was there after {added:?}"
    );
    let note = edge.await_event("GatewayPortsOverwritten");
    assert!(
        note.contains("8088") && note.contains("outrigger.dev/manage-ports"),
        "{note}"
    );

    let after = edge.await_ports(&[80, 443, 8088, 15021]);
    assert_eq!(after.len(), node_ports.len());
}

#[test]
fn field_that_a_person_took_over_is_not_fought_for_and_an_event_names_it() {
    let edge = Namespace::new("refused");
    edge.apply_client_side(&edge.service());
    edge.gateway("shop", &[(8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);
    edge.kubectl(&[
        "patch",
        "service/gateway",
        "--field-manager=somebody",
        "--patch",
        &json!({"spec": {"ports": [{"port": 8088, "protocol": "TCP", "targetPort": 9000}]}})
            .to_string(),
    ]);
    let note = edge.await_event("GatewayPortsRefused");
    assert!(
        note.contains("somebody") && note.contains("targetPort"),
        "{note}"
    );
    assert_eq!(edge.ports()[&8088].target, "9000");
}

#[test]
fn service_with_an_unnamed_port_gets_ours_as_soon_as_it_is_named() {
    let edge = Namespace::new("unnamed");
    let mut service = edge.service();
    service["spec"]["ports"] = json!([{"port": 80, "targetPort": 8080, "protocol": "TCP"}]);
    edge.apply_client_side(&service);
    edge.gateway("shop", &[(8088, "HTTP")]);
    let named = edge.kubectl(&[
        "patch",
        "service/gateway",
        "--type=json",
        r#"--patch=[{"op": "add", "path": "/spec/ports/0/name", "value": "port-80"}]"#,
    ]);
    assert!(named.contains("patched"), "{named}");
    edge.await_ports(&[80, 8088]);
}

#[test]
fn two_hundred_ports_fit_on_one_service() {
    let edge = Namespace::new("many-ports");
    let mut service = edge.service();
    service["spec"]["type"] = json!("ClusterIP");
    edge.apply_client_side(&service);
    let servers: Vec<(u16, &str)> = (20_000..20_200).map(|port| (port, "HTTP")).collect();
    edge.gateway("shop", &servers);
    wait::until(DEADLINE, "203 ports", || match edge.ports().len() {
        203 => Ok(()),
        other => Err(other),
    })
    .unwrap();
    edge.delete("gateway/shop");
    edge.await_ports(&[80, 443, 15021]);
}
