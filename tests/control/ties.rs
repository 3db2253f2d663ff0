//! What depends on an order: objects of one moment, and changes that overtake each other.

use std::sync::Arc;
use std::time::Instant;

use outrigger::api::kind::Kind;
use outrigger_e2e::cluster::Cluster as _;
use serde_json::json;

use super::bulk::{self, Bulk, Seen};
use super::daemon::{self, Daemon};
use super::*;
use crate::random::{Random, SEED};

fn route(namespace: &str, name: &str, host: &str, gateways: &[&str]) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "hosts": [host], "gateways": gateways,
            "http": [{ "route": [{ "destination": { "host": "reviews" } }] }],
        },
    })
}

/// Creates two objects within one second, the second one first, however often that takes; returns their suffix.
fn twins(bulk: &Bulk, of: impl Fn(&str, usize) -> Value) -> usize {
    let mut attempt = 0;
    wait::until(SOON, "two objects of one second", || {
        attempt += 1;
        let created = ["b", "a"].map(|name| {
            let object = of(name, attempt);
            let created = bulk::create(bulk.client(), &object);
            let created = bulk.runtime().block_on(created).unwrap();
            created.metadata.creation_timestamp.unwrap().0
        });
        ensure!(created[0] == created[1], "{created:?}");
        Ok(attempt)
    })
    .unwrap()
}

/// What a replica says about the objects of a namespace.
fn told(daemon: &Daemon, namespace: &str) -> Result<Vec<(String, Value)>> {
    let page = daemon::get(daemon.address("debug")?, "/debug/snapshot")?;
    let page: Value = serde_json::from_str(&page)?;
    let routes = page["virtualservices"].as_object().context("no routes")?;
    let ours = routes
        .iter()
        .filter(|(name, _)| name.starts_with(namespace));
    Ok(ours
        .map(|(name, object)| (name.clone(), object["messages"].clone()))
        .collect())
}

#[test]
fn of_two_routes_of_one_second_every_replica_names_the_same_winner_also_after_a_restart() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "ties";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    let gateway = format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: {ns}}}
spec:
  selector: {{istio: edge}}
  servers: [{{port: {{number: 80, protocol: HTTP, name: http}}, hosts: ['*']}}]"
    );
    cluster.apply(&gateway).unwrap();
    let bulk = Bulk::new(cluster);
    let first = installed.daemon("ties-1");
    let second = installed.daemon("ties-2");

    let mesh = twins(&bulk, |name, attempt| {
        let host = format!("tie-{attempt}.example.com");
        route(ns, &format!("{name}-{attempt}"), &host, &["mesh"])
    });
    let edge = twins(&bulk, |name, attempt| {
        let host = format!("edge-{attempt}.example.com");
        route(ns, &format!("{name}-edge-{attempt}"), &host, &["edge"])
    });
    let (winner, loser) = (format!("a-{mesh}"), format!("b-{mesh}"));
    let (reason, message) =
        wait_for_ready(cluster, ns, &format!("virtualservice/{loser}"), "False");
    assert_eq!(reason, "HostConflict", "{message}");
    assert!(message.contains(&winner), "{message}");
    wait_for_ready(cluster, ns, &format!("virtualservice/{winner}"), "True");
    wait_for_ready(
        cluster,
        ns,
        &format!("virtualservice/b-edge-{edge}"),
        "True",
    );

    let both = |one: &Daemon, other: &Daemon| {
        wait::until(SOON, "both replicas say the same", || {
            let (one, other) = (told(one, ns)?, told(other, ns)?);
            ensure!(one == other, "{one:?} and {other:?}");
            Ok(one)
        })
        .unwrap()
    };
    let said = both(&first, &second);
    assert!(said.len() >= 4, "{said:?}");
    let written = |daemon: &Daemon| daemon.metric("outrigger_status_writes_total");
    assert!(first.stop().success());
    second.wait_for_metric("outrigger_leader", 1.0);
    let third = installed.daemon("ties-3");
    assert_eq!(both(&second, &third), said);
    // A new leader compares everything, and nothing differs.
    let routes = said.len() as f64;
    second.wait_for_metric(
        "outrigger_status_no_ops_total{kind=\"virtualservices\"}",
        routes,
    );
    assert_eq!(written(&second), 0.0);
}

/// Objects that depend on each other, as they were put last.
#[derive(Default)]
struct Scene {
    /// The subset that the route names.
    route: Option<&'static str>,
    /// The subsets that the rule has.
    rule: Option<Vec<&'static str>>,
}

const SUBSETS: [&str; 3] = ["v1", "v2", "v3"];

impl Scene {
    /// Whether the route is right; `None` while there is none.
    fn is_right(&self) -> Option<bool> {
        let subsets = self.rule.as_deref().unwrap_or_default();
        self.route.map(|route| subsets.contains(&route))
    }

