//! Where an earlier attempt at status on Istio's kinds failed (it was off by default for four years, and half of it was
//! taken out again), each failure has a test here that it does not happen again.
//!
//! | what went wrong | test |
//! |---|---|
//! | errors stayed after they were cured | `status::route_to_an_unknown_subset_is_reported_where_people_look_and_cleared_when_cured`, `orders::each_condition_goes_and_comes_back_as_objects_come_and_go_in_any_order` |
//! | nothing was written for a VirtualService | `health::flux_helm_and_argo_cd_see_what_is_well_what_may_heal_and_what_cannot` (every kind) |
//! | messages had no severity, and named no field | `what_is_told_has_a_level_a_code_and_the_path_of_the_field` |
//! | the status was left behind after switching off | `removal::where_status_is_switched_off_what_was_written_before_is_removed_and_nothing_is_written`, `removal::before_a_release_goes_its_status_is_removed_and_the_leader_does_not_write_again` |
//! | conditions flipped from True to False and back | `leader::a_leader_that_is_killed_in_the_middle_of_writing_leaves_no_status_wrong_and_none_flaps`, `orders::…` (transitions counted) |
//! | `observedGeneration` was text, which kstatus can't read | `health::flux_helm_and_argo_cd_see_…` (an integer on every kind), `crds::foreign` (text is read) |
//! | "N of N proxies": the number was wrong, and one proxy blocked everyone | `status_says_nothing_about_proxies_and_pods_that_come_and_go_cause_no_write` |
//! | a rejected configuration counted as delivered | the same: `Programmed` is not said before there is something to say |
//! | "not reconciled" for ever | `faults_of_requests::…`: whatever is lost between the API server and the writer is written again |
//! | written on every change of endpoints | `status_says_nothing_about_proxies_and_pods_that_come_and_go_cause_no_write` |
//! | heavy watches of the API | `every_kind_is_watched_once_and_nothing_is_asked_while_nothing_happens` |
//! | CPU and memory | `scale::a_thousand_of_each_kind_are_right_within_10_seconds_and_then_nothing_is_written` (on request), `status::what_is_right_already_is_not_written_again` |
//! | seconds of delay by a timer | `docs/performance.md`; verdicts follow events, and no timer is between them |
//! | panics | `faults::…`, `src/analysis/tests/scale.rs` |
//! | conditions of others were overwritten | `status::a_status_that_somebody_overwrote_is_put_right_and_foreign_conditions_stay` |
//! | two writers | `leader::…` |

use std::collections::{BTreeMap, BTreeSet};

use outrigger::api::conditions::OURS;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;

use super::daemon::Daemon;
use super::proxy::Proxy;
use super::*;

#[test]
fn what_is_told_has_a_level_a_code_and_the_path_of_the_field() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "told";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("told");
    cluster.apply(&reviews(ns, "v4")).unwrap();
    let (_, message) = wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    let field = "spec.http[0].route[0].destination.subset";
    assert!(message.starts_with(field), "{message}");
    let object = read(cluster, ns, "virtualservice/reviews").unwrap();
    let told = object["status"]["validationMessages"].as_array().unwrap();
    let error = told
        .iter()
        .find(|entry| entry["type"]["code"] == "IST0101")
        .unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(error["level"], "ERROR");
    assert_eq!(error["type"]["name"], "ReferencedResourceNotFound");
    for entry in told {
        let level = entry["level"].as_str().unwrap_or_default();
        assert!(["ERROR", "WARNING", "INFO"].contains(&level), "{entry}");
    }
}

fn pod(ns: &str, name: &str, version: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}, labels: {{app: reviews, version: {version}}}}}
spec: {{containers: [{{name: app, image: app}}]}}"
    )
}

/// As the kubelet would.
fn make_ready(cluster: &ControlPlane, ns: &str, name: &str) {
    let status = r#"{"status":{"phase":"Running","podIP":"192.0.2.7","podIPs":[{"ip":"192.0.2.7"}],
        "conditions":[{"type":"Ready","status":"True"},{"type":"ContainersReady","status":"True"}],
        "containerStatuses":[{"name":"app","image":"app","imageID":"","ready":true,"restartCount":0,"started":true}]}}"#;
    let patch = ["patch", &format!("pod/{name}"), "-n", ns, "--type=merge"];
    cluster
        .kubectl(&[&patch[..], &["--subresource=status", "-p", status]].concat())
        .unwrap();
}

