//! Where node ports run out, and where the leader is killed: API server and replicas of their own.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::{Value, json};

use super::{DEADLINE, Namespace, without};
use crate::control::Installed;

/// The API server, for one test at a time.
fn exclusive() -> (&'static Installed, MutexGuard<'static, ()>) {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    static HELD: Mutex<()> = Mutex::new(());
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let range = "--service-node-port-range=30000-30019";
    (
        INSTALLED.get_or_init(|| Installed::start_with(&[range]).unwrap()),
        held,
    )
}

/// A Service that takes this many node ports.
fn filler(edge: &Namespace, count: u16) -> Value {
    let port =
        |index: u16| json!({"name": format!("p{index}"), "port": 1000 + index, "protocol": "TCP"});
    let ports: Vec<Value> = (0..count).map(port).collect();
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "filler", "namespace": edge.name},
           "spec": {"type": "NodePort", "selector": {"app": "filler"}, "ports": ports}})
}

#[test]
fn where_node_ports_run_out_as_many_ports_are_added_as_fit_and_the_rest_when_there_are_more() {
    let (installed, _held) = exclusive();
    let _daemon = installed.daemon("few-node-ports");
    let edge = Namespace::on(&installed.cluster, "exhausted");
    edge.apply_client_side(&edge.service());
    edge.apply_client_side(&filler(&edge, 12));
    // 5 are left of 20.
    let servers: Vec<(u16, &str)> = (8080..8088).map(|port| (port, "TCP")).collect();
    edge.gateway("one", &[(9090, "HTTP")]);
    let before = edge.await_ports(&[80, 443, 9090, 15021]);
    edge.gateway("many", &servers[..]);
    let told = edge.await_exposed("many", "False", "NodePortsExhausted");
    assert!(told.contains("no node port left"), "{told}");
    let some = edge.ports();
    assert!(
        some.len() > before.len() && some.len() < before.len() + servers.len(),
        "{some:?}"
    );
    for (number, port) in &before {
        assert_eq!(&some[number], port);
    }
    edge.await_exposed("one", "True", "Exposed");

    edge.delete("service/filler");
    edge.await_exposed("many", "True", "Exposed");
    // 8080 is what the Service's own port 80 leads to, so it needs none.
    assert_eq!(edge.ports().len(), before.len() + servers.len() - 1);
    edge.kubectl(&["delete", "gateways.networking.istio.io", "--all"]);
    edge.await_ports(&[80, 443, 15021]);
    edge.delete("service/gateway");
}

#[test]
fn leader_that_is_killed_between_two_writes_leaves_the_second_to_another_and_nothing_is_written_twice()
 {
    let (installed, _held) = exclusive();
    let leader = installed.daemon("replica-1");
    leader.wait_for_metric("outrigger_leader", 1.0);
    let follower = installed.daemon("replica-2");
    let edge = Namespace::on(&installed.cluster, "killed");
    edge.apply_client_side(&edge.service());
    edge.gateway("first", &[(8088, "HTTP")]);
    let first = edge.await_ports(&[80, 443, 8088, 15021]);
    let writes = "outrigger_gateway_services_writes_total";
    assert_eq!(follower.metric(writes), 0.0, "a follower wrote");

    leader.kill();
    edge.gateway("second", &[(8089, "HTTP")]);
    let second = edge.await_ports(&[80, 443, 8088, 8089, 15021]);
    assert_eq!(without(&second, 8089), first);
    edge.await_exposed("second", "True", "Exposed");
    follower.wait_for_metric(writes, 1.0);
    assert_eq!(follower.metric(writes), 1.0, "one Service had to change");
    let version = edge.get("service/gateway")["metadata"]["resourceVersion"].clone();

    // A third replica that starts later finds everything done.
    let third = installed.daemon("replica-3");
    drop(follower);
    wait::until(DEADLINE, "the third one leads", || {
        let leads = third.metric("outrigger_leader");
        if leads > 0.0 { Ok(()) } else { Err(leads) }
    })
    .unwrap();
    edge.gateway("third", &[(8088, "HTTP")]);
    edge.await_exposed("third", "True", "Exposed");
    assert_eq!(third.metric(writes), 0.0);
    assert_eq!(
        edge.get("service/gateway")["metadata"]["resourceVersion"],
        version
    );
    installed
        .cluster
        .kubectl(&["delete", "namespace", edge.name, "--wait=false"])
        .unwrap();
    edge.delete("service/gateway");
}

#[test]
fn new_leader_says_what_the_one_before_said_of_ports_that_are_refused() {
    let (installed, _held) = exclusive();
    let edge = Namespace::on(&installed.cluster, "handed-over");
    edge.apply_client_side(&edge.service());
    let first = installed.daemon("teller-1");
    edge.gateway_with_node_ports("outside", &[(8088, "HTTP")], "8088=80");
    edge.await_exposed("outside", "False", "NodePortOutOfRange");
    let told = |name: &str| {
        edge.get(&format!("gateways.networking.istio.io/{name}"))["metadata"]["resourceVersion"]
            .clone()
    };
    let before = told("outside");
    drop(first);

    let second = installed.daemon("teller-2");
    second.wait_for_metric("outrigger_gateway_services_refusals_total", 1.0);
    edge.gateway("other", &[(8089, "HTTP")]);
    edge.await_exposed("other", "True", "Exposed");
    edge.await_exposed("outside", "False", "NodePortOutOfRange");
    assert_eq!(told("outside"), before, "nothing else was said in between");
    edge.kubectl(&["delete", "gateways.networking.istio.io", "--all"]);
    edge.delete("service/gateway");
}
