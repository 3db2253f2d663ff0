//! What was written into status is taken away again: at the end of a release, and when status is switched off.

use std::process::{Command, Output};

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::json;

use super::daemon::Daemon;
use super::malformed;
use super::*;

const FOREIGN: &str = r#"{"status":{"conditions":[{"type":"example.com/Seen","status":"True","reason":"Seen","message":"",
    "lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;

/// An EnvoyFilter that is nested deeper than JSON parsers like: it must not hide others, nor keep its own status.
fn nested(ns: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": { "name": "nested", "namespace": ns },
        "spec": { "configPatches": [{
            "applyTo": "CLUSTER",
            "patch": { "operation": "MERGE", "value": malformed::deep(200) },
        }] },
    })
}

/// A namespace whose rule, route and filter have a status; somebody else had written into that of the route before.
fn written(installed: &Installed, ns: &str, daemon: impl FnOnce() -> Vec<Daemon>) -> Vec<Daemon> {
    let cluster = &installed.cluster;
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v4")).unwrap();
    cluster.apply(&nested(ns).to_string()).unwrap();
    let patch = ["patch", "virtualservice/reviews", "-n", ns, "--type=merge"];
    let status = ["--subresource=status", "-p", FOREIGN];
    cluster.kubectl(&[&patch[..], &status].concat()).unwrap();
    let daemons = daemon();
    // Another test may have left the Lease to expire.
    for (object, ready) in [("virtualservice", "False"), ("destinationrule", "True")] {
        let object = format!("{object}/reviews");
        wait_for_ready_within(RECOVERY, cluster, ns, &object, ready);
    }
    wait::until(RECOVERY, "the status of the filter", || {
        let status = status_of_nested(cluster, ns);
        (!status.is_empty()).then_some(()).ok_or(status)
    })
    .unwrap();
    daemons
}

/// The status as text: the object is nested too deeply to be read.
fn status_of_nested(cluster: &ControlPlane, ns: &str) -> String {
    let status = [
        "get",
        "envoyfilter/nested",
        "-n",
        ns,
        "-o=jsonpath={.status}",
    ];
    cluster.kubectl(&status).unwrap()
}

/// The Lease is not given back after a removal; other tests need not wait until it expires.
fn forget_lease(cluster: &ControlPlane) {
    let delete = ["delete", "lease/outrigger-leader", "-n", NAMESPACE];
    cluster.kubectl(&delete).unwrap();
}

fn assert_only_foreign_is_left(cluster: &ControlPlane, ns: &str) {
    let rule = read(cluster, ns, "destinationrule/reviews").unwrap();
    assert!(rule.get("status").is_none(), "{rule}");
    let route = read(cluster, ns, "virtualservice/reviews").unwrap();
    let status = &route["status"];
    let conditions = status["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1, "{status}");
    assert_eq!(conditions[0]["type"], "example.com/Seen");
    assert_eq!(status.as_object().unwrap().len(), 1, "{status}");
    assert_eq!(status_of_nested(cluster, ns), "");
}

/// What the chart's Job runs, with the rights that it has.
fn job(kubeconfig: &std::path::Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outriggerd"))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--pod-name=job", "uninstall-status"])
        .args(flags)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn before_a_release_goes_its_status_is_removed_and_the_leader_does_not_write_again() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "uninstall";
    let replicas = written(&installed, ns, || {
        ["uninstall-1", "uninstall-2"]
            .map(|name| installed.daemon(name))
            .into()
    });

    let output = job(&installed.kubeconfig, &["--best-effort"]);
    let log = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains("removed what was written into status"),
        "{log}"
    );
    // Both replicas still run, as they do when the hook has ended.
    assert_only_foreign_is_left(cluster, ns);
    let lease = read(cluster, NAMESPACE, "lease/outrigger-leader").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "job");
    for replica in &replicas {
        assert_eq!(replica.metric("outrigger_leader"), 0.0);
        assert_eq!(replica.metric("outrigger_status_queue_depth"), 0.0);
    }
    let writes = || -> f64 {
        let writes = replicas
            .iter()
            .map(|replica| replica.metric("outrigger_status_writes_total"));
        writes.sum()
    };
    let before = writes();
    // A change that a leader would write at once, and one that shows that both have seen it.
    let known = "outrigger_objects{kind=\"virtualservices\"}";
    let count = replicas[0].metric(known);
    cluster.apply(&virtual_service(ns, "v5")).unwrap();
    let marker = virtual_service(ns, "v5").replace("{name: reviews", "{name: marker");
    cluster.apply(&marker).unwrap();
    for replica in &replicas {
        replica.wait_for_metric(known, count + 1.0);
    }
    assert_eq!(writes(), before);
    assert_only_foreign_is_left(cluster, ns);
    // Nobody else holds the Lease now, so that what is left of the release ends without writing.
    for replica in replicas {
        assert!(replica.stop().success());
    }
    assert_only_foreign_is_left(cluster, ns);
    forget_lease(cluster);
}