#[test]
fn status_says_nothing_about_proxies_and_pods_that_come_and_go_cause_no_write() {
    const MORE: usize = 8;
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "no-proxies";
    cluster.create_namespace(ns).unwrap();
    let daemon = installed.daemon("no-proxies");
    let pods = || daemon.metric("outrigger_objects{kind=\"pods\"}");
    let before = pods();
    for version in ["v1", "v2"] {
        let name = format!("first-{version}");
        cluster.apply(&pod(ns, &name, version)).unwrap();
        make_ready(cluster, ns, &name);
    }
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    let versions = || {
        ["virtualservice/reviews", "destinationrule/reviews"]
            .map(|object| read(cluster, ns, object).unwrap()["metadata"]["resourceVersion"].clone())
    };
    // The pods' verdict may come after the routes'.
    wait::until(SOON, "nothing more to write", || {
        let (depth, before) = (daemon.metric("outrigger_status_queue_depth"), versions());
        ensure!(depth == 0.0 && before == versions(), "it writes");
        let text = read(cluster, ns, "virtualservice/reviews")?["status"].to_string();
        ensure!(!text.contains("no ready"), "{text}");
        Ok(())
    })
    .unwrap();
    let settled = versions();

    let names: Vec<String> = (0..MORE).map(|index| format!("more-{index}")).collect();
    for name in &names {
        cluster.apply(&pod(ns, name, "v1")).unwrap();
        make_ready(cluster, ns, name);
    }
    let so_many = |count: usize| {
        wait::until(SOON, "the pods are known", || {
            let now = pods() - before;
            (now == count as f64).then_some(()).ok_or(now)
        })
        .unwrap();
    };
    so_many(2 + MORE);
    for name in &names {
        let delete = [
            "delete",
            "pod",
            name,
            "-n",
            ns,
            "--grace-period=0",
            "--force",
        ];
        cluster.kubectl(&delete).unwrap();
    }
    so_many(2);
    assert_eq!(versions(), settled);

    let object = read(cluster, ns, "virtualservice/reviews").unwrap();
    let members = object["status"].as_object().unwrap();
    let known = ["conditions", "observedGeneration", "validationMessages"];
    assert!(
        members.keys().all(|name| known.contains(&name.as_str())),
        "{members:?}"
    );
    for condition in members["conditions"].as_array().unwrap() {
        assert!(
            OURS.contains(&condition["type"].as_str().unwrap()),
            "{condition}"
        );
    }
}

#[test]
fn every_kind_is_watched_once_and_nothing_is_asked_while_nothing_happens() {
    let installed = Installed::exclusive();
    let proxy = Proxy::start(&installed.cluster, installed.kubeconfig());
    let daemon = Daemon::start_ready("watches", &proxy.kubeconfig(), &[]);
    daemon.wait_for_metric("outrigger_leader", 1.0);
    let path = |request: &str| {
        let uri = request.split(' ').nth(1).unwrap_or_default();
        uri.split('?').next().unwrap_or_default().to_owned()
    };
    let watches = || {
        let mut counts = BTreeMap::<String, usize>::new();
        for request in proxy
            .asked()
            .iter()
            .filter(|request| request.contains("watch=true"))
        {
            *counts.entry(path(request)).or_default() += 1;
        }
        counts
    };
    let lease_writes = || {
        let asked = proxy.asked();
        asked
            .iter()
            .filter(|request| request.starts_with("PUT") && request.contains("/leases/"))
            .count()
    };
    // Whatever a start asks for is asked in the time of a few renewals of the Lease; then only those are left.
    let renewals = |count: usize| {
        let from = lease_writes();
        wait::until_true(SOON, "renewals", || lease_writes() >= from + count).unwrap();
    };
    renewals(2);
    let (asked, seen) = (proxy.asked().len(), watches());
    renewals(3);
    let later: BTreeSet<String> = proxy.asked()[asked..]
        .iter()
        .filter(|request| !request.contains("/leases/"))
        .cloned()
        .collect();
    assert!(later.is_empty(), "{later:?}");
    assert!(
        seen.contains_key("/apis/networking.istio.io/v1/virtualservices"),
        "{seen:?}"
    );
    // Besides the kind, one by one: the webhooks' configurations and Secret.
    let twice = ["webhookconfigurations", "/secrets"];
    let repeated: Vec<_> = seen
        .iter()
        .filter(|(path, count)| {
            let most = if twice.iter().any(|part| path.ends_with(part)) {
                2
            } else {
                1
            };
            **count > most
        })
        .collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}
