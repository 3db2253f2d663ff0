//! Node ports that Gateways ask for. The API server gives those up to 30085 only to who asks for them.

use outrigger_e2e::wait;
use serde_json::json;

use super::{DEADLINE, Namespace};

#[test]
fn gateway_gets_the_node_port_that_it_asks_for_and_another_one_when_it_asks_for_that() {
    let edge = Namespace::new("asked");
    edge.apply_client_side(&edge.service());
    edge.gateway("shop", &[(8088, "HTTP"), (8089, "HTTP")]);
    let given = edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    let becomes = |node_port: u64| {
        wait::until(DEADLINE, &format!("node port {node_port}"), || {
            let now = edge.ports()[&8088].node_port;
            if now == node_port { Ok(()) } else { Err(now) }
        })
        .unwrap();
    };
    for node_port in [30010, 30011] {
        let servers = [(8088, "HTTP"), (8089, "HTTP")];
        edge.gateway_with_node_ports("shop", &servers, &format!("8088={node_port}"));
        becomes(node_port);
    }
    let way = edge.await_exposed("shop", "True", "Exposed");
    assert!(
        way.contains("8088 on Service asked/gateway port 8088, node port 30011"),
        "{way}"
    );

    // Who no longer asks for it keeps it.
    edge.gateway("shop", &[(8088, "HTTP"), (8090, "HTTP")]);
    let after = edge.await_ports(&[80, 443, 8088, 8090, 15021]);
    assert_eq!(after[&8088].node_port, 30011);
    assert_eq!(after[&80], given[&80]);
}

#[test]
fn node_port_of_another_service_is_refused_until_it_is_free() {
    let first = Namespace::new("first");
    let second = Namespace::new("second");
    for edge in [&first, &second] {
        edge.apply_client_side(&edge.service());
    }
    first.gateway_with_node_ports("shop", &[(8088, "HTTP")], "8088=30020");
    first.await_exposed("shop", "True", "Exposed");
    second.gateway_with_node_ports("shop", &[(8088, "HTTP")], "8088=30020");
    let told = second.await_exposed("shop", "False", "NodePortTaken");
    assert!(
        told.contains("node port 30020 belongs to port 8088 of Service first/gateway"),
        "{told}"
    );
    let any = second.await_ports(&[80, 443, 8088, 15021])[&8088].node_port;
    assert!(any != 0 && any != 30020, "the port is there all the same");

    first.delete("gateways.networking.istio.io/shop");
    second.await_exposed("shop", "True", "Exposed");
    assert_eq!(second.ports()[&8088].node_port, 30020);
}

#[test]
fn node_port_that_the_api_server_refuses_costs_no_other_port_and_the_condition_says_why() {
    let edge = Namespace::new("refused-node-ports");
    edge.apply_client_side(&edge.service());
    // The health check's port is in the range of node ports, but it is no port of the Service.
    edge.apply_client_side(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "other", "namespace": edge.name},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30030,
                 "selector": {"app": "other"}, "ports": [{"name": "http", "port": 80}]},
    }));
    edge.gateway_with_node_ports("taken", &[(8088, "HTTP")], "8088=30030");
    edge.gateway_with_node_ports("outside", &[(8089, "HTTP")], "8089=80");
    edge.gateway("any", &[(8090, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 8089, 8090, 15021]);
    edge.await_exposed("any", "True", "Exposed");
    let taken = edge.await_exposed("taken", "False", "NodePortTaken");
    assert!(
        taken.contains("not on node port 30030") && taken.contains("already allocated"),
        "{taken}"
    );
    let outside = edge.await_exposed("outside", "False", "NodePortOutOfRange");
    assert!(outside.contains("30000-32767"), "{outside}");

    edge.kubectl(&["delete", "service/other"]);
    edge.gateway_with_node_ports("outside", &[(8089, "HTTP")], "");
    edge.await_exposed("outside", "True", "Exposed");
    edge.await_exposed("taken", "True", "Exposed");
    assert_eq!(edge.ports()[&8088].node_port, 30030);
}

#[test]
fn gateways_that_ask_for_different_node_ports_change_nothing() {
    let edge = Namespace::new("rivals");
    edge.apply_client_side(&edge.service());
    edge.gateway_with_node_ports("shop", &[(8088, "HTTP")], "8088=30040");
    edge.await_exposed("shop", "True", "Exposed");
    edge.gateway_with_node_ports("other", &[(8088, "HTTP")], "8088=30041");
    for name in ["shop", "other"] {
        let told = edge.await_exposed(name, "False", "NodePortConflict");
        assert!(
            told.contains("30040 by Gateway rivals/shop, 30041 by Gateway rivals/other"),
            "{told}"
        );
    }
    assert_eq!(edge.ports()[&8088].node_port, 30040);
    edge.gateway_with_node_ports("other", &[(8088, "HTTP")], "8088");
    edge.await_exposed("other", "False", "NodePortInvalid");
    edge.await_exposed("shop", "True", "Exposed");
}
