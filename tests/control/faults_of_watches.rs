//! What the API server does to watches, and what permissions and definitions do to kinds, while a process runs: what was
//! known is kept, it is told, and it heals without a restart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use outrigger::api::kind::Kind;
use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::bulk::{self, Bulk, Seen};
use super::daemon::{self, Daemon};
use super::faults::lax_definition;
use super::proxy::{
    Fault, Proxy, is_further_page_of_virtual_services, is_list_of_virtual_services,
    is_status_write, is_watch_of_virtual_services,
};
use super::*;

const OBJECT: &str = "virtualservice/reviews";
const ROUTES: &str = "outrigger_objects{kind=\"virtualservices\"}";

fn errors(daemon: &Daemon, plural: &str) -> f64 {
    daemon.metric(&format!(
        "outrigger_watch_errors_total{{kind=\"{plural}\"}}"
    ))
}

/// Whether a kind can be read, as metrics say; `None` where they say nothing.
fn readable(daemon: &Daemon, plural: &str) -> Option<f64> {
    let page = daemon.get("/metrics").unwrap();
    let labels = format!("outrigger_watch_readable{{kind=\"{plural}\",");
    let sample = page.lines().find(|line| line.starts_with(&labels))?;
    sample.rsplit(' ').next()?.parse().ok()
}

fn wait_until_readable(daemon: &Daemon, plural: &str, expected: Option<f64>) {
    wait::until(RECOVERY, "watch_readable", || {
        let value = readable(daemon, plural);
        (value == expected)
            .then_some(())
            .ok_or(format!("{plural}: {value:?}"))
    })
    .unwrap();
}

/// Lets etcd forget everything but the newest state.
fn compact(cluster: &ControlPlane) {
    let list = cluster
        .kubectl(&["get", "--raw", "/api/v1/namespaces?limit=1"])
        .unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({ "revision": revision, "physical": true }).to_string();
    let mut etcd = TcpStream::connect(cluster.etcd()).unwrap();
    let length = body.len();
    write!(
        etcd,
        "POST /v3/kv/compaction HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    etcd.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn after_a_compaction_and_a_restart_of_the_api_server_a_watch_that_is_too_old_begins_anew() {
    let installed = Installed::start().unwrap();
    let cluster = &installed.cluster;
    let ns = "compacted";
    cluster.create_namespace(ns).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    let mut daemon = Daemon::start_ready(ns, &proxy.kubeconfig(), &[]);
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "True");

    proxy.disconnect();
    let rule = ["delete", "destinationrule/reviews", "-n", ns];
    cluster.kubectl(&rule).unwrap();
    compact(cluster);
    cluster.restart_api_server().unwrap();
    // What the API server remembers begins after this.
    let known = errors(&daemon, "destinationrules");
    proxy.reconnect();
    let (reason, _) = wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "False");
    assert_eq!(reason, "SubsetNotFound");
    let log = daemon.log();
    assert!(
        log.contains("too old resource version"),
        "no watch was refused"
    );
    assert!(errors(&daemon, "destinationrules") > known);
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "True");
    assert!(daemon.is_running());
}

#[test]
fn a_watch_that_cannot_begin_because_it_is_too_old_lists_anew() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "expired-at-once";
    cluster.create_namespace(ns).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    let daemon = Daemon::start_ready(ns, &proxy.kubeconfig(), &[]);
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "True");
    proxy.inject(is_watch_of_virtual_services, Fault::Gone, 2);
    proxy.disconnect();
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    proxy.reconnect();
    wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "False");
    proxy.wait_until_spent();
    wait_until_readable(&daemon, "virtualservices", Some(1.0));
}

#[test]
fn a_list_that_expires_between_its_pages_begins_anew_and_then_holds_everything_once() {
    const ROUTES_OF_NOBODY: usize = 600;
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "expired-pages";
    cluster.create_namespace(ns).unwrap();
    let bulk = Bulk::new(cluster);
    bulk.create((0..ROUTES_OF_NOBODY).map(|index| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": format!("page-{index:03}"), "namespace": ns },
            "spec": {
                "hosts": [format!("page-{index}.example.com")],
                "http": [{ "directResponse": { "status": 404 } }],
            },
        })
    }));
    let stored = bulk.list(Kind::VirtualService).len() as f64;
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    proxy.inject(is_further_page_of_virtual_services, Fault::Gone, 2);
    let daemon = Daemon::start_ready(ns, &proxy.kubeconfig(), &[]);
    proxy.wait_until_spent();
    assert_eq!(daemon.metric(ROUTES), stored);
    assert!(errors(&daemon, "virtualservices") >= 2.0);
    bulk.delete_all(Kind::VirtualService, ns);
}

