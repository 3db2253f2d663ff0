//! From manifests to findings, notes and plans, as text.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    eviction::{Eviction, History, Limits, Plan, plan},
    findings, namespaces, notes,
};
use crate::{
    inject::Config,
    world::{Settings, World},
};

const START: &str = "2026-01-01T00:00:00Z";
const EVERYTHING: Limits = Limits {
    missing: true,
    outdated: true,
    per_minute: 5,
};

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn config(values: Value) -> Config {
    let mut all = json!({
        "global": { "hub": "hub", "tag": "1", "istioNamespace": "outrigger-system",
                    "proxy": { "image": "proxyv2" }, "proxy_init": { "image": "proxyv2" } },
    });
    merge(&mut all, values);
    Config::from_json(&all, &Value::Null, true).unwrap().0
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "uid": name, "resourceVersion": "1", "labels": labels } })
}

/// A pod `web-…` of a ReplicaSet `web`, that runs and is ready, in the namespace `shop`.
fn pod(name: &str, change: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": START,
            "ownerReferences": [owner("apps/v1", "ReplicaSet", "web")],
        },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    merge(&mut pod, change);
    pod
}

fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true })
}

/// What an injection by `revision` with image `image` leaves on a pod.
fn injected(revision: &str, layout: &str, image: &str) -> Value {
    json!({
        "metadata": { "annotations": {
            "sidecar.istio.io/status": json!({ "initContainers": ["istio-init", "istio-proxy"], "revision": revision }).to_string(),
            "outrigger.dev/injection": json!({ "rule": "policy-enabled", "revision": revision, "layout": layout }).to_string(),
        } },
        "spec": { "initContainers": [
            { "name": "istio-init", "image": image }, { "name": "istio-proxy", "image": image },
        ] },
    })
}

fn world(objects: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::new(Settings::default());
    for object in objects {
        world.apply(&object).unwrap();
    }
    world
}

fn shop(pods: impl IntoIterator<Item = Value>) -> World {
    let enabled = namespace("shop", json!({ "istio-injection": "enabled" }));
    world(std::iter::once(enabled).chain(pods))
}

/// The findings, a line each.
fn found(world: &World, config: &Config) -> String {
    findings(world, config)
        .iter()
        .fold(String::new(), |mut text, finding| {
            let kind = finding.problem.as_str();
            writeln!(text, "{} {kind}: {}", finding.pod.name, finding.problem).unwrap();
            text
        })
}

