//! Somebody else wants the Service to be different.

use std::time::{Duration, Instant};

use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::wait;
use serde_json::{Value, json};

use super::{DEADLINE, Namespace};

/// How long the other tool keeps at it; three of our writes are 5 and then 10 seconds apart.
const FIGHT: Duration = Duration::from_secs(17);
/// How long a manager forces its own ports on the Service.
const FORCED: Duration = Duration::from_secs(15);

#[test]
fn tool_that_rewrites_the_whole_service_meets_few_writes_and_an_event() {
    let edge = Namespace::new("fight");
    edge.apply_client_side(&edge.service());
    let whole = edge.service().to_string();
    edge.gateway("shop", &[(8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);
    let before = edge.ports();
    // The node port can only be kept once it is known, and it is when it is told.
    wait::until(DEADLINE, "the node port is told", || {
        let way = edge.await_exposed("shop", "True", "Exposed");
        let told = format!("node port {}", before[&8088].node_port);
        way.contains(&told).then_some(()).ok_or(way)
    })
    .unwrap();

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

    let told = edge.await_exposed("shop", "False", "Overwritten");
    assert!(
        told.contains("port 8088 keeps disappearing from Service fight/gateway"),
        "{told}"
    );
    let after = edge.await_ports(&[80, 443, 8088, 15021]);
    assert_eq!(after, before, "our port has the node port that it had");
    let way = edge.await_exposed("shop", "True", "Exposed");
    assert!(
        way.starts_with("8088 on Service fight/gateway port 8088"),
        "{way}"
    );
}

/// When our entry in `metadata.managedFields` changed, as a watch saw it.
fn our_writes(watched: &str) -> Vec<String> {
    let events = serde_json::Deserializer::from_str(watched).into_iter::<Value>();
    let mut writes = Vec::new();
    let mut last = Value::Null;
    for service in events.map_while(Result::ok) {
        let entries = service["metadata"]["managedFields"].as_array();
        let ours = entries.and_then(|all| {
            all.iter()
                .find(|one| one["manager"] == "outrigger-gateways")
        });
        let ours = ours.cloned().unwrap_or_default();
        if ours != last {
            writes.push(ours["time"].as_str().unwrap_or("given up").to_owned());
            last = ours;
        }
    }
    writes
}

#[test]
fn manager_that_forces_its_own_port_every_second_meets_few_writes_and_the_gateway_tells_where_it_leads()
 {
    let edge = Namespace::new("forced");
    // Not on the client's side: a server-side apply by kubectl would drop whatever such an apply had owned.
    edge.cluster.apply(&edge.service().to_string()).unwrap();
    edge.gateway("shop", &[(8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);
    let seen = tempfile::NamedTempFile::new().unwrap();
    let mut watch = edge
        .cluster
        .kubectl_command()
        .args([
            "get",
            "service/gateway",
            "--namespace",
            edge.name,
            "--watch",
        ])
        .args(["--output=json", "--show-managed-fields"])
        .stdout(seen.reopen().unwrap())
        .spawn()
        .unwrap();

    let theirs = json!({"name": "mine", "port": 8088, "targetPort": 9000, "protocol": "TCP"});
    let apply = |ports: &Value| {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gateway"},
                             "spec": {"ports": ports}});
        let mut kubectl = edge.cluster.kubectl_command();
        kubectl.args([
            "apply",
            "--namespace",
            edge.name,
            "--server-side",
            "--force-conflicts",
        ]);
        kubectl.args(["--field-manager=gitops", "-f", "-"]);
        outrigger_e2e::command::output_with_input(&mut kubectl, &service.to_string()).unwrap();
    };
    let own = json!({"name": "extra", "port": 9090, "targetPort": 9090, "protocol": "TCP"});
    let (start, mut rounds) = (Instant::now(), 0_u32);
    wait::until_true(FORCED * 4, "end of the forcing", || {
        if start.elapsed() >= Duration::from_secs(1) * rounds {
            apply(&json!([own, theirs]));
            rounds += 1;
        }
        start.elapsed() > FORCED
    })
    .unwrap();
    let took = start.elapsed();
    let way = wait::until(DEADLINE, "the Gateway tells where the port leads", || {
        let told = edge.exposed("shop")["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if told.ends_with("pods listen on 9000") {
            Ok(told)
        } else {
            Err(told)
        }
    });
    assert!(
        way.unwrap()
            .contains("8088 on Service forced/gateway port 8088")
    );
    watch.kill().unwrap();
    watch.wait().unwrap();

    let writes = our_writes(&std::fs::read_to_string(seen.path()).unwrap());
    // The first is that of before.
    let most = 2 + took.as_secs() / 5;
    assert!(writes.len() as u64 <= most, "{writes:?} in {took:?}");
    let port = edge.ports()[&8088].clone();
    assert_eq!((&*port.name, &*port.target), ("mine", "9000"));
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
    let told = edge.await_exposed("shop", "False", "FieldConflict");
    assert!(told.contains("\"somebody\" set its targetPort"), "{told}");

    // What they hold keeps no other port from being added.
    edge.gateway("other", &[(8089, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    edge.await_exposed("other", "True", "Exposed");
    assert_eq!(edge.ports()[&8088].target, "9000");
}

#[test]
fn service_with_an_unnamed_port_gets_ours_as_soon_as_it_is_named() {
    let edge = Namespace::new("unnamed");
    let mut service = edge.service();
    service["spec"]["ports"] = json!([{"port": 80, "targetPort": 8080, "protocol": "TCP"}]);
    edge.apply_client_side(&service);
    edge.gateway("shop", &[(8088, "HTTP")]);
    let cure = edge.await_exposed("shop", "False", "ServicePortUnnamed");
    assert!(
        cure.contains("kubectl -n unnamed patch service gateway"),
        "{cure}"
    );
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
