//! Two replicas: one writes, the other takes over.

use std::time::Instant;

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;

use super::transitions::{ABSENT, Transitions};
use super::*;

/// Routes whose verdicts change at once.
const BURST: usize = 400;

const LEASE: &str = "lease/outrigger-leader";

fn holder(cluster: &ControlPlane) -> String {
    let lease = read(cluster, NAMESPACE, LEASE).unwrap();
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn when_the_leader_is_killed_the_other_replica_writes_within_20_seconds_and_nothing_twice() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "leader-killed";
    cluster.create_namespace(ns).unwrap();
    let leader = installed.daemon("replica-1");
    leader.wait_for_metric("outrigger_leader", 1.0);
    let follower = installed.daemon("replica-2");
    assert_eq!(holder(cluster), "replica-1");

    cluster.apply(&reviews(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    assert_eq!(
        follower.metric("outrigger_status_writes_total"),
        0.0,
        "a follower wrote"
    );

    let killed = Instant::now();
    leader.kill();
    cluster.apply(&virtual_service(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(holder(cluster), "replica-2");
    // The route's own status, and that of its rule, one of whose subsets is in use now.
    follower.wait_for_metric("outrigger_status_writes_total", 2.0);
    assert_eq!(follower.metric("outrigger_status_writes_total"), 2.0);
    assert_eq!(follower.metric("outrigger_status_conflicts_total"), 0.0);
}

#[test]
fn a_leader_that_is_killed_in_the_middle_of_writing_leaves_no_status_wrong_and_none_flaps() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "leader-burst";
    cluster.create_namespace(ns).unwrap();
    let leader = installed.daemon("burst-1");
    leader.wait_for_metric("outrigger_leader", 1.0);
    let follower = installed.daemon("burst-2");
    let transitions = Transitions::follow(cluster, ns);
    let route = |index: usize| {
        virtual_service(ns, "v1")
            .replace("{name: reviews", &format!("{{name: app-{index:04}"))
            .replace(
                "hosts: [reviews]",
                &format!("hosts: [app-{index:04}.example.com]"),
            )
    };
    let routes: Vec<String> = (0..BURST).map(route).collect();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    cluster.apply(&routes.join("\n---")).unwrap();
    transitions
        .wait_for_ready(RECOVERY, BURST + 1, "True")
        .unwrap();

    // One event turns every verdict.
    let delete = [
        "delete",
        "destinationrule/reviews",
        "-n",
        ns,
        "--wait=false",
    ];
    cluster.kubectl(&delete).unwrap();
    wait::until_true(SOON, "the leader has begun", || {
        transitions.count_ready("False") > 5
    })
    .unwrap();
    leader.kill();
    let killed = Instant::now();
    let written = transitions.count_ready("False");
    assert!(written < BURST, "it had written everything: {written}");
    // It takes 15 seconds until the Lease may be taken; then what the machine has left.
    transitions
        .wait_for_ready(RECOVERY, BURST + 1, "False")
        .unwrap();
    eprintln!(
        "{written} of {} written by the first, all after {:.1?}",
        BURST + 1,
        killed.elapsed()
    );

    // Cured again, by the new leader.
    cluster.apply(&reviews(ns, "v1")).unwrap();
    transitions
        .wait_for_ready(RECOVERY, BURST + 1, "True")
        .unwrap();
    for (name, history) in transitions.all() {
        for kind in ["ResolvedRefs", "Ready"] {
            let turns = [ABSENT, "True", "False", "True"];
            assert_eq!(history.statuses(kind), turns, "{name}: {kind}");
        }
        assert_eq!(history.statuses("Accepted"), [ABSENT, "True"], "{name}");
        assert_eq!(history.statuses("Stalled"), [ABSENT], "{name}");
        // Created, and written three times at most.
        assert!(history.versions <= 4, "{name}: {}", history.versions);
    }
    assert_eq!(follower.metric("outrigger_status_conflicts_total"), 0.0);
    // Other tests need not carry them along.
    let delete = ["delete", "virtualservices", "--all", "-n", ns];
    cluster.kubectl(&delete).unwrap();
}

#[test]
fn a_leader_that_is_asked_to_end_gives_the_lease_back_and_ends_well() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let leader = installed.daemon("graceful");
    leader.wait_for_metric("outrigger_leader", 1.0);
    let asked = Instant::now();
    assert!(leader.stop().success());
    assert_eq!(holder(cluster), "");
    let next = installed.daemon("next");
    next.wait_for_metric("outrigger_leader", 1.0);
    let took = asked.elapsed();
    assert!(
        took < Duration::from_secs(12),
        "the Lease had to expire: {took:?}"
    );
}

#[test]
fn without_the_api_server_a_leader_stops_writing_before_another_may_start() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let leader = installed.daemon("cut-off");
    leader.wait_for_metric("outrigger_leader", 1.0);
    let stopped = Instant::now();
    cluster.stop_api_server().unwrap();
    let lost = wait::until(Duration::from_secs(15), "leadership ends", || {
        let held = leader.metric("outrigger_leader");
        (held == 0.0).then(|| stopped.elapsed()).ok_or(held)
    });
    cluster.start_api_server().unwrap();
    let lost = lost.unwrap();
    assert!(lost < Duration::from_secs(13), "{lost:?}");
    leader.wait_for_metric("outrigger_leader", 1.0);
}
