//! A credential that is changed every second.

use std::time::Instant;

use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::credentials::{Pair, gateway, role, wait_for_refs};
use super::*;

/// For how long each kind of change goes on.
const ROTATION: Duration = Duration::from_secs(16);
/// From one change to the next.
const EVERY: Duration = Duration::from_secs(1);
/// How many Events one object may have in a short time.
const EVENTS: usize = 25;
/// What memory may grow by while certificates come and go; each of them has about two kilobytes.
const GROWTH: u64 = 16 << 20;

/// Puts one pair after the other into the Secret `shop` for as long as [`ROTATION`] says, and returns how many.
fn rotate(cluster: &ControlPlane, edge: &str, pairs: &[Pair]) -> u32 {
    let start = Instant::now();
    let mut rounds = 0_u32;
    wait::until_true(ROTATION * 4, "the end of the rotation", || {
        if start.elapsed() >= EVERY * rounds {
            rotate_to(cluster, edge, &pairs[rounds as usize % pairs.len()]);
            rounds += 1;
        }
        start.elapsed() >= ROTATION
    })
    .unwrap();
    rounds
}

fn events(cluster: &ControlPlane, namespace: &str) -> usize {
    let list = read(cluster, namespace, "events.events.k8s.io").unwrap();
    list["items"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_credential_that_is_rotated_every_second_costs_no_write_while_it_is_good_and_few_while_it_turns_bad()
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
    let rounds = rotate(cluster, edge, &good);
    assert!(f64::from(rounds) > ROTATION.as_secs_f64() / 2.0, "{rounds}");
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
    let rounds = rotate(cluster, edge, &[first, mismatched, second, expired]);
    rotate_to(cluster, edge, &Pair::until(2120));
    wait_for_refs(cluster, shop, "True", "ResolvedRefs");
    wait_for_ready(cluster, shop, "gateway/shop", "True");
    let more = writes() - written;
    assert!(
        more <= f64::from(rounds + 1),
        "{more} writes in {rounds} rounds"
    );
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