#[test]
fn pods_are_found_by_the_rules_of_the_webhook() {
    let hand_made =
        json!({ "spec": { "containers": [{ "name": "istio-proxy", "image": "mine" }] } });
    let auto = json!({ "spec": { "containers": [{ "name": "istio-proxy", "image": "auto" }] } });
    let foreign = json!({ "metadata": { "annotations": { "sidecar.istio.io/status": "{}" } } });
    let world = shop([
        pod("bare", json!({ "metadata": { "ownerReferences": [] } })),
        pod(
            "deleting",
            json!({ "metadata": { "deletionTimestamp": START } }),
        ),
        pod("ended", json!({ "status": { "phase": "Succeeded" } })),
        pod("foreign", foreign),
        pod("gateway-without-image", auto),
        pod("good", injected("default", "native", "hub/proxyv2:1")),
        pod("hand-made", hand_made),
        pod("host", json!({ "spec": { "hostNetwork": true } })),
        pod(
            "opted-out",
            json!({ "metadata": { "labels": { "sidecar.istio.io/inject": "false" } } }),
        ),
        pod("plain", json!({})),
        pod(
            "static",
            json!({ "metadata": { "ownerReferences": [owner("v1", "Node", "node")] } }),
        ),
        pod("pending", json!({ "status": { "phase": "Pending" } })),
        pod("elsewhere", json!({ "metadata": { "namespace": "other" } })),
    ]);
    insta::assert_snapshot!(found(&world, &config(json!({}))), @"
    bare missing: no proxy
    foreign foreign: the proxy of another mesh
    gateway-without-image missing: no proxy
    pending missing: no proxy
    plain missing: no proxy
    ");
}

#[test]
fn an_old_proxy_is_told_by_revision_image_and_layout() {
    let user_image = json!({ "metadata": { "annotations": {
        "proxy.istio.io/overrides": json!({ "containers": [{ "name": "istio-proxy", "image": "mine" }] }).to_string(),
    } } });
    let mut own = pod("own-image", injected("default", "native", "mine"));
    merge(&mut own, user_image);
    let mut asked = pod("asked-image", injected("default", "native", "reg/mine:7"));
    merge(
        &mut asked,
        json!({ "metadata": { "annotations": { "sidecar.istio.io/proxyImage": "reg/mine:7" } } }),
    );
    let mut wished = pod(
        "wished-layout",
        injected("default", "classic", "hub/proxyv2:1"),
    );
    merge(
        &mut wished,
        json!({ "metadata": { "annotations": { "sidecar.istio.io/nativeSidecar": "false" } } }),
    );
    let world = shop([
        asked,
        own,
        wished,
        pod("canary", injected("canary", "native", "hub/proxyv2:1")),
        pod("classic", injected("default", "classic", "hub/proxyv2:1")),
        pod("old", injected("default", "native", "hub/proxyv2:0.9")),
    ]);
    insta::assert_snapshot!(found(&world, &config(json!({}))), @"
    canary outdated: revision canary, would be default
    classic outdated: ordinary container, would be a native sidecar
    old outdated: istio-proxy has image hub/proxyv2:0.9, would have hub/proxyv2:1; istio-init has image hub/proxyv2:0.9, would have hub/proxyv2:1
    ");
}

#[test]
fn each_control_plane_looks_after_the_pods_of_its_revision() {
    let own = namespace("own", json!({ "istio.io/rev": "canary" }));
    let pods = ["shop", "own", "outrigger-system"]
        .map(|namespace| pod(namespace, json!({ "metadata": { "namespace": namespace } })));
    let system = namespace("outrigger-system", json!({ "istio-injection": "enabled" }));
    let world = shop(pods.into_iter().chain([own, system]));
    assert_eq!(
        found(&world, &config(json!({}))),
        "shop missing: no proxy\n"
    );
    let canary = config(json!({ "revision": "canary" }));
    assert_eq!(found(&world, &canary), "own missing: no proxy\n");
}

#[test]
fn all_pods_of_a_controller_share_a_note_and_a_bare_pod_has_its_own() {
    let mut pods: Vec<Value> = (1..=5)
        .map(|n| pod(&format!("web-{n}"), json!({})))
        .collect();
    pods.push(pod(
        "web-9",
        injected("default", "native", "hub/proxyv2:0.9"),
    ));
    pods.push(pod(
        "bare",
        json!({ "metadata": { "ownerReferences": [] } }),
    ));
    let notes = notes::notes(&findings(&shop(pods), &config(json!({}))));
    let text = notes.iter().fold(String::new(), |mut text, note| {
        let owner = note.controller.as_ref().map_or("-", |owner| &owner.name);
        writeln!(text, "{owner} {}: {}", note.reason, note.text).unwrap();
        text
    });
    insta::assert_snapshot!(text, @"
    - ProxyMissing: no proxy in this pod, where one should be (its namespace is switched on, and the policy is `enabled`): made while the injection webhook was not asked, or before injection was switched on
    web ProxyMissing: no proxy in pods web-1, web-2, web-3 and 2 more, where one should be (its namespace is switched on, and the policy is `enabled`): made while the injection webhook was not asked, or before injection was switched on
    web ProxyOutdated: an old proxy in pod web-9: istio-proxy has image hub/proxyv2:0.9, would have hub/proxyv2:1; istio-init has image hub/proxyv2:0.9, would have hub/proxyv2:1
    ");
    assert!(
        notes::advice("Deployment", "shop", "web")
            .contains("kubectl rollout restart deployment/web -n shop")
    );
}

#[test]
fn namespaces_whose_two_switches_differ_are_named_with_what_that_means() {
    let world = world([
        namespace(
            "both",
            json!({ "injection": "enabled", "istio-injection": "enabled" }),
        ),
        namespace(
            "differ",
            json!({ "injection": "enabled", "istio-injection": "disabled" }),
        ),
        namespace("one", json!({ "injection": "enabled" })),
    ]);
    let found = namespaces::contradictions(&world);
    let names: Vec<&str> = found.iter().map(|found| &*found.namespace.name).collect();
    assert_eq!(names, ["differ"]);
    assert!(
        found[0]
            .text
            .contains("injection=enabled and istio-injection=disabled")
    );
}

/// Plans at a time, and takes it that every eviction is granted.
fn evict(world: &World, history: &mut History, limits: Limits, now: Timestamp) -> Plan {
    let plan = plan(
        world,
        &findings(world, &config(json!({}))),
        limits,
        history,
        now,
    );
    for eviction in &plan.evictions {
        history.note(eviction, true, now);
    }
    plan
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.evictions
        .iter()
        .map(|Eviction { pod, .. }| &*pod.name)
        .collect()
}

#[test]
fn one_pod_of_a_controller_is_evicted_at_a_time_and_only_while_its_others_are_ready() {
    let mut world = shop([pod("web-1", json!({})), pod("web-2", json!({}))]);
    let mut history = History::default();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(29))),
        [""; 0],
        "too young"
    );
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(30))),
        ["web-1"]
    );

    world
        .apply(&pod(
            "web-1",
            json!({ "metadata": { "deletionTimestamp": START } }),
        ))
        .unwrap();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(90))),
        [""; 0],
        "web-1 is on its way out"
    );
    let mut remade = pod("web-3", injected("default", "native", "hub/proxyv2:1"));
    merge(
        &mut remade,
        json!({ "metadata": { "creationTimestamp": after(31).to_string() }, "status": { "conditions": [] } }),
    );
    world.retain(crate::api::kind::Kind::Pod, |key| &*key.name != "web-1");
    world.apply(&remade).unwrap();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(91))),
        [""; 0],
        "web-3 is not ready"
    );
    merge(
        &mut remade,
        json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }),
    );
    world.apply(&remade).unwrap();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(92))),
        ["web-2"]
    );
}

