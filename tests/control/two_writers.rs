//! More than one process that could write: a leader that was stopped and does not know that it is none any more, one
//! that ends in the middle of a write, and a control plane of another revision.

use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::daemon::Daemon;
use super::proxy::{
    Fault, Proxy, is_status_write_of_destination_rules, is_status_write_of_virtual_services,
};
use super::*;

const LEADER: &str = "outrigger_leader";
const STATUS_WRITES: &str = "outrigger_status_writes_total";
const PORT_WRITES: &str = "outrigger_gateway_services_writes_total";

/// A replica behind a proxy that sees what it does.
fn replica(installed: &Installed, name: &str) -> (Proxy, Daemon) {
    let proxy = Proxy::start(&installed.cluster, installed.kubeconfig());
    let daemon = Daemon::start_ready(name, &proxy.kubeconfig(), &[]);
    (proxy, daemon)
}

/// The Service of a gateway.
fn edge(namespace: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "gateway", "namespace": namespace},
        "spec": {"type": "NodePort", "selector": {"istio": namespace},
                 "ports": [{"name": "http2", "port": 80, "targetPort": 8080}]},
    })
    .to_string()
}

/// A Gateway with a server on each of these ports.
fn gateway(namespace: &str, ports: &[u16]) -> String {
    let server = |port: &u16| json!({"port": {"number": port, "name": format!("http-{port}"), "protocol": "HTTP"}, "hosts": ["*"]});
    let servers: Vec<Value> = ports.iter().map(server).collect();
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "gateway", "namespace": namespace},
        "spec": {"selector": {"istio": namespace}, "servers": servers},
    })
    .to_string()
}

fn wait_for_ports(cluster: &ControlPlane, namespace: &str, expected: &[u64]) {
    wait::until(RECOVERY, &format!("ports {expected:?}"), || {
        let service = read(cluster, namespace, "service/gateway")?;
        let ports = service["spec"]["ports"].as_array().context("no ports")?;
        let ports: Vec<u64> = ports
            .iter()
            .filter_map(|port| port["port"].as_u64())
            .collect();
        ensure!(ports == expected, "{ports:?}");
        Ok(())
    })
    .unwrap();
}

