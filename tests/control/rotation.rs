//! A credential that is changed again and again.

use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::credentials::{Pair, gateway, role, wait_for_refs};
use super::*;

/// How many changes of each kind there are.
const ROUNDS: usize = 16;
/// How many Events one object may have in a short time.
const EVENTS: usize = 25;
/// What memory may grow by while certificates come and go; each of them has about two kilobytes.
const GROWTH: u64 = 16 << 20;

fn events(cluster: &ControlPlane, namespace: &str) -> usize {
    let list = read(cluster, namespace, "events.events.k8s.io").unwrap();
    list["items"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_credential_that_is_rotated_again_and_again_costs_no_write_while_it_is_good_and_few_while_it_turns_bad()
 {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let (edge, shop) = ("rotation-edge", "rotation-shop");
    cluster.create_namespace(edge).unwrap();
    cluster.create_namespace(shop).unwrap();
    cluster.apply(&role(edge)).unwrap();
    let flags = [&*format!("--credential-namespaces={edge}")];
    let daemon = daemon::Daemon::start_ready("rotation", installed.kubeconfig(), &flags);
    let good: Vec<Pair> = (0..4).map(|_| Pair::until(2120)).collect();
    let secret = good[0].secret(edge).to_string();
    cluster.apply(&secret).unwrap();
    cluster.apply(&gateway(edge, shop)).unwrap();
    wait_for_refs(cluster, shop, "True", "ResolvedRefs");
    wait_for_ready(cluster, shop, "gateway/shop", "True");

    let writes = || daemon.metric("outrigger_status_writes_total");
    let (written, told, memory) = (writes(), events(cluster, shop), daemon.memory());
    let seen = || daemon.metric("outrigger_snapshot_build_seconds_count");
    for pair in good.iter().cycle().skip(1).take(ROUNDS) {
        let before = seen();
        rotate_to(cluster, edge, pair);
        daemon.wait_for_metric("outrigger_snapshot_build_seconds_count", before + 1.0);
    }
    // The last change, after which all before it have been looked at.
    let [expired, mismatched] = [Pair::until(2021), Pair::until(2120)];
    let mismatched = Pair {
        key: good[0].key.clone(),
        ..mismatched
    };
    rotate_to(cluster, edge, &expired);
    wait_for_refs(cluster, shop, "False", "CredentialExpired");
    assert_eq!(writes() - written, 1.0, "the one that says that it expired");

    let [first, second, ..] = <[Pair; 4]>::try_from(good).ok().unwrap();
    let written = writes();
    let good = ("True", "ResolvedRefs");
    let turns = [
        (first, good),
        (mismatched, ("False", "CredentialWithoutKey")),
        (second, good),
        (expired, ("False", "CredentialExpired")),
    ];
    for (pair, (status, reason)) in turns.iter().cycle().take(ROUNDS) {
        rotate_to(cluster, edge, pair);
        wait_for_refs(cluster, shop, status, reason);
    }
    rotate_to(cluster, edge, &Pair::until(2120));
    wait_for_refs(cluster, shop, "True", "ResolvedRefs");
    wait_for_ready(cluster, shop, "gateway/shop", "True");
    let more = writes() - written;
    assert!(more <= (ROUNDS + 1) as f64, "{more} writes");
    let more = events(cluster, shop) - told;
    assert!(more <= EVENTS, "{more} Events");
    let grown = daemon.memory().saturating_sub(memory);
    assert!(grown < GROWTH, "{grown} bytes more");
}

fn rotate_to(cluster: &ControlPlane, edge: &str, pair: &Pair) {
    let data = json!({"stringData": pair.secret(edge)["stringData"]}).to_string();
    let patch = [
        "patch",
        "secret",
        "shop",
        "-n",
        edge,
        "--type=merge",
        "-p",
        &data,
    ];
    cluster.kubectl(&patch).unwrap();
}
