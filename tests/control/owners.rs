//! What is said to owners of pods and on namespaces, and which pods are evicted.

use std::collections::BTreeSet;
use std::process::Command;

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::json;

use super::daemon::Daemon;
use super::mesh::{Mesh, deployment, pod};
use super::*;

/// The notes of the Events of a reason about an object. What is said again in the next hour counts once.
fn notes(mesh: &Mesh, namespace: &str, kind: &str, name: &str, reason: &str) -> Vec<String> {
    let text = mesh
        .cluster
        .kubectl(&["get", "events.events.k8s.io", "-n", namespace, "-o", "json"])
        .unwrap();
    let events: Value = serde_json::from_str(&text).unwrap();
    let of_it = events["items"].as_array().unwrap().iter().filter(|event| {
        let about = &event["regarding"];
        about["kind"] == kind && about["name"] == name && event["reason"] == reason
    });
    // Up to the hour, as in 2030-01-01T00.
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let mut said: Vec<(String, String)> = of_it
        .map(|event| {
            (
                text(event, "note"),
                text(event, "eventTime")[..13].to_owned(),
            )
        })
        .collect();
    said.sort();
    said.dedup_by(|later, earlier| later.0 == earlier.0 && later.1 != earlier.1);
    said.into_iter().map(|(note, _)| note).collect()
}

/// Waits for the one Event of a reason about an object, and returns its note.
fn wait_for_note(mesh: &Mesh, namespace: &str, kind: &str, name: &str, reason: &str) -> String {
    let what = format!("an Event {reason} on {kind} {name}");
    wait::until(RECOVERY, &what, || {
        let mut notes = notes(mesh, namespace, kind, name, reason);
        ensure!(notes.len() == 1, "{notes:?}");
        Ok(notes.remove(0))
    })
    .unwrap()
}

fn wait_until_known(mesh: &Mesh, daemon: &Daemon, namespace: &str) {
    wait::until(SOON, "the namespace is known", || {
        let name = format!("probe-{}", daemon.pid());
        let probe = pod(namespace, &name, None);
        let created = mesh.create(&probe, true)?.to_string();
        ensure!(created.contains("istio-proxy"), "not injected");
        Ok(())
    })
    .unwrap();
}

