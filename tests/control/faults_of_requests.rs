//! What happens between the control plane and the API server, and what it comes to: the right status, written once,
//! by the same process.

use super::daemon::Daemon;
use super::proxy::{
    Fault, Proxy, is_lease_write, is_status_write, is_status_write_of_virtual_services, is_watch,
    is_watch_of_virtual_services,
};
use super::*;

const OBJECT: &str = "virtualservice/reviews";
const CONFLICTS: &str = "outrigger_status_conflicts_total";
const FAILURES: &str = "outrigger_status_failures_total";
const WATCH_ERRORS: &str = "outrigger_watch_errors_total{kind=\"virtualservices\"}";

/// `outriggerd` behind a proxy, and a namespace whose VirtualService is ready.
struct Scene<'a> {
    cluster: &'a ControlPlane,
    namespace: &'static str,
    proxy: Proxy,
    daemon: Daemon,
}

impl<'a> Scene<'a> {
    fn set(installed: &'a Installed, namespace: &'static str) -> Scene<'a> {
        let cluster = &installed.cluster;
        cluster.create_namespace(namespace).unwrap();
        let proxy = Proxy::start(cluster, &installed.kubeconfig);
        let daemon = Daemon::start_ready(namespace, &proxy.kubeconfig(), &[]);
        cluster.apply(&reviews(namespace, "v1")).unwrap();
        let scene = Scene {
            cluster,
            namespace,
            proxy,
            daemon,
        };
        scene.wait_for_ready("True");
        wait_for_ready(cluster, namespace, "destinationrule/reviews", "True");
        scene.wait_for_writes(1);
        scene
    }

    fn route_to(&self, subset: &str) {
        let object = virtual_service(self.namespace, subset);
        self.cluster.apply(&object).unwrap();
    }

    /// Waits until the VirtualService is Ready or not, and returns the reason.
    fn wait_for_ready(&self, ready: &str) -> String {
        wait_for_ready_within(RECOVERY, self.cluster, self.namespace, OBJECT, ready).0
    }

    /// Of the VirtualService alone: what the rule is told of its subsets follows the routes. The answer may reach the
    /// proxy a moment after the change is seen.
    fn wait_for_writes(&self, writes: usize) {
        wait::until(RECOVERY, "status writes", || {
            let seen = self.proxy.writes(self.namespace, "virtualservices");
            (seen == writes).then_some(()).ok_or(seen)
        })
        .unwrap();
    }

    /// After a last change, which shows that all before it is done: this many writes were accepted in all since
    /// the scene was set, by the process that was started then.
    fn ends_after_writes(mut self, writes: usize) {
        self.route_to("v2");
        self.wait_for_ready("True");
        self.route_to("nowhere");
        self.wait_for_ready("False");
        self.wait_for_writes(1 + writes + 2);
        assert!(self.daemon.get("/readyz").is_ok());
        assert!(self.daemon.is_running());
    }
}

#[test]
fn a_change_while_every_connection_is_cut_is_reported_when_they_come_back() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-cut");
    let errors = scene.daemon.metric(WATCH_ERRORS);
    scene.proxy.disconnect();
    scene.route_to("v4");
    scene.daemon.wait_for_metric(WATCH_ERRORS, errors + 1.0);
    scene.proxy.reconnect();
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.ends_after_writes(1);
}

#[test]
fn an_event_that_breaks_off_in_the_middle_is_neither_lost_nor_answered_twice() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-torn");
    scene
        .proxy
        .inject(is_watch_of_virtual_services, Fault::Torn, 1);
    scene.proxy.cut();
    scene.route_to("v4");
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    assert_eq!(scene.proxy.torn(), 1);
    scene.ends_after_writes(1);
}

#[test]
fn after_410_everything_is_listed_anew_and_what_was_deleted_meanwhile_is_gone() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-expired");
    scene.proxy.disconnect();
    // One for each kind that is watched, at least: none of them sees the deletion as an event.
    scene.proxy.inject(is_watch, Fault::Expired, 12);
    let rule = ["delete", "destinationrule/reviews", "-n", scene.namespace];
    scene.cluster.kubectl(&rule).unwrap();
    scene.proxy.reconnect();
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.proxy.wait_until_spent();
    scene
        .cluster
        .apply(&reviews(scene.namespace, "v1"))
        .unwrap();
    scene.wait_for_ready("True");
    wait_for_ready(
        scene.cluster,
        scene.namespace,
        "destinationrule/reviews",
        "True",
    );
    scene.ends_after_writes(2);
}