#[test]
fn where_the_api_server_refuses_the_removal_the_release_goes_all_the_same_and_the_log_says_why() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let nobody = cluster
        .kubeconfig_of_service_account(NAMESPACE, "default")
        .or_else(|_| {
            cluster.kubectl(&["create", "serviceaccount", "default", "-n", NAMESPACE])?;
            cluster.kubeconfig_of_service_account(NAMESPACE, "default")
        })
        .unwrap();
    let output = job(&nobody, &["--best-effort", "--timeout=5"]);
    let log = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains("cannot take the Lease outrigger-system/outrigger-leader")
            && log.contains("forbidden"),
        "{log}"
    );
    assert!(!job(&nobody, &["--timeout=5"]).status.success());
}

#[test]
fn a_person_removes_what_is_left_after_the_control_plane_has_gone() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "removed-by-hand";
    let replicas = written(&installed, ns, || vec![installed.daemon("removed-by-hand")]);
    for replica in replicas {
        replica.kill();
    }
    let by_hand = |flags: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .arg("uninstall-status")
            .arg(format!("--kubeconfig={}", cluster.kubeconfig().display()))
            .args(flags)
            .output()
            .unwrap()
    };
    let elsewhere = by_hand(&["--istio-namespace=default"]);
    let refusal = text(&elsewhere.stderr);
    assert!(
        !elsewhere.status.success() && refusal.contains("there is no Lease"),
        "{refusal}"
    );
    let output = by_hand(&[]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("objects cleared"), "{said}");
    assert!(
        text(&output.stderr).contains("removed-by-hand"),
        "who held the Lease"
    );
    assert_only_foreign_is_left(cluster, ns);
    // Once more: there is nothing to do.
    let again = by_hand(&[]);
    assert_eq!(text(&again.stdout), "0 objects cleared\n");
    forget_lease(cluster);
}

#[test]
fn where_status_is_switched_off_what_was_written_before_is_removed_and_nothing_is_written() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "switched-off";
    let replicas = written(&installed, ns, || vec![installed.daemon("switched-off-1")]);
    for replica in replicas {
        assert!(replica.stop().success());
    }
    let off = Daemon::start_ready(
        "switched-off-2",
        installed.kubeconfig(),
        &["--write-status=false"],
    );
    wait::until(SOON, "the status is gone", || {
        let rule = read(cluster, ns, "destinationrule/reviews")?;
        ensure!(rule.get("status").is_none(), "{}", rule["status"]);
        Ok(())
    })
    .unwrap();
    wait::until(SOON, "the log says so", || {
        off.log()
            .contains("status is switched off and what was written is removed")
            .then_some(())
            .ok_or("not yet")
    })
    .unwrap();
    assert_only_foreign_is_left(cluster, ns);
    assert!(off.stop().success());
    // Switched on again, it is there again.
    let _on = installed.daemon("switched-off-3");
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
}
