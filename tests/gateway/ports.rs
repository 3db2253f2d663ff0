//! Ports come and go with Gateways, and what is not ours stays as it is.

use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::wait;
use serde_json::{Value, json};

use super::{DEADLINE, Namespace, Port, without};

#[test]
fn port_comes_and_goes_with_the_gateway_and_no_other_port_changes() {
    let edge = Namespace::new("comes-and-goes");
    edge.apply_client_side(&edge.service());
    let before = edge.ports();

    edge.gateway("shop", &[(80, "HTTP"), (8088, "HTTP")]);
    let with = edge.await_ports(&[80, 443, 8088, 15021]);
    let ours = &with[&8088];
    assert_eq!(
        (&*ours.name, &*ours.target, &*ours.app_protocol),
        ("http-8088", "8088", "http")
    );
    assert_ne!(ours.node_port, 0);
    assert_eq!(without(&with, 8088), before);
    assert_eq!(
        edge.await_event("GatewayPortsApplied"),
        "ports that Gateways need here: 8088"
    );

    edge.gateway("shop", &[(8088, "GRPC"), (9443, "HTTPS")]);
    let more = edge.await_ports(&[80, 443, 8088, 9443, 15021]);
    let grpc = wait::until(DEADLINE, "8088 as grpc", || {
        Some(edge.ports()[&8088].clone())
            .filter(|port| port.app_protocol == "grpc")
            .ok_or("not yet")
    });
    assert_eq!(
        grpc.unwrap().node_port,
        ours.node_port,
        "the node port stays"
    );
    assert_eq!(more[&9443].name, "https-9443");

    edge.delete("gateway/shop");
    assert_eq!(edge.await_ports(&[80, 443, 15021]), before);
}

#[test]
fn node_port_survives_the_next_apply_of_the_owner() {
    let edge = Namespace::new("next-apply");
    let mut service = edge.service();
    edge.apply_client_side(&service);
    edge.gateway("shop", &[(8088, "HTTP")]);
    let before = edge.await_ports(&[80, 443, 8088, 15021]);

    service["spec"]["ports"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "extra", "port": 9999, "targetPort": 9999, "protocol": "TCP"}));
    edge.apply_client_side(&service);
    let after = edge.await_ports(&[80, 443, 8088, 9999, 15021]);
    assert_eq!(without(&after, 9999), before);
}

#[test]
fn port_of_somebody_else_is_neither_taken_nor_removed() {
    let edge = Namespace::new("foreign-port");
    // Not on the client's side: a server-side apply by kubectl would drop whatever such an apply had owned.
    edge.cluster.apply(&edge.service().to_string()).unwrap();
    edge.gateway("shop", &[(8088, "HTTP")]);
    let node_port = edge.await_ports(&[80, 443, 8088, 15021])[&8088].node_port;

    // Somebody takes the port over by force, and gives it a name of their own.
    edge.cluster
        .kubectl(&[
            "--namespace",
            edge.name,
            "patch",
            "service",
            "gateway",
            "--field-manager=somebody",
            "--type=json",
            r#"--patch=[{"op": "replace", "path": "/spec/ports/3/name", "value": "mine"}]"#,
        ])
        .unwrap();
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "gateway", "namespace": edge.name},
        "spec": {"ports": [{"name": "mine", "port": 8088, "targetPort": 8088, "protocol": "TCP"}]},
    });
    let mut kubectl = edge.cluster.kubectl_command();
    kubectl.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=somebody",
        "-f",
        "-",
    ]);
    outrigger_e2e::command::output_with_input(&mut kubectl, &theirs.to_string()).unwrap();

    wait::until_true(DEADLINE, "our claim is given up", || {
        !is_claimed_by_us(&edge)
    })
    .unwrap();
    edge.delete("gateway/shop");
    // The writer has seen the deletion once it acted on what came after it.
    edge.gateway("other", &[(9090, "TCP")]);
    let ports = edge.await_ports(&[80, 443, 8088, 9090, 15021]);
    let mine = Port {
        name: "mine".to_owned(),
        target: "8088".to_owned(),
        node_port,
        app_protocol: ports[&8088].app_protocol.clone(),
    };
    assert_eq!(ports[&8088], mine);
}

