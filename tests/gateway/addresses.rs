//! Where node ports are reached: the addresses of the nodes, in the condition and on the command line.

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::{Value, json};

use super::{DEADLINE, Namespace};

/// Makes a node, or changes its status, as its kubelet does.
fn node(edge: &Namespace, name: &str, status: &Value) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    edge.cluster.apply(&node.to_string()).unwrap();
    let status = json!({ "status": status }).to_string();
    let patch = [
        "patch",
        "node",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    edge.cluster.kubectl(&patch).unwrap();
}

fn at(address: &str, beat: u32) -> Value {
    json!({
        "addresses": [{"type": "Hostname", "address": "somewhere"}, {"type": "InternalIP", "address": address}],
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": format!("2026-01-01T00:00:{beat:02}Z")}],
    })
}

/// What the condition `Ready` of a Gateway says.
fn ready(edge: &Namespace, gateway: &str) -> String {
    let gateway = edge.get(&format!("gateways.networking.istio.io/{gateway}"));
    let conditions = gateway["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    found.map_or(String::new(), |one| one["message"].to_string())
}

fn await_ready(edge: &Namespace, gateway: &str, part: &str) {
    wait::until(DEADLINE, &format!("{part:?} in Ready"), || {
        let said = ready(edge, gateway);
        if said.contains(part) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .unwrap();
}

#[test]
fn gateway_tells_the_addresses_of_the_nodes_and_their_heartbeats_write_nothing() {
    let edge = Namespace::new("addresses");
    edge.apply_client_side(&edge.service());
    node(&edge, "node-1", &at("192.0.2.1", 0));
    edge.gateway("shop", &[(80, "HTTP"), (8088, "HTTP")]);
    await_ready(
        &edge,
        "shop",
        "Nodes: 192.0.2.1. Server p80 (80): no VirtualService.",
    );
    let version =
        |edge: &Namespace| edge.get("gateway/shop")["metadata"]["resourceVersion"].clone();
    edge.await_exposed("shop", "True", "Exposed");
    let before = version(&edge);
    for beat in 1..20 {
        node(&edge, "node-1", &at("192.0.2.1", beat));
    }
    // What comes later is told, so all of that was seen.
    edge.gateway("other", &[(9090, "HTTP")]);
    await_ready(&edge, "other", "Nodes: 192.0.2.1.");
    assert_eq!(version(&edge), before);

    let status = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["gateway", "status", "shop", "-n", edge.name, "--kubeconfig"]);
        command.arg(edge.cluster.kubeconfig()).args(more);
        outrigger_e2e::command::output(&mut command).unwrap()
    };
    let table = status(&[]);
    assert!(
        table.starts_with("Gateway addresses/shop: ready, node ports at 192.0.2.1\n"),
        "{table}"
    );
    let tree: Value = serde_json::from_str(&status(&["-o", "json"])).unwrap();
    assert_eq!(tree[0]["nodeAddresses"], json!(["192.0.2.1"]));

    node(&edge, "node-1", &at("192.0.2.2", 20));
    await_ready(&edge, "shop", "Nodes: 192.0.2.2.");
    edge.cluster.kubectl(&["delete", "node", "node-1"]).unwrap();
    await_ready(&edge, "shop", "exists. Server p80");
}