    /// A random change: the object, and whether it is put or deleted.
    fn change(&mut self, random: &mut Random, ns: &str) -> (Value, bool) {
        match random.below(8) {
            0..4 => {
                let subset = random.pick(&SUBSETS);
                self.route = Some(subset);
                (to_subset(ns, subset), true)
            }
            4 => {
                self.route = None;
                (to_subset(ns, "v1"), false)
            }
            5 => {
                self.rule = None;
                (rule(ns, &SUBSETS), false)
            }
            _ => {
                let mut subsets = vec![random.pick(&SUBSETS), random.pick(&SUBSETS)];
                subsets.dedup();
                let object = rule(ns, &subsets);
                self.rule = Some(subsets);
                (object, true)
            }
        }
    }
}

fn to_subset(namespace: &str, subset: &str) -> Value {
    let mut object = route(namespace, "reviews", "reviews", &["mesh"]);
    object["spec"]["http"][0]["route"][0]["destination"]["subset"] = subset.into();
    object
}

fn rule(namespace: &str, subsets: &[&str]) -> Value {
    let subsets = subsets.iter();
    let subsets = subsets.map(|name| json!({ "name": name, "labels": { "version": name } }));
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": { "name": "reviews", "namespace": namespace },
        "spec": { "host": "reviews", "subsets": subsets.collect::<Vec<_>>() },
    })
}

async fn make(client: &kube::Client, (object, put): &(Value, bool)) {
    let made = if *put {
        bulk::put(client, object).await
    } else {
        bulk::delete(client, object).await
    };
    made.unwrap();
}

/// What is seen of the route's condition `Ready`, one after the other.
#[derive(Debug, Default)]
struct Turns {
    now: Option<String>,
    /// How often it turned from `True` to `False` or back.
    count: usize,
}

impl Turns {
    fn see(&mut self, seen: &Seen) {
        let ready = match seen {
            Seen::Applied(object) => condition(object, "Ready").ok().map(|found| found.0),
            Seen::Deleted(_) => {
                self.now = None;
                return;
            }
        };
        let Some(ready) = ready else { return };
        if self.now.as_ref().is_some_and(|now| *now != ready) {
            self.count += 1;
        }
        self.now = Some(ready);
    }
}

fn turns_of(bulk: &Bulk, namespace: &'static str) -> (Arc<Mutex<Turns>>, bulk::Watching) {
    let turns: Arc<Mutex<Turns>> = Arc::default();
    let seen = Arc::clone(&turns);
    let watching = bulk.watch(Kind::VirtualService, move |event| {
        let (Seen::Applied(object) | Seen::Deleted(object)) = &event;
        if object["metadata"]["namespace"] == namespace {
            seen.lock().unwrap().see(&event);
        }
    });
    (turns, watching)
}

#[test]
fn a_thousand_changes_in_random_order_end_in_the_right_status_and_turn_it_no_oftener_than_the_truth()
 {
    const CHANGES: usize = 1000;
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "ties-random";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    let bulk = Bulk::new(cluster);
    let daemon = installed.daemon("ties-random");
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    let (turns, _watching) = turns_of(&bulk, ns);
    let (mut random, seed) = Random::new();
    let mut scene = Scene {
        route: Some("v1"),
        rule: Some(vec!["v1", "v2"]),
    };
    let mut truth = Some(true);
    let mut real = 0;
    for _ in 0..CHANGES {
        let change = scene.change(&mut random, ns);
        bulk.runtime().block_on(make(bulk.client(), &change));
        let now = scene.is_right();
        real += usize::from(truth.zip(now).is_some_and(|(before, now)| before != now));
        truth = now;
    }
    // Whatever it is, it must be there to be looked at.
    for (object, subset) in [(to_subset(ns, "v2"), "v2"), (to_subset(ns, "v3"), "v3")] {
        bulk.runtime()
            .block_on(make(bulk.client(), &(object, true)));
        let has = scene.rule.as_deref().unwrap_or_default().contains(&subset);
        let ready = if has { "True" } else { "False" };
        wait_for_ready(cluster, ns, "virtualservice/reviews", ready);
    }
    let turns = turns.lock().unwrap();
    let written = daemon.metric("outrigger_status_writes_total");
    println!(
        "{real} real turns in {CHANGES} changes, {} told, {written} writes",
        turns.count
    );
    assert!(
        turns.count <= real + 2,
        "{SEED}={seed}: {turns:?}, but {real} real turns"
    );
}

/// Waits until the control plane has seen the object as it is now.
fn wait_until_observed(cluster: &ControlPlane, namespace: &str, object: &str) {
    wait::until(SOON, object, || {
        condition(&read(cluster, namespace, object)?, "Ready").map(drop)
    })
    .unwrap();
}