#[test]
fn watches_and_writes_that_are_throttled_are_repeated_when_the_answer_says_so() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-throttled");
    scene.proxy.inject(is_watch, Fault::TooManyRequests, 24);
    scene
        .proxy
        .inject(is_status_write, Fault::TooManyRequests, 2);
    scene.proxy.cut();
    scene.route_to("v4");
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.proxy.wait_until_spent();
    scene.ends_after_writes(1);
}

#[test]
fn a_status_write_that_is_refused_as_a_conflict_is_made_again_even_if_no_event_follows() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-conflict");
    let conflicts = scene.daemon.metric(CONFLICTS);
    scene.proxy.inject(is_status_write, Fault::Conflict, 1);
    scene.route_to("v4");
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.proxy.wait_until_spent();
    assert_eq!(scene.daemon.metric(CONFLICTS), conflicts + 1.0);
    scene.ends_after_writes(1);
}

#[test]
fn a_status_write_whose_answer_is_lost_is_not_made_twice() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-answer");
    let failures = scene.daemon.metric(FAILURES);
    scene.proxy.inject(is_status_write, Fault::AnswerLost, 1);
    scene.route_to("v4");
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.daemon.wait_for_metric(FAILURES, failures + 1.0);
    scene.ends_after_writes(1);
}

#[test]
fn a_status_write_that_hangs_is_given_up_and_made_again_while_others_go_on() {
    let installed = Installed::exclusive();
    let mut scene = Scene::set(&installed, "fault-hanging-write");
    let failures = scene.daemon.metric(FAILURES);
    scene
        .proxy
        .inject(is_status_write_of_virtual_services, Fault::Hang, 3);
    // The VirtualService has to wait; the DestinationRule does not.
    let rule_of_nobody =
        reviews(scene.namespace, "v4").replace("  host: reviews", "  host: nobody");
    scene.cluster.apply(&rule_of_nobody).unwrap();
    let rule = "destinationrule/reviews";
    wait_for_ready(scene.cluster, scene.namespace, rule, "False");
    assert_eq!(scene.proxy.writes(scene.namespace, "virtualservices"), 1);

    scene.daemon.wait_for_metric(FAILURES, failures + 3.0);
    scene.wait_for_ready("False");
    scene.wait_for_writes(2);
    assert!(scene.daemon.is_running());
}

#[test]
fn a_leader_whose_renewals_are_refused_or_lost_goes_on_to_write_and_nothing_twice() {
    let installed = Installed::exclusive();
    let scene = Scene::set(&installed, "fault-renewals");
    for fault in [Fault::Conflict, Fault::TooManyRequests, Fault::AnswerLost] {
        scene.proxy.inject(is_lease_write, fault, 1);
    }
    scene.route_to("v4");
    assert_eq!(scene.wait_for_ready("False"), "SubsetNotFound");
    scene.proxy.wait_until_spent();
    scene.daemon.wait_for_metric("outrigger_leader", 1.0);
    scene.ends_after_writes(1);
}

#[test]
fn a_watch_that_nobody_answers_is_given_up_and_started_again() {
    // Two minutes, mostly idle: on a cluster of its own, so that no other test waits for it.
    let installed = Installed::start().unwrap();
    let scene = Scene::set(&installed, "fault-hanging-watch");
    scene
        .proxy
        .inject(is_watch_of_virtual_services, Fault::Hang, 1);
    scene.proxy.cut();
    scene.proxy.wait_until_spent();
    scene.route_to("v4");
    let patience = Duration::from_secs(240);
    let (cluster, namespace) = (scene.cluster, scene.namespace);
    let (reason, _) = wait_for_ready_within(patience, cluster, namespace, OBJECT, "False");
    assert_eq!(reason, "SubsetNotFound");
    scene.ends_after_writes(1);
}
