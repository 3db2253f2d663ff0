//! The node: pods run in it, it leaves nothing behind, and what a killed run left is cleared.

use std::process::Command;
use std::time::Duration;

use outrigger_e2e::cluster::{self, Cluster, Node};
use outrigger_e2e::command;
use outrigger_e2e::packages::Install;
use outrigger_e2e::progress::Lines;
use outrigger_e2e::{requires, wait};

use crate::remains::Remains;
use crate::support::{Caller, answer_and_stay};

const DEADLINE: Duration = Duration::from_secs(180);

/// What the kept node is known by: nothing but this test of this source tree takes it down, or may.
const KEPT: &str = concat!("kept by the tests of ", env!("CARGO_MANIFEST_DIR"));

/// Takes the kept node down whatever becomes of the test.
struct TakeDown;

impl Drop for TakeDown {
    fn drop(&mut self) {
        // An error here has no one to go to; the next run tries again.
        let _ = cluster::down(KEPT);
    }
}

#[test]
fn pod_becomes_ready_and_services_answer() {
    let Ok(()) = requires::node() else { return };
    let node = Node::shared(&Lines).unwrap();
    node.kubectl(&["create", "namespace", "pods"]).unwrap();
    node.kubectl(&[
        "wait",
        "--namespace=pods",
        "--for=create",
        "serviceaccount/default",
        "--timeout=60s",
    ])
    .unwrap();
    node.kubectl(&[
        "run",
        "pause",
        "--namespace=pods",
        "--image=local.test/pause:1",
        "--image-pull-policy=Never",
    ])
    .unwrap();
    node.kubectl(&[
        "wait",
        "--namespace=pods",
        "--for=condition=Ready",
        "pod/pause",
        "--timeout=120s",
    ])
    .unwrap();
    // The API server and the DNS by their Service addresses: kube-proxy's rules are in force.
    for service in ["10.96.0.1/443", "10.96.0.10/53"] {
        let connect = || {
            let mut shell = node.in_network("bash");
            command::output(shell.args(["-c", &format!("exec 3<>/dev/tcp/{service}")]))
        };
        wait::until(DEADLINE, service, connect).unwrap();
    }
}

#[test]
fn nodes_side_by_side_end_without_a_trace() {
    let Ok(()) = requires::node() else { return };
    let one = start("side-by-side");
    let two = start("side-by-side");
    for node in [&one, &two] {
        assert!(
            node.kubectl(&["get", "nodes", "--no-headers"])
                .unwrap()
                .contains(" Ready ")
        );
    }
    let remains = [Remains::of(&one), Remains::of(&two)];
    for remains in &remains {
        assert!(remains.processes().len() > 8, "{:?}", remains.processes());
    }
    drop(one);
    remains[0].assert_gone();
    two.kubectl(&["get", "--raw", "/readyz"]).unwrap();
    drop(two);
    remains[1].assert_gone();
}

#[test]
fn killed_caller_takes_its_node_along() {
    let Ok(()) = requires::node() else { return };
    let caller = Caller::start("node::helper_that_starts_a_node_and_stays");
    let remains = Remains::from_text(&caller.answer(DEADLINE));
    caller.kill();
    wait::until_true(DEADLINE, "everything gone", || remains.list().is_empty()).unwrap();
}

#[test]
fn what_a_killed_run_left_is_cleared_by_the_next() {
    let Ok(()) = requires::node() else { return };
    let caller = Caller::start("node::helper_that_starts_a_node_and_stays");
    let remains = Remains::from_text(&caller.answer(DEADLINE));
    // The holder would clear after its caller: it is killed first, and with it nobody can.
    command::output(Command::new("kill").args(["-KILL", &remains.holder().to_string()])).unwrap();
    caller.kill();
    wait::until_true(DEADLINE, "processes gone", || {
        remains.processes().is_empty()
    })
    .unwrap();
    // A process may be past its last sign of life, and still hold the lock for a moment.
    wait::until(DEADLINE, "everything cleared", || {
        cluster::down("another")?;
        let left = remains.list();
        if left.is_empty() {
            Ok(())
        } else {
            Err(anyhow::anyhow!(left.join("\n")))
        }
    })
    .unwrap();
}

#[test]
fn kept_node_outlives_its_caller_until_it_is_taken_down() {
    let Ok(()) = requires::node() else { return };
    // One that a killed run kept.
    cluster::down(KEPT).unwrap();
    let _take_down = TakeDown;
    let caller = Caller::start("node::helper_that_keeps_a_node");
    let remains = Remains::from_text(&caller.answer(DEADLINE));
    caller.kill();
    let kept = cluster::kept(KEPT)
        .unwrap()
        .expect("the kept node is found by its name");
    let kubeconfig = kept.kubeconfig.display().to_string();
    let kubectl = outrigger_e2e::tools::named(&["kubectl"], &Lines)
        .unwrap()
        .path("kubectl");
    command::output(Command::new(kubectl).args([
        "--kubeconfig",
        &kubeconfig,
        "get",
        "--raw",
        "/readyz",
    ]))
    .unwrap();
    assert_eq!(cluster::down(KEPT).unwrap(), 1);
    remains.assert_gone();
    assert!(cluster::kept(KEPT).unwrap().is_none());
}

#[test]
#[ignore = "the caller that other tests kill"]
fn helper_that_starts_a_node_and_stays() {
    let node = start("killed");
    answer_and_stay(&Remains::of(&node).to_text());
}

#[test]
#[ignore = "the caller that another test kills"]
fn helper_that_keeps_a_node() {
    let node = start(KEPT);
    let remains = Remains::of(&node).to_text();
    node.keep().unwrap();
    answer_and_stay(&remains);
}

fn start(name: &str) -> Node {
    Node::start(name, &[], Install::Allowed, &Lines).unwrap()
}