/// The field managers of an object, in the order of its entries.
fn managers(cluster: &ControlPlane, namespace: &str, object: &str) -> Vec<String> {
    let get = [
        "get",
        object,
        "-n",
        namespace,
        "-o",
        "json",
        "--show-managed-fields",
    ];
    let object: Value = serde_json::from_str(&cluster.kubectl(&get).unwrap()).unwrap();
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter();
    let names = entries.filter_map(|entry| entry["manager"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn a_leader_that_was_stopped_for_longer_than_its_lease_asks_for_no_change_when_it_goes_on() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "leader-stopped";
    cluster.create_namespace(ns).unwrap();
    let (proxy, stopped) = replica(&installed, "stopped");
    stopped.wait_for_metric(LEADER, 1.0);
    let (next_proxy, next) = replica(&installed, "next");
    cluster.apply(&reviews(ns, "v1")).unwrap();
    cluster.apply(&edge(ns)).unwrap();
    cluster.apply(&gateway(ns, &[8088])).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    wait_for_ready(cluster, ns, "gateway/gateway", "True");
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    wait_for_ports(cluster, ns, &[80, 8088]);
    assert_eq!(
        next_proxy.changes_asked_for(ns),
        [""; 0],
        "a follower wrote"
    );

    stopped.signal("STOP");
    // What it would write, had it not lost the Lease: all this is waiting for it when it goes on.
    let before = proxy.changes_asked_for(ns);
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    cluster.apply(&gateway(ns, &[8088, 8089])).unwrap();
    next.wait_for_metric(LEADER, 1.0);
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    wait_for_ports(cluster, ns, &[80, 8088, 8089]);
    stopped.signal("CONT");
    wait::until(RECOVERY, "it knows that it leads no more", || {
        stopped.get("/metrics")?;
        let held = stopped.metric(LEADER);
        ensure!(held == 0.0, "{held}");
        Ok(())
    })
    .unwrap();
    // It has seen everything once it has seen what comes last.
    for (subset, ready) in [("v1", "True"), ("v4", "False"), ("v2", "True")] {
        cluster.apply(&virtual_service(ns, subset)).unwrap();
        wait_for_ready(cluster, ns, "virtualservice/reviews", ready);
    }
    cluster.apply(&gateway(ns, &[8090])).unwrap();
    wait_for_ports(cluster, ns, &[80, 8090]);
    wait_for_ready(cluster, ns, "gateway/gateway", "True");
    assert_eq!(proxy.changes_asked_for(ns), before, "it asked for a change");
    assert_eq!(next.metric(PORT_WRITES), 2.0);
    assert_eq!(next.metric("outrigger_status_conflicts_total"), 0.0);
    // Four changes of the route; what the rule is told of its subsets follows each of them.
    assert_eq!(next_proxy.writes(ns, "virtualservices"), 4);
    let rules = next_proxy.writes(ns, "destinationrules");
    assert!(rules <= 4, "{rules}");
    let gateways = next_proxy.writes(ns, "gateways");
    assert!(gateways <= 4, "{gateways}");
}

#[test]
fn a_leader_that_is_killed_in_the_middle_of_its_status_writes_leaves_each_to_be_made_once() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "killed-writing";
    cluster.create_namespace(ns).unwrap();
    let (proxy, leader) = replica(&installed, "killed");
    leader.wait_for_metric(LEADER, 1.0);
    let (next_proxy, next) = replica(&installed, "successor");
    // One write is done and its answer is on the way, the other one has not arrived.
    proxy.inject(is_status_write_of_virtual_services, Fault::AnswerHangs, 1);
    proxy.inject(is_status_write_of_destination_rules, Fault::Hang, 1);
    cluster.apply(&reviews(ns, "v4")).unwrap();
    proxy.wait_until_spent();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    leader.kill();

    wait_for_ready_within(RECOVERY, cluster, ns, "destinationrule/reviews", "True");
    assert_eq!(next_proxy.writes(ns, "destinationrules"), 1);
    let version = |object: &str| {
        let object = read(cluster, ns, object).unwrap();
        object["metadata"]["resourceVersion"].clone()
    };
    let objects = ["virtualservice/reviews", "destinationrule/reviews"];
    let settled = objects.map(version);
    // Something else, which shows that the successor has compared everything.
    cluster.apply(&edge(ns)).unwrap();
    cluster.apply(&gateway(ns, &[8088])).unwrap();
    wait_for_ready(cluster, ns, "gateway/gateway", "True");
    assert_eq!(objects.map(version), settled);
    assert_eq!(
        next_proxy.writes(ns, "virtualservices"),
        0,
        "it was right already"
    );
    assert_eq!(next.metric("outrigger_status_conflicts_total"), 0.0);
}

#[test]
fn a_control_plane_of_another_revision_writes_nothing_into_the_namespaces_of_users() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "two-revisions";
    cluster.create_namespace(ns).unwrap();
    let (proxy, default) = replica(&installed, "default");
    default.wait_for_metric(LEADER, 1.0);
    // With all rights, and the Lease of its revision: nothing but itself keeps it from writing.
    let canary = Daemon::start("canary", cluster.kubeconfig(), &["--revision=canary"]);
    canary.wait_for_metric(LEADER, 1.0);
    cluster.apply(&edge(ns)).unwrap();
    let mut rounds = 0;
    for (subset, ready, ports) in [
        ("v1", "True", [8088, 8089]),
        ("v4", "False", [8089, 8090]),
        ("v2", "True", [8090, 8091]),
    ] {
        cluster.apply(&reviews(ns, subset)).unwrap();
        cluster.apply(&gateway(ns, &ports)).unwrap();
        wait_for_ready(cluster, ns, "virtualservice/reviews", ready);
        wait_for_ports(cluster, ns, &[80, u64::from(ports[0]), u64::from(ports[1])]);
        wait_for_ready(cluster, ns, "gateway/gateway", "True");
        rounds += 1;
    }
    assert_eq!(proxy.writes(ns, "virtualservices"), rounds);
    assert_eq!(default.metric(PORT_WRITES), rounds as f64);
    assert_eq!(default.metric("outrigger_status_conflicts_total"), 0.0);
    // One that tells its ports, and at most one more that follows what the route does.
    let gateways = proxy.writes(ns, "gateways");
    assert!(gateways <= 2 * rounds, "{gateways}");
    assert_eq!(
        canary.metric(STATUS_WRITES) + canary.metric(PORT_WRITES),
        0.0
    );
    for object in [
        "virtualservice/reviews",
        "destinationrule/reviews",
        "gateway/gateway",
        "service/gateway",
    ] {
        let managers = managers(cluster, ns, object);
        let ours: Vec<&String> = managers
            .iter()
            .filter(|name| name.starts_with("outrigger"))
            .collect();
        let expected = if object.starts_with("service") {
            "outrigger-gateways"
        } else {
            "outrigger-status"
        };
        assert_eq!(ours, [expected], "{object}");
    }
    let events = read(cluster, ns, "events.events.k8s.io").unwrap();
    let by_canary = events["items"].as_array().unwrap().iter();
    let by_canary = by_canary.filter(|event| event["reportingInstance"] == "canary");
    assert_eq!(by_canary.count(), 0);
}