#[test]
fn pods_that_serve_nobody_do_not_hold_each_other_up() {
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let world = shop([pod("web-1", unready.clone()), pod("web-2", unready)]);
    let mut history = History::default();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(60))),
        ["web-1"]
    );
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(61))),
        [""; 0],
        "a pause between them"
    );
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(91))),
        ["web-1"]
    );
}

#[test]
fn only_pods_that_are_made_again_without_loss_are_evicted() {
    let of =
        |name: &str, owner: Value| pod(name, json!({ "metadata": { "ownerReferences": [owner] } }));
    let world = shop([
        pod("bare", json!({ "metadata": { "ownerReferences": [] } })),
        of("custom", owner("example.com/v1", "Database", "db")),
        of("daemon", owner("apps/v1", "DaemonSet", "logs")),
        of("foreign", owner("apps/v1", "ReplicaSet", "other")),
        of("job", owner("batch/v1", "Job", "import")),
        of("set", owner("apps/v1", "StatefulSet", "db")),
        pod("pending", json!({ "status": { "phase": "Pending" } })),
    ]);
    let mut world = world;
    let mut foreign = of("foreign", owner("apps/v1", "ReplicaSet", "other"));
    merge(
        &mut foreign,
        json!({ "metadata": { "annotations": { "sidecar.istio.io/status": "{}" } } }),
    );
    world.apply(&foreign).unwrap();
    assert_eq!(
        names(&evict(
            &world,
            &mut History::default(),
            EVERYTHING,
            after(60)
        )),
        ["daemon", "set"]
    );
}

#[test]
fn no_more_than_the_budget_is_evicted_in_a_minute() {
    let world = shop((0..20).map(|n| {
        let of = owner("apps/v1", "ReplicaSet", &format!("rs-{n}"));
        pod(
            &format!("pod-{n:02}"),
            json!({ "metadata": { "ownerReferences": [of] } }),
        )
    }));
    let mut history = History::default();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(100))).len(),
        5
    );
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(159))).len(),
        0
    );
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(160))).len(),
        5
    );
    let nothing = Limits {
        missing: false,
        ..EVERYTHING
    };
    assert_eq!(
        names(&evict(&world, &mut history, nothing, after(500))).len(),
        0
    );
}

