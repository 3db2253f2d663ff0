//! The type of a Service changes under ports of ours.

use serde_json::{Value, json};

use super::Namespace;

fn with_type(edge: &Namespace, kind: &str) -> Value {
    let mut service = edge.service();
    service["spec"]["type"] = json!(kind);
    service
}

#[test]
fn port_follows_the_type_of_its_service_and_leaves_one_that_becomes_an_alias() {
    let edge = Namespace::new("changing-type");
    edge.apply_client_side(&with_type(&edge, "ClusterIP"));
    edge.gateway_with_node_ports("shop", &[(8088, "HTTP")], "8088=30077");
    let inner = edge.await_ports(&[80, 443, 8088, 15021]);
    assert_eq!(inner[&8088].node_port, 0);
    let told = edge.await_exposed("shop", "False", "NodePortUnsupported");
    assert!(told.contains("is of type ClusterIP"), "{told}");

    for kind in ["NodePort", "LoadBalancer"] {
        edge.apply_client_side(&with_type(&edge, kind));
        let way = edge.await_exposed("shop", "True", "Exposed");
        assert!(way.contains("node port 30077"), "{way}");
        assert_eq!(edge.ports()[&8088].node_port, 30077, "{kind}");
    }
    edge.apply_client_side(&with_type(&edge, "ClusterIP"));
    edge.await_exposed("shop", "False", "NodePortUnsupported");
    let back = edge.await_ports(&[80, 443, 8088, 15021]);
    assert_eq!(back, inner);

    let mut alias = with_type(&edge, "ExternalName");
    alias["spec"]["externalName"] = json!("gateway.example.com");
    edge.apply_client_side(&alias);
    let told = edge.await_exposed("shop", "False", "ServiceUnsupported");
    assert!(told.contains("ExternalName"), "{told}");
    edge.await_ports(&[80, 443, 15021]);

    alias["spec"]["type"] = json!("NodePort");
    alias["spec"]
        .as_object_mut()
        .unwrap()
        .remove("externalName");
    edge.apply_client_side(&alias);
    edge.await_ports(&[80, 443, 8088, 15021]);
    edge.await_exposed("shop", "True", "Exposed");
}