#[test]
fn lists_that_fail_with_500_hold_up_the_start_and_are_told_until_they_succeed() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "broken-lists";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v4")).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    proxy.inject(is_list_of_virtual_services, Fault::Broken, usize::MAX);
    let daemon = Daemon::start(ns, &proxy.kubeconfig(), &[]);
    wait::until(SOON, "the cause on /readyz", || {
        let error = daemon.get("/readyz").expect_err("it is ready").to_string();
        ensure!(
            error.contains("virtualservices not listed yet: "),
            "{error}"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(readable(&daemon, "virtualservices"), Some(0.0));
    assert_eq!(daemon.metric("outrigger_status_writes_total"), 0.0);
    proxy.heal();
    daemon.wait_until_ready();
    wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "False");
    assert_eq!(readable(&daemon, "virtualservices"), Some(1.0));
}

#[test]
fn status_writes_that_fail_with_500_are_repeated_ever_more_seldom_and_then_once() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "broken-writes";
    cluster.create_namespace(ns).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    let mut daemon = Daemon::start_ready(ns, &proxy.kubeconfig(), &[]);
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "True");
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    let is_told = || {
        let mut told = proxy.changes_asked_for(ns).len();
        wait::until(SOON, "no more writes", || {
            let before = std::mem::replace(&mut told, proxy.changes_asked_for(ns).len());
            (before == told).then_some(told).ok_or(told)
        })
        .unwrap()
    };
    let before = is_told();
    let failures = daemon.metric("outrigger_status_failures_total");
    proxy.inject(is_status_write, Fault::Broken, usize::MAX);
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    daemon.wait_for_metric("outrigger_status_failures_total", failures + 3.0);
    // A route and its rule: a few attempts each, not one after the other.
    let attempts = proxy.changes_asked_for(ns).len() - before;
    assert!(attempts <= 8, "{attempts} attempts");
    let written = daemon.metric("outrigger_status_writes_total{kind=\"virtualservices\"}");
    proxy.heal();
    wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "False");
    daemon.wait_for_metric(
        "outrigger_status_writes_total{kind=\"virtualservices\"}",
        written + 1.0,
    );
    assert!(daemon.is_running());
}

#[test]
fn after_a_start_from_a_stale_cache_the_status_ends_right_and_the_old_one_never_comes_back() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "stale";
    cluster.create_namespace(ns).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    let first = installed.daemon("stale-1");
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "True");
    let path = "/apis/networking.istio.io/v1/virtualservices";
    let old = cluster.kubectl(&["get", "--raw", path]).unwrap();
    proxy.remember(serde_json::from_str(&old).unwrap());
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "False");
    assert!(first.stop().success());

    let turns: std::sync::Arc<Mutex<Vec<String>>> = Default::default();
    let seen = std::sync::Arc::clone(&turns);
    let bulk = Bulk::new(cluster);
    let watching = bulk.watch(Kind::VirtualService, move |event| {
        if let Seen::Applied(object) = event
            && bulk::name(&object) == "stale/reviews"
            && let Ok((ready, ..)) = condition(&object, "Ready")
        {
            seen.lock().unwrap().push(ready);
        }
    });
    proxy.inject(is_list_of_virtual_services, Fault::Stale, 1);
    let second = Daemon::start_ready("stale-2", &proxy.kubeconfig(), &[]);
    proxy.wait_until_spent();
    second.wait_for_metric("outrigger_leader", 1.0);
    cluster.apply(&virtual_service(ns, "v5")).unwrap();
    wait::until(SOON, "the new message", || {
        let (_, _, message) = condition(&read(cluster, ns, OBJECT)?, "Ready")?;
        ensure!(message.contains("\"v5\""), "{message}");
        Ok(())
    })
    .unwrap();
    drop(watching);
    let turns = turns.lock().unwrap();
    assert!(turns.iter().all(|ready| ready == "False"), "{turns:?}");
}

/// Runs kubectl with a JSON patch on the chart's ClusterRole: takes a resource out of every rule, or puts all back.
struct Role<'a> {
    cluster: &'a ControlPlane,
    whole: Value,
}

impl Role<'_> {
    fn of(cluster: &ControlPlane) -> Role<'_> {
        let arguments = [
            "get",
            "clusterrole",
            "-o",
            "json",
            "-l",
            "app.kubernetes.io/instance=outrigger",
        ];
        let roles = cluster.kubectl(&arguments).unwrap();
        let roles: Value = serde_json::from_str(&roles).unwrap();
        let whole = roles["items"][0].clone();
        Role { cluster, whole }
    }

    fn without(&self, resource: &str) {
        let mut rules = self.whole["rules"].clone();
        for rule in rules.as_array_mut().unwrap() {
            if let Some(resources) = rule["resources"].as_array_mut() {
                resources.retain(|one| one != resource);
            }
        }
        let rules = rules.as_array_mut().unwrap();
        rules.retain(|rule| rule["resources"] != json!([]));
        self.set(&json!(rules));
    }

    fn restore(&self) {
        self.set(&self.whole["rules"]);
    }

    fn set(&self, rules: &Value) {
        let name = self.whole["metadata"]["name"].as_str().unwrap();
        let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]).to_string();
        let arguments = ["patch", "clusterrole", name, "--type=json", "-p", &patch];
        self.cluster.kubectl(&arguments).unwrap();
    }
}