#[test]
fn a_subset_that_is_renamed_step_by_step_never_looks_broken() {
    const RENAMES: usize = 10;
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "ties-renamed";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    let bulk = Bulk::new(cluster);
    let _daemon = installed.daemon("ties-renamed");
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    let (turns, _watching) = turns_of(&bulk, ns);
    let put = |object: Value| {
        bulk.runtime()
            .block_on(make(bulk.client(), &(object, true)))
    };
    for index in 0..RENAMES {
        let [old, new] = [0, 1].map(|next| SUBSETS[(index + next) % SUBSETS.len()]);
        // Kinds are watched apart: who must not lose a request waits until a step is seen before the next one.
        put(rule(ns, &[old, new]));
        wait_until_observed(cluster, ns, "destinationrule/reviews");
        put(to_subset(ns, new));
        wait_until_observed(cluster, ns, "virtualservice/reviews");
        put(rule(ns, &[new]));
    }
    put(to_subset(ns, "nowhere"));
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    wait::until(SOON, "the one real turn", || {
        let turns = turns.lock().unwrap();
        ensure!(turns.count == 1, "{turns:?}");
        Ok(())
    })
    .unwrap();
}

/// What is put at the same time as something else counts as such if it took no longer: after that, what is held is told.
const TOGETHER: Duration = Duration::from_millis(100);

/// How often a VirtualService of a namespace was seen not to be Ready, in every version of it.
fn falses_of(bulk: &Bulk, namespace: &'static str) -> (Arc<Mutex<Vec<String>>>, bulk::Watching) {
    let falses: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&falses);
    let watching = bulk.watch(Kind::VirtualService, move |event| {
        if let Seen::Applied(object) = event
            && object["metadata"]["namespace"] == namespace
            && ready_in_any_generation(&object) == Some("False")
        {
            let (name, status) = (&object["metadata"]["name"], &object["status"]);
            noted.lock().unwrap().push(format!("{name} {status}"));
        }
    });
    (falses, watching)
}

fn ready_in_any_generation(object: &Value) -> Option<&str> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|one| one["type"] == "Ready")?["status"].as_str()
}

/// Makes changes of two objects, the one right after the other; returns whether that was together.
fn make_together(bulk: &Bulk, mut changes: [(Value, bool); 2], turned: bool) -> bool {
    if turned {
        changes.reverse();
    }
    let start = Instant::now();
    bulk.runtime().block_on(async {
        for change in &changes {
            make(bulk.client(), change).await;
        }
    });
    start.elapsed() < TOGETHER
}

fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = name.into();
    object
}

/// A route and the rule of its subset are made, changed and deleted together, in either order, as one `kubectl apply` or
/// `kubectl delete` of both does it.
#[test]
fn a_route_that_comes_changes_and_goes_with_its_subset_is_never_told_to_be_broken() {
    const ROUNDS: usize = 10;
    const MOST_ROUNDS: usize = 200;
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "ties-together";
    cluster.create_namespace(ns).unwrap();
    cluster.apply(&reviews(ns, "v1")).unwrap();
    cluster
        .kubectl(&[
            "delete",
            "virtualservice,destinationrule",
            "--all",
            "-n",
            ns,
        ])
        .unwrap();
    let bulk = Bulk::new(cluster);
    let _daemon = installed.daemon("ties-together");
    let (falses, _watching) = falses_of(&bulk, ns);
    let mut together: Vec<String> = Vec::new();
    for round in 0..MOST_ROUNDS {
        let name = format!("reviews-{round}");
        let object = format!("virtualservice/{name}");
        let pair = |subset: &str, put: bool| {
            [to_subset(ns, subset), rule(ns, &[subset])].map(|object| (named(object, &name), put))
        };
        let (mut quick, turned) = (true, round % 2 == 1);
        for subset in ["v1", "v2"] {
            quick &= make_together(&bulk, pair(subset, true), turned);
            wait_until_observed(cluster, ns, &object);
        }
        quick &= make_together(&bulk, pair("v2", false), turned);
        if quick {
            together.push(format!("{name:?} "));
        }
        if together.len() == ROUNDS {
            break;
        }
    }
    assert_eq!(together.len(), ROUNDS, "the API server is too slow");

    // What is broken for good is told.
    let alone = [to_subset(ns, "v9"), rule(ns, &["v1"])];
    make_together(&bulk, alone.map(|object| (object, true)), false);
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    wait::until(SOON, "the watch sees it", || {
        let seen = falses.lock().unwrap();
        let of_broken = seen.iter().any(|seen| seen.starts_with("\"reviews\" "));
        of_broken.then_some(()).ok_or(seen.len())
    })
    .unwrap();
    // By now the watch has brought all that was before.
    let seen = falses.lock().unwrap();
    let flapped = |seen: &&String| together.iter().any(|quick| seen.starts_with(quick));
    let flapped: Vec<&String> = seen.iter().filter(flapped).collect();
    assert!(flapped.is_empty(), "{flapped:?}");
}
