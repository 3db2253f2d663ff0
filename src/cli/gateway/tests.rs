use serde_json::json;

use super::*;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: edge, annotations: {outrigger.dev/allow-gateways-from: shop}}
spec:
  type: LoadBalancer
  selector: {istio: edge}
  ports:
    - {name: http2, port: 80, targetPort: 8080, nodePort: 30080}
    - {name: https, port: 443, targetPort: 8443, nodePort: 30443}
status: {loadBalancer: {ingress: [{ip: 203.0.113.7}, {hostname: edge.example.net}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway-1, namespace: edge, labels: {istio: edge}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com, "*.shop.example.com"]}
    - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: shop}}
    - {port: {number: 8443, name: partners, protocol: HTTPS}, hosts: [p.example.com], tls: {mode: MUTUAL, credentialName: nowhere}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [shop]
  http:
    - {match: [{uri: {prefix: /old}}], redirect: {uri: /}}
    - {redirect: {uri: /new}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: alone, namespace: shop}
spec:
  selector: {istio: nothing}
  servers:
    - {port: {number: 8088, name: http, protocol: HTTP}, hosts: ["*"]}
"#;

fn snapshot() -> Snapshot {
    let mut world = World::default().at(now());
    let text = |name: &str| match name {
        "tls.crt" => include_str!("../../world/secret/testdata/ec.crt"),
        _ => include_str!("../../world/secret/testdata/ec.key"),
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop", "namespace": "edge"},
        "stringData": {"tls.crt": text("tls.crt"), "tls.key": text("tls.key")},
    });
    take(&mut world, json!({"items": [secret]}), "default").unwrap();
    for object in serde_saphyr::from_multiple::<Value>(OBJECTS).unwrap() {
        take(&mut world, object, "default").unwrap();
    }
    Snapshot::new(world)
}

fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn shown(snapshot: &Snapshot) -> Vec<Shown> {
    let keys = snapshot.world().keys(Kind::Gateway);
    keys.iter()
        .filter_map(|key| Shown::of(snapshot, key))
        .collect()
}

#[test]
fn a_table_shows_servers_ports_certificates_and_routes_and_what_is_missing() {
    insta::assert_snapshot!(table::of(&shown(&snapshot()), now()));
}

#[test]
fn programs_get_the_same_as_a_tree() {
    insta::assert_json_snapshot!(tree::of(&shown(&snapshot()), now()));
}

#[test]
fn nodes_are_named_where_there_is_no_load_balancer() {
    let mut world = snapshot().world().clone();
    let mut service: Value = serde_saphyr::from_multiple::<Value>(OBJECTS)
        .unwrap()
        .remove(0);
    service["spec"]["type"] = json!("NodePort");
    service["status"] = json!({});
    world.apply(&service).unwrap();
    for index in 10..42 {
        let address = format!("192.0.2.{index}");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{index}")},
                          "status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        world.apply(&node).unwrap();
    }
    let shown = shown(&Snapshot::new(world));
    let text = table::of(&shown, now());
    assert!(
        text.contains(", node ports at 192.0.2.10, 192.0.2.11, "),
        "{text}"
    );
    assert!(text.contains("192.0.2.29 and 12 more\n"), "{text}");
    let addresses = &tree::of(&shown, now())[1]["nodeAddresses"];
    assert_eq!(addresses.as_array().map(Vec::len), Some(32));
}

#[test]
fn port_that_the_service_has_not_got_yet_is_said_to_come() {
    let mut world = snapshot().world().clone();
    let mut gateway = serde_saphyr::from_multiple::<Value>(OBJECTS)
        .unwrap()
        .remove(2);
    gateway["spec"]["servers"] = json!([
        {"port": {"number": 8088, "name": "new", "protocol": "HTTP"}, "hosts": ["*"]},
    ]);
    world.apply(&gateway).unwrap();
    let snapshot = Snapshot::new(world);
    let text = table::of(&shown(&snapshot), now());
    assert!(text.contains("edge/gateway:8088 (to come)"), "{text}");
    let tree = tree::of(&shown(&snapshot), now());
    assert_eq!(tree[1]["servers"][0]["exposed"][0]["live"], false);
}

#[test]
fn what_only_the_control_plane_knows_is_told_from_the_live_status() {
    let mut world = snapshot().world().clone();
    let mut gateway: Value = serde_saphyr::from_multiple::<Value>(OBJECTS)
        .unwrap()
        .into_iter()
        .find(|object| object["metadata"]["name"] == "shop" && object["kind"] == "Gateway")
        .unwrap();
    gateway["spec"]["servers"]
        .as_array_mut()
        .unwrap()
        .truncate(2);
    gateway["status"] = json!({"conditions": [
        {"type": "PortsExposed", "status": "False", "reason": "NodePortTaken", "message": "taken"},
    ]});
    world.apply(&gateway).unwrap();
    let shown = shown(&Snapshot::new(world));
    let text = table::of(&shown, now());
    assert!(
        text.ends_with("PortsExposed=False (NodePortTaken) taken\n"),
        "{text}"
    );
}

#[test]
fn a_gateway_that_is_not_there_is_an_error_and_none_at_all_is_not() {
    let status = |name: Option<&str>| Status {
        name: name.map(str::to_owned),
        filenames: Vec::new(),
        output: Output::Table,
        access: Access::default(),
    };
    let snapshot = snapshot();
    let error = status(Some("shop/other"))
        .selected(&snapshot, "default")
        .unwrap_err();
    assert_eq!(error.to_string(), "there is no Gateway shop/other");
    assert_eq!(
        status(Some("shop"))
            .selected(&snapshot, "shop")
            .unwrap()
            .len(),
        1
    );
    assert_eq!(status(None).selected(&snapshot, "shop").unwrap().len(), 2);
    assert!(
        status(None)
            .selected(&Snapshot::default(), "shop")
            .unwrap()
            .is_empty()
    );
}