#[test]
fn a_kind_that_may_no_longer_be_read_is_told_and_what_was_known_of_it_stays() {
    let installed = Installed::start().unwrap();
    let cluster = &installed.cluster;
    let ns = "forbidden";
    cluster.create_namespace(ns).unwrap();
    let proxy = Proxy::start(cluster, &installed.kubeconfig);
    let mut daemon = Daemon::start_ready(ns, &proxy.kubeconfig(), &[]);
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "True");
    let role = Role::of(cluster);

    // A kind that verdicts rest on: nothing is said any more, and nothing that was said is taken back.
    role.without("destinationrules");
    proxy.cut();
    wait_until_readable(&daemon, "destinationrules", Some(0.0));
    let page = daemon.get("/readyz").unwrap();
    assert!(
        page.contains("remark: destinationrules: may not be read"),
        "{page}"
    );
    assert!(errors(&daemon, "destinationrules") > 0.0);
    assert_eq!(
        daemon.metric("outrigger_objects{kind=\"destinationrules\"}"),
        1.0
    );
    let generation = read(cluster, ns, OBJECT).unwrap()["metadata"]["generation"].clone();
    cluster.apply(&virtual_service(ns, "v2")).unwrap();
    wait::until(SOON, "the change is seen", || {
        let page = daemon::get(daemon.address("debug")?, "/debug/snapshot")?;
        let page: Value = serde_json::from_str(&page)?;
        let seen = &page["virtualservices"]["forbidden/reviews"]["generation"];
        ensure!(*seen != generation, "generation {seen}");
        Ok(())
    })
    .unwrap();
    let object = read(cluster, ns, OBJECT).unwrap();
    assert_eq!(object["status"]["observedGeneration"], generation);
    role.restore();
    wait_for_ready_within(RECOVERY, cluster, ns, OBJECT, "True");
    assert_eq!(readable(&daemon, "destinationrules"), Some(1.0));
    let page = daemon.get("/readyz").unwrap();
    assert!(!page.contains("remark"), "{page}");

    // A kind that none rests on: everything else goes on.
    role.without("envoyfilters");
    proxy.cut();
    wait_until_readable(&daemon, "envoyfilters", Some(0.0));
    cluster.apply(&virtual_service(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, OBJECT, "False");
    role.restore();
    wait_until_readable(&daemon, "envoyfilters", Some(1.0));
    assert!(daemon.is_running());
}

#[test]
fn a_version_that_is_no_longer_served_gives_way_to_another_and_no_object_is_lost_meanwhile() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    let apply = |newer: bool| {
        let crds = [
            ("virtualservices", "VirtualService"),
            ("destinationrules", "DestinationRule"),
        ]
        .map(|(plural, kind)| lax_definition(plural, kind, &[("v1beta1", true), ("v1", newer)]));
        cluster.apply(&crds.join("\n---")).unwrap();
        cluster.wait_for_definitions().unwrap();
    };
    apply(true);
    let ns = "default";
    wait::until(SOON, "the kinds are served", || {
        cluster.apply(&reviews(ns, "v1"))
    })
    .unwrap();
    let mut daemon = Daemon::start_ready("versions", cluster.kubeconfig(), &[]);
    wait_for_ready(&cluster, ns, OBJECT, "True");
    let written = daemon.metric("outrigger_status_writes_total");

    // Of the two versions the newer one, which is watched, is served no more.
    apply(false);
    let watched = |version: &str| {
        wait::until(RECOVERY, version, || {
            let log = daemon.log();
            let line = format!("watched as {version}\"");
            let kinds = ["destinationrules", "virtualservices"];
            let said = |kind: &&str| {
                let mut lines = log.lines().rev().filter(|line| line.contains("\"watch\""));
                let last = lines.find(|line| line.contains(&format!("\"source\":\"{kind}\"")));
                last.is_some_and(|last| last.contains(&line))
            };
            ensure!(kinds.iter().all(said), "not yet");
            Ok(())
        })
        .unwrap();
    };
    watched("v1beta1");
    assert!(!daemon.log().contains("SubsetNotFound"));
    assert_eq!(daemon.metric("outrigger_status_writes_total"), written);
    let older =
        virtual_service(ns, "v4").replace("networking.istio.io/v1", "networking.istio.io/v1beta1");
    cluster.apply(&older).unwrap();
    // By its version: kubectl remembers for a while which one a kind was served in.
    let object = "virtualservices.v1beta1.networking.istio.io/reviews";
    wait_for_ready(&cluster, ns, object, "False");
    assert!(daemon.is_running());
}