#[test]
fn describe_of_a_deployment_says_why_pod_security_refuses_its_pods_and_what_to_do() {
    let mesh = Mesh::exclusive();
    let ns = "restricted";
    mesh.namespace(ns, &["injection=enabled"]);
    let replica = mesh.replica("restricted", &[]);
    mesh.balancer.set(&[&replica]);
    wait_until_known(&mesh, &replica, ns);
    mesh.label(ns, &["pod-security.kubernetes.io/enforce=restricted"]);
    let (_, replica_set) = deployment(&mesh, ns, "web");
    let mut wanted = pod(ns, "web-1", Some(&replica_set));
    wanted["spec"]["securityContext"] = json!({ "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } });
    wanted["spec"]["containers"][0]["securityContext"] =
        json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    let describe = || -> Result<String> {
        // As its controller does, which nobody sees fail.
        let refused = mesh.create(&wanted, false).unwrap_err().to_string();
        ensure!(refused.contains("violates PodSecurity"), "{refused}");
        let shown = mesh
            .cluster
            .kubectl(&["describe", "deployment/web", "-n", ns])?;
        ensure!(shown.contains("PodSecurityRefusesSidecar"), "{shown}");
        Ok(shown)
    };
    let shown = wait::until(SOON, "the Deployment says why", describe).unwrap();
    assert!(
        shown.contains("pod-security.kubernetes.io/enforce=privileged"),
        "{shown}"
    );
    assert!(shown.contains("NET_ADMIN"), "{shown}");
}

#[test]
fn what_surprises_about_pods_is_one_event_on_the_topmost_owner_and_none_for_a_dry_run() {
    let mesh = Mesh::exclusive();
    let ns = "surprises";
    mesh.namespace(ns, &["injection=enabled"]);
    let replicas = ["surprises-1", "surprises-2"].map(|name| mesh.replica(name, &[]));
    mesh.balancer.set(&replicas.each_ref());
    wait_until_known(&mesh, &replicas[0], ns);
    let (_, asked) = deployment(&mesh, ns, "asked");
    let (_, made) = deployment(&mesh, ns, "made");
    let surprising = |name: &str, owner: &Value| {
        let mut pod = pod(ns, name, Some(owner));
        pod["spec"]["securityContext"] = json!({ "runAsUser": 1337 });
        pod
    };
    for n in 0..4 {
        mesh.create(&surprising(&format!("asked-{n}"), &asked), true)
            .unwrap();
    }
    for n in 0..8 {
        mesh.create(&surprising(&format!("made-{n}"), &made), false)
            .unwrap();
    }
    let note = wait_for_note(&mesh, ns, "Deployment", "made", "RunsAsProxyUser");
    assert!(note.contains("container app runs as user 1337"), "{note}");
    let mut denied = surprising("denied", &made);
    denied["metadata"]["annotations"] = json!({ "sidecar.istio.io/proxyCPU": "much" });
    mesh.create(&denied, false).unwrap_err();
    let note = wait_for_note(&mesh, ns, "Deployment", "made", "InjectionDenied");
    assert!(note.contains("sidecar.istio.io/proxyCPU"), "{note}");
    // Said in order: whatever the pods before had to say is said by now.
    assert_eq!(
        notes(&mesh, ns, "Deployment", "made", "RunsAsProxyUser").len(),
        1
    );
    assert_eq!(
        notes(&mesh, ns, "Deployment", "asked", "RunsAsProxyUser"),
        [""; 0]
    );
}

#[test]
fn a_namespace_whose_labels_contradict_each_other_is_told_once_for_each_change() {
    let mesh = Mesh::exclusive();
    let ns = "contradictory";
    mesh.namespace(ns, &["injection=enabled", "istio-injection=disabled"]);
    let replica = mesh.replica("contradictory", &[]);
    mesh.balancer.set(&[&replica]);
    let count = || notes(&mesh, ns, "Namespace", ns, "ContradictingInjectionLabels").len();
    let note = wait_for_note(&mesh, ns, "Namespace", ns, "ContradictingInjectionLabels");
    assert!(
        note.contains("injection=enabled and istio-injection=disabled"),
        "{note}"
    );
    mesh.label(ns, &["unrelated=change"]);
    mesh.label(ns, &["istio-injection=enabled"]);
    wait_until_known(&mesh, &replica, ns);
    assert_eq!(count(), 1);
    mesh.label(ns, &["injection=disabled"]);
    wait::until(SOON, "it is told again", || {
        let count = count();
        (count == 2).then_some(()).ok_or(count)
    })
    .unwrap();
}

#[test]
fn nothing_is_said_about_workloads_that_are_not_shown_to_exist() {
    let mesh = Mesh::exclusive();
    let ns = "claims";
    mesh.namespace(ns, &["injection=enabled"]);
    let replica = mesh.replica("claims", &[]);
    mesh.balancer.set(&[&replica]);
    wait_until_known(&mesh, &replica, ns);
    let (_, real) = deployment(&mesh, ns, "real");
    let denied = |name: &str, owner: &Value| {
        let mut pod = pod(ns, name, Some(owner));
        pod["metadata"]["annotations"] = json!({ "sidecar.istio.io/proxyCPU": "much" });
        mesh.create(&pod, false).unwrap_err();
    };
    let mut absent = real.clone();
    absent["metadata"]["name"] = json!("absent");
    denied("of-none", &absent);
    let mut earlier = real.clone();
    earlier["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    denied("of-an-earlier-one", &earlier);
    let mut custom = real.clone();
    custom["apiVersion"] = json!("example.com/v1");
    custom["kind"] = json!("Rollout");
    denied("of-another-kind", &custom);
    // Said in order.
    denied("of-the-real-one", &real);
    wait_for_note(&mesh, ns, "Deployment", "real", "InjectionDenied");
    replica.wait_for_metric("outrigger_announcements_unproven_total", 3.0);
    let text = mesh
        .cluster
        .kubectl(&["get", "events.events.k8s.io", "-n", ns, "-o", "name"]);
    assert_eq!(text.unwrap().lines().count(), 1);
}

/// Says that a pod runs and is ready, as a kubelet would.
fn run(mesh: &Mesh, namespace: &str, name: &str) {
    let status = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    let pod = format!("pod/{name}");
    mesh.cluster
        .kubectl(&[
            "patch",
            &pod,
            "-n",
            namespace,
            "--subresource=status",
            "-p",
            &status.to_string(),
        ])
        .unwrap();
}

/// What `outrigger check injection` finds in a namespace, and with which status it ends.
fn check(mesh: &Mesh, namespace: &str) -> (Vec<Value>, Option<i32>) {
    let kubeconfig = format!("--kubeconfig={}", mesh.cluster.kubeconfig().display());
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["check", "injection", "-n", namespace, "-o", "json"])
        .args([&kubeconfig, &format!("--istio-namespace={NAMESPACE}")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    (found, output.status.code())
}

#[test]
fn pods_without_a_proxy_are_told_to_owners_and_evicted_within_bounds_but_not_in_a_loop() {
    let mesh = Mesh::exclusive();
    let ns = "healed";
    mesh.namespace(ns, &["injection=disabled"]);
    let (_, web) = deployment(&mesh, ns, "web");
    let (_, guarded) = deployment(&mesh, ns, "guarded");
    let make = |name: &str, owner: Option<&Value>| {
        mesh.create(&pod(ns, name, owner), false).unwrap();
        run(&mesh, ns, name);
    };
    make("web-1", Some(&web));
    make("guarded-1", Some(&guarded));
    make("bare", None);
    // Nobody brings its status up to date, so it allows nothing.
    mesh.create(
        &json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": { "name": "guarded", "namespace": ns },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "guarded-1" } } },
        }),
        false,
    )
    .unwrap();
    mesh.label(ns, &["injection=enabled"]);
    let replica = mesh.replica("healer", &["--evict-without-proxy"]);
    mesh.balancer.set(&[&replica]);

    let missing = "outrigger_proxies_wrong{problem=\"missing\"}";
    replica.wait_for_metric(missing, 3.0);
    let (found, status) = check(&mesh, ns);
    assert_eq!((found.len(), status), (3, Some(79)), "{found:?}");
    let note = wait_for_note(&mesh, ns, "Deployment", "web", "ProxyMissing");
    assert!(
        note.contains("kubectl rollout restart deployment/web -n healed"),
        "{note}"
    );
    let note = wait_for_note(&mesh, ns, "Pod", "bare", "ProxyMissing");
    assert!(note.contains("nothing makes it again"), "{note}");

    wait_for_note(&mesh, ns, "Deployment", "web", "EvictedForProxy");
    let note = wait_for_note(&mesh, ns, "Deployment", "guarded", "EvictionRefused");
    assert!(note.contains("disruption budget"), "{note}");
    let left = mesh
        .cluster
        .kubectl(&["get", "pods", "-n", ns, "-o", "name"]);
    assert_eq!(left.unwrap(), "pod/bare\npod/guarded-1\n");

    // It is made again, and again without a proxy.
    mesh.label(ns, &["injection=disabled"]);
    wait::until(SOON, "a pod is made without a proxy", || {
        let created = mesh.create(&pod(ns, "web-2", Some(&web)), true)?;
        ensure!(!created.to_string().contains("istio-proxy"), "injected");
        Ok(())
    })
    .unwrap();
    make("web-2", Some(&web));
    mesh.label(ns, &["injection=enabled"]);
    let note = wait_for_note(&mesh, ns, "Deployment", "web", "EvictionsStopped");
    assert!(note.contains("pod web-2 was made again"), "{note}");
    assert_eq!(replica.metric("outrigger_proxies_given_up"), 1.0);

    // Pods that are as they should be are found by nobody.
    let pods = ["pod/web-2", "pod/guarded-1", "pod/bare"];
    let delete = [&["delete", "-n", ns, "--now"][..], &pods].concat();
    mesh.cluster.kubectl(&delete).unwrap();
    make("web-3", Some(&web));
    wait::until(SOON, "nothing is found", || {
        let value = replica.metric(missing);
        (value == 0.0).then_some(()).ok_or(value)
    })
    .unwrap();
    assert_eq!(check(&mesh, ns), (Vec::new(), Some(0)));
}

#[test]
fn every_metric_that_a_replica_serves_is_in_the_document() {
    let mesh = Mesh::exclusive();
    let replica = mesh.replica("metrics", &[]);
    let page = replica.get("/metrics").unwrap();
    let served: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
    let mut documented = BTreeSet::new();
    for row in text.unwrap().lines().filter(|line| line.starts_with("| `")) {
        let names = row.split('|').nth(1).unwrap();
        let mut first = String::new();
        for name in names.split('`').filter(|word| word.contains('_')) {
            // `_failed` beside `outrigger_events_written` is `outrigger_events_failed`.
            let name = match name.strip_prefix('_') {
                Some(end) => format!("{first}{end}"),
                None => name.to_owned(),
            };
            if first.is_empty() {
                first = name[..=name.rfind('_').unwrap()].to_owned();
            }
            documented.insert(name);
        }
    }
    let missing: Vec<_> = served.difference(&documented).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(served.len() > 20, "{served:?}");
}