fn is_claimed_by_us(edge: &Namespace) -> bool {
    let service = edge.kubectl(&[
        "get",
        "service/gateway",
        "--output=json",
        "--show-managed-fields",
    ]);
    let service: Value = serde_json::from_str(&service).unwrap();
    let entries = service["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| entry["manager"] == "outrigger-gateways")
        .any(|entry| entry["fieldsV1"].to_string().contains("8088"))
}

#[test]
fn deleted_service_stays_deleted_and_a_new_one_gets_the_ports() {
    let edge = Namespace::new("recreated");
    let mut other = edge.service();
    other["metadata"]["name"] = json!("other");
    edge.apply_client_side(&edge.service());
    edge.apply_client_side(&other);
    edge.gateway("shop", &[(8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);

    edge.delete("service/gateway");
    edge.gateway("shop", &[(8088, "HTTP"), (8089, "HTTP")]);
    wait::until_true(DEADLINE, "8089 on the other Service", || {
        super::ports_of(&edge.get("service/other")).contains_key(&8089)
    })
    .unwrap();
    let services = edge.kubectl(&["get", "services", "--output=name"]);
    assert_eq!(services.trim(), "service/other");

    edge.apply_client_side(&edge.service());
    edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    assert_eq!(
        edge.get("service/gateway")["spec"]["selector"]["istio"],
        edge.name
    );
}

#[test]
fn gateway_of_another_namespace_adds_a_port_only_while_the_service_allows_it() {
    let edge = Namespace::new("guarded");
    let team = Namespace::new("guarded-team");
    edge.apply_client_side(&edge.service());
    edge.gateway("own", &[(8087, "HTTP")]);
    team.apply_client_side(&json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "shop", "namespace": team.name},
        "spec": {"selector": {"istio": edge.name}, "servers": [
            {"port": {"number": 8088, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]},
        ]},
    }));
    edge.gateway("own", &[(8087, "HTTP"), (8089, "HTTP")]);
    edge.await_ports(&[80, 443, 8087, 8089, 15021]);
    let cure = team.await_exposed("shop", "False", "NotAllowed");
    let allow = "outrigger.dev/allow-gateways-from";
    assert!(cure.contains(&format!("{allow}='{}'", team.name)), "{cure}");
    edge.kubectl(&[
        "annotate",
        "service/gateway",
        &format!("{allow}={}", team.name),
    ]);
    edge.await_ports(&[80, 443, 8087, 8088, 8089, 15021]);
    team.await_exposed("shop", "True", "Exposed");
    edge.kubectl(&["annotate", "service/gateway", &format!("{allow}-")]);
    edge.await_ports(&[80, 443, 8087, 8089, 15021]);
}

#[test]
fn config_map_tells_the_pods_of_a_gateway_what_to_listen_on() {
    let edge = Namespace::new("listeners");
    edge.apply_client_side(&edge.service());
    edge.gateway("shop", &[(80, "HTTP"), (8088, "HTTP")]);
    edge.await_ports(&[80, 443, 8088, 15021]);
    let labels = json!({"app": "gateway", "istio": edge.name});
    edge.apply_client_side(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "gateway-1", "namespace": edge.name, "labels": labels},
        "spec": {
            "containers": [{"name": "istio-proxy", "image": "local.test/proxyv2:1"}],
            "volumes": [{"name": "ports", "configMap": {"name": "outrigger-gateway-ports", "optional": true}}],
        },
    }));
    await_listeners(&edge, "8080\n8088\n");
    edge.gateway("shop", &[(80, "HTTP")]);
    await_listeners(&edge, "8080\n");
    edge.delete("gateway/shop");
    await_listeners(&edge, "");
}

fn await_listeners(edge: &Namespace, expected: &str) {
    wait::until(
        DEADLINE,
        &format!("ports {expected:?} in the ConfigMap"),
        || {
            let get = [
                "get",
                "configmap",
                "outrigger-gateway-ports",
                "--output=json",
                "--namespace",
                edge.name,
            ];
            let map = edge
                .cluster
                .kubectl(&get)
                .map_err(|error| error.to_string())?;
            let map: Value = serde_json::from_str(&map).unwrap();
            if map["data"]["ports"] == expected {
                Ok(())
            } else {
                Err(map.to_string())
            }
        },
    )
    .unwrap();
}

#[test]
fn opted_out_service_and_gateway_are_left_as_they_are() {
    let edge = Namespace::new("opted-out");
    edge.apply_client_side(&edge.service());
    edge.gateway("shop", &[(8088, "HTTP")]);
    let with = edge.await_ports(&[80, 443, 8088, 15021]);
    let opt_out = "outrigger.dev/manage-ports=false";
    edge.kubectl(&["annotate", "service/gateway", opt_out]);
    edge.gateway("shop", &[(8088, "HTTP"), (8089, "HTTP")]);
    let told = edge.await_exposed("shop", "False", "NotManaged");
    assert!(
        told.contains("port 8089 is not on Service opted-out/gateway"),
        "{told}"
    );
    assert_eq!(edge.ports(), with, "left as it is, our port included");

    edge.kubectl(&["annotate", "service/gateway", "outrigger.dev/manage-ports-"]);
    edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    edge.kubectl(&["annotate", "gateways.networking.istio.io/shop", opt_out]);
    // It asks for nothing any more.
    edge.await_ports(&[80, 443, 15021]);
    edge.await_exposed("shop", "Unknown", "OptedOut");
}

#[test]
fn servers_that_no_port_can_be_given_keep_no_other_from_theirs() {
    let edge = Namespace::new("bad-servers");
    edge.apply_client_side(&edge.service());
    let server = |number: u32, protocol: &str, name: &str| json!({"port": {"number": number, "protocol": protocol, "name": name}, "hosts": ["*.example.com"]});
    edge.apply_client_side(&json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "shop", "namespace": edge.name},
        "spec": {"selector": {"istio": edge.name}, "servers": [
            server(0, "HTTP", "zero"), server(65_536, "HTTP", "beyond"), server(8088, "HTTP", "same"),
            server(8089, "HTTP", "same"), server(8090, "HTTP", "a"), server(8090, "TCP", "b"),
        ]},
    }));
    // 8090 is asked for with two protocols.
    let ports = edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    assert_eq!(
        (&*ports[&8088].name, &*ports[&8089].name),
        ("http-8088", "http-8089")
    );
    let told = wait::until(DEADLINE, "PortsExposed=False", || {
        let condition = edge.exposed("shop");
        if condition["status"] == "False" {
            Ok(condition["message"].to_string())
        } else {
            Err(condition)
        }
    });
    assert!(told.unwrap().contains("8090"));
}