#[test]
fn a_new_leader_waits_until_the_budget_of_the_one_before_is_over() {
    let of = owner("apps/v1", "ReplicaSet", "rs");
    let world = shop([pod(
        "pod",
        json!({ "metadata": { "ownerReferences": [of] } }),
    )]);
    let mut history = History::default();
    history.begin_term(after(100));
    let evicted = |history: &mut History, seconds| {
        let plan = evict(&world, history, EVERYTHING, after(seconds));
        names(&plan).len()
    };
    assert_eq!(evicted(&mut history, 101), 0);
    assert_eq!(evicted(&mut history, 159), 0);
    assert_eq!(evicted(&mut history, 160), 1);
    // The Lease was lost and gained meanwhile.
    history.begin_term(after(300));
    assert_eq!(evicted(&mut history, 301), 0);
}

#[test]
fn a_pod_that_comes_back_as_it_was_ends_the_evictions_of_its_controller_and_says_so_once() {
    let mut world = shop([pod("web-1", json!({})), pod("web-2", json!({}))]);
    let mut history = History::default();
    assert_eq!(
        names(&evict(&world, &mut history, EVERYTHING, after(60))),
        ["web-1"]
    );
    world.retain(crate::api::kind::Kind::Pod, |key| &*key.name != "web-1");
    world
        .apply(&pod(
            "web-3",
            json!({ "metadata": { "creationTimestamp": after(62).to_string() } }),
        ))
        .unwrap();
    let stopped = evict(&world, &mut history, EVERYTHING, after(120));
    assert_eq!(names(&stopped), [""; 0]);
    assert_eq!(stopped.stops.len(), 1);
    assert!(
        stopped.stops[0].why.contains("pod web-3 was made again"),
        "{}",
        stopped.stops[0].why
    );
    assert_eq!(history.given_up(), 1);
    for later in [130, 1000, 100_000] {
        assert_eq!(
            evict(&world, &mut history, EVERYTHING, after(later)),
            Plan::default()
        );
    }
    // Once all its pods are as they should be, the controller is like any other.
    let good = |name: &str| pod(name, injected("default", "native", "hub/proxyv2:1"));
    let healed = shop([good("web-2"), good("web-3")]);
    evict(&healed, &mut history, EVERYTHING, after(200_000));
    assert_eq!(history.given_up(), 0);
}

#[test]
fn a_pod_that_was_made_again_is_known_by_its_uid_whatever_the_clocks_say_and_refusals_lie_between()
{
    let mut world = shop([pod("web-1", json!({})), pod("web-2", json!({}))]);
    let mut history = History::default();
    evict(&world, &mut history, EVERYTHING, after(60));
    let found = findings(&world, &config(json!({})));
    let refused = plan(&world, &found, EVERYTHING, &mut history, after(100));
    history.note(&refused.evictions[0], false, after(100));
    world.retain(crate::api::kind::Kind::Pod, |key| &*key.name != "web-1");
    // By the API server's clock it was there before the eviction; it does not even run yet.
    let remade =
        json!({ "metadata": { "creationTimestamp": START }, "status": { "phase": "Pending" } });
    world.apply(&pod("web-3", remade)).unwrap();
    let stopped = evict(&world, &mut history, EVERYTHING, after(140));
    assert_eq!((stopped.stops.len(), stopped.evictions.len()), (1, 0));
}

#[test]
fn a_refused_eviction_is_asked_for_again_after_a_pause() {
    let world = shop([pod("web-1", json!({}))]);
    let mut history = History::default();
    let found = findings(&world, &config(json!({})));
    let first = plan(&world, &found, EVERYTHING, &mut history, after(60));
    history.note(&first.evictions[0], false, after(60));
    assert_eq!(
        plan(&world, &found, EVERYTHING, &mut history, after(61)),
        Plan::default()
    );
    assert_eq!(
        names(&plan(&world, &found, EVERYTHING, &mut history, after(90))),
        ["web-1"]
    );
}
