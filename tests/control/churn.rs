//! Everything changes all the time, and in the end all is as if the process had just been started.

use std::time::Instant;

use outrigger::api::kind::Kind;
use outrigger_e2e::binaries;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::bulk::{self, Bulk};
use super::daemon::{self, Daemon};
use super::scale::memory;
use super::*;
use crate::random::Random;

/// Changes in a second.
const RATE: u32 = 50;
/// Changes that are under way at a time.
const AT_ONCE: usize = 8;
/// For how long the long run lasts, in seconds; an hour if it is not set.
const SECONDS: &str = "OUTRIGGER_CHURN_SECONDS";
/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take until the last change is told.
const SETTLED: Duration = Duration::from_secs(120);

const NAMESPACES: [&str; 3] = ["churn-a", "churn-b", "churn-c"];
const APPLICATIONS: usize = 12;
const SUBSETS: [&str; 4] = ["v1", "v2", "v3", "v4"];

/// What becomes of an object: it is this, or (with a status that is set beside it) that, or it is gone.
enum Change {
    Put(Value),
    PutWithStatus(Value, Value),
    Delete(Value),
}

/// Random changes of few objects, so that each is made, changed and deleted many times.
struct Churn(Random);

impl Churn {
    fn next(&mut self) -> Change {
        let object = match self.0.below(100) {
            0..38 => self.virtual_service(),
            38..58 => self.destination_rule(),
            58..68 => self.service(),
            68..74 => self.gateway(),
            74..79 => self.service_entry(),
            79..82 => self.sidecar(),
            82..86 => self.deployment(),
            86..88 => return Change::Put(self.namespace()),
            _ => {
                let (pod, status) = self.pod();
                return match self.0.below(4) {
                    0 => Change::Delete(pod),
                    _ => Change::PutWithStatus(pod, status),
                };
            }
        };
        match self.0.below(4) {
            0 => Change::Delete(object),
            _ => Change::Put(object),
        }
    }

    fn application(&mut self) -> String {
        format!("app-{}", self.0.below(APPLICATIONS))
    }

    /// An object of a kind, one of `count`.
    fn object(&mut self, api_version: &str, kind: &str, count: usize, spec: Value) -> Value {
        let name = format!("{}-{}", kind.to_lowercase(), self.0.below(count));
        json!({
            "apiVersion": api_version, "kind": kind, "spec": spec,
            "metadata": { "name": name, "namespace": self.0.pick(&NAMESPACES) },
        })
    }

    fn istio(&mut self, kind: &str, count: usize, spec: Value) -> Value {
        self.object("networking.istio.io/v1", kind, count, spec)
    }

    fn destination(&mut self) -> Value {
        let mut destination = json!({ "host": self.application() });
        match self.0.below(8) {
            0 => destination["host"] = "nobody".into(),
            1 => {}
            2 => destination["host"] = format!("app-1.{}.svc.cluster.local", NAMESPACES[0]).into(),
            _ => destination["subset"] = self.0.pick(&SUBSETS).into(),
        }
        destination
    }

    fn route(&mut self) -> Value {
        let count = 1 + self.0.below(2);
        let weights = [[100, 0], [60, 40], [0, 0]];
        let weights = self.0.pick(&weights);
        let mut destinations = Vec::new();
        for weight in weights.into_iter().take(count) {
            destinations.push(json!({ "destination": self.destination(), "weight": weight }));
        }
        let mut route = json!({ "route": destinations });
        match self.0.below(8) {
            0 => route["match"] = json!([{ "uri": { "regex": "(" } }]),
            1..4 => {
                route["match"] = json!([{ "uri": { "prefix": format!("/{}", self.0.below(5)) } }])
            }
            4 => route["timeout"] = "5s".into(),
            _ => {}
        }
        route
    }

    fn virtual_service(&mut self) -> Value {
        let routes: Vec<Value> = (0..1 + self.0.below(3)).map(|_| self.route()).collect();
        let mut spec = json!({ "hosts": [self.application()], "http": routes });
        match self.0.below(6) {
            0 => {
                spec["hosts"] = json!([format!("shop-{}.example.com", self.0.below(4))]);
                spec["gateways"] = json!([format!("gateway-{}", self.0.below(4))]);
            }
            1 => spec["exportTo"] = json!(["."]),
            _ => {}
        }
        self.istio("VirtualService", 24, spec)
    }

    fn destination_rule(&mut self) -> Value {
        let count = 1 + self.0.below(SUBSETS.len());
        let first = self.0.below(SUBSETS.len());
        let names = SUBSETS.iter().cycle().skip(first).take(count);
        let subsets: Vec<Value> = names
            .map(|name| json!({ "name": name, "labels": { "version": name } }))
            .collect();
        let mut spec = json!({ "host": self.application(), "subsets": subsets });
        if self.0.below(3) == 0 {
            spec["trafficPolicy"] = json!({ "tls": { "mode": "ISTIO_MUTUAL" } });
        }
        self.istio("DestinationRule", 16, spec)
    }

    fn service(&mut self) -> Value {
        let application = self.application();
        let ports = [
            json!([{ "name": "http", "port": 80 }]),
            json!([{ "name": "http", "port": 80 }, { "name": "tcp", "port": 9000 }]),
        ];
        let ports = &ports[self.0.below(2)];
        let mut service = self.object(
            "v1",
            "Service",
            1,
            json!({
                "selector": { "app": application }, "ports": ports, "clusterIP": "None",
            }),
        );
        service["metadata"]["name"] = application.into();
        service
    }

    fn gateway(&mut self) -> Value {
        let servers: Vec<Value> = (0..1 + self.0.below(2))
            .map(|index| {
                let number = 8080 + self.0.below(3);
                json!({
                    "port": { "number": number, "protocol": "HTTP", "name": format!("http-{index}") },
                    "hosts": [format!("shop-{}.example.com", self.0.below(4))],
                })
            })
            .collect();
        self.istio(
            "Gateway",
            4,
            json!({ "selector": { "app": "app-0" }, "servers": servers }),
        )
    }

    fn service_entry(&mut self) -> Value {
        let hosts = json!([format!("api-{}.example.com", self.0.below(3))]);
        self.istio(
            "ServiceEntry",
            4,
            json!({
                "hosts": hosts, "resolution": "DNS", "location": "MESH_EXTERNAL",
                "ports": [{ "number": 443, "name": "https", "protocol": "HTTPS" }],
            }),
        )
    }

    fn sidecar(&mut self) -> Value {
        let mut spec = json!({ "egress": [{ "hosts": ["./*"] }] });
        if self.0.below(2) == 0 {
            spec["workloadSelector"] = json!({ "labels": { "app": self.application() } });
        }
        self.istio("Sidecar", 3, spec)
    }

    fn deployment(&mut self) -> Value {
        let labels = json!({ "app": "app-1" });
        let template = json!({ "app": "app-1", "version": self.0.pick(&SUBSETS) });
        self.object(
            "apps/v1",
            "Deployment",
            4,
            json!({
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": template },
                    "spec": { "containers": [{ "name": "app", "image": "app" }] },
                },
            }),
        )
    }

    fn pod(&mut self) -> (Value, Value) {
        let spec = json!({ "containers": [{ "name": "app", "image": "app" }] });
        let mut pod = self.object("v1", "Pod", 16, spec);
        pod["metadata"]["labels"] =
            json!({ "app": self.application(), "version": self.0.pick(&SUBSETS) });
        let ready = self.0.pick(&["True", "False"]);
        let status = json!({
            "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }],
        });
        (pod, status)
    }

    fn namespace(&mut self) -> Value {
        let mut namespace = bulk::namespace(self.0.pick(&NAMESPACES));
        let injection = self.0.pick(&["enabled", "disabled"]);
        namespace["metadata"]["labels"] = json!({ "istio-injection": injection });
        namespace
    }
}

async fn make(client: &kube::Client, change: &Change) -> kube::Result<()> {
    match change {
        Change::Put(object) => bulk::put(client, object).await,
        Change::PutWithStatus(object, status) => {
            bulk::put(client, object).await?;
            bulk::set_status(client, object, status).await
        }
        Change::Delete(object) => bulk::delete(client, object).await,
    }
}

/// Makes so many changes, looks at the memory meanwhile, and returns how many were accepted and what was resident.
fn churn(bulk: &Bulk, daemon: &Daemon, random: Random, changes: u32) -> (u32, Vec<f64>) {
    let mut churn = Churn(random);
    let mut made = 0;
    let mut resident = Vec::new();
    bulk.runtime().block_on(async {
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut looked = Instant::now();
        let mut under_way = JoinSet::new();
        for _ in 0..changes {
            ticks.tick().await;
            if under_way.len() == AT_ONCE {
                made += accepted(under_way.join_next().await);
            }
            let (client, change) = (bulk.client().clone(), churn.next());
            under_way.spawn(async move { make(&client, &change).await });
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                resident.push(memory(daemon, "VmRSS"));
            }
        }
        while !under_way.is_empty() {
            made += accepted(under_way.join_next().await);
        }
    });
    (made, resident)
}

/// 1 for a change that the API server accepted, 0 for one that met another change.
fn accepted(ended: Option<Result<kube::Result<()>, JoinError>>) -> u32 {
    match ended.unwrap().unwrap() {
        Ok(()) => 1,
        // Two changes of one object met, or a pod went before its status came.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// What a replica knows of the namespaces that change, and says about it.
fn known(daemon: &Daemon) -> Result<Vec<(String, Value)>> {
    let page = daemon::get(daemon.address("debug")?, "/debug/snapshot")?;
    let page: Value = serde_json::from_str(&page)?;
    let kinds = page.as_object().context("no kinds")?.iter();
    let objects = kinds.flat_map(|(kind, objects)| {
        let objects = objects.as_object().into_iter().flatten();
        objects.map(move |(name, object)| (format!("{kind} {name}"), object.clone()))
    });
    Ok(objects
        .filter(|(name, _)| name.contains("churn-"))
        .collect())
}

/// How many of these objects have a status.
fn with_status(bulk: &Bulk) -> usize {
    let kinds = Kind::ISTIO.into_iter();
    kinds.map(|kind| bulk.list(kind).len()).sum()
}

/// The mean of a part of the samples, given in fifths.
fn mean(samples: &[f64], fifth: usize) -> f64 {
    let part = &samples[samples.len() * fifth / 5..samples.len() * (fifth + 1) / 5];
    part.iter().sum::<f64>() / part.len() as f64
}

/// Keeps the API server from asking for injection: nothing here answers as the Service of the webhook, so pods in
/// namespaces that ask for it could not be made.
fn leave_pods_alone(cluster: &ControlPlane) {
    const OBJECT: &str = "mutatingwebhookconfiguration/outrigger-sidecar-injector";
    let text = cluster.kubectl(&["get", OBJECT, "--output=json"]).unwrap();
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let never = json!([{ "name": "never", "expression": "false" }]);
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        webhook["matchConditions"] = never.clone();
    }
    cluster.apply(&object.to_string()).unwrap();
}

/// Lets a program live through random changes, and then compares it with one that has just been started.
fn live_through(program: &std::path::Path, seconds: u32) {
    const MIB: f64 = (1 << 20) as f64;
    let installed = Installed::start().unwrap();
    leave_pods_alone(&installed.cluster);
    for namespace in NAMESPACES {
        installed.cluster.create_namespace(namespace).unwrap();
    }
    let bulk = Bulk::new(&installed.cluster);
    let daemon = Daemon::start_program(program, "churn", &installed.kubeconfig, &[]);
    daemon.wait_for_metric("outrigger_leader", 1.0);
    let started = Instant::now();
    let changes = RATE * seconds;
    let (made, resident) = churn(&bulk, &daemon, Random::new().0, changes);
    let took = started.elapsed();
    assert!(
        made >= changes / 10 * 9,
        "{made} of {changes} changes were accepted"
    );

    let objects = with_status(&bulk) as f64;
    let compare = || -> Result<()> {
        let started = Daemon::start_program(program, "churn-2", &installed.kubeconfig, &[]);
        started.wait_until_ready();
        let (old, new) = (known(&daemon)?, known(&started)?);
        let differing = old.iter().zip(&new).find(|(old, new)| old != new);
        ensure!(
            old == new,
            "{} objects known, after a start {}; first difference: {differing:?}",
            old.len(),
            new.len()
        );
        Ok(())
    };
    wait::until(SETTLED, "the state of a cold start", compare).unwrap();
    wait::until(SETTLED, "every status is written", || {
        let waiting = daemon.metric("outrigger_status_queue_depth");
        (waiting == 0.0).then_some(()).ok_or(waiting)
    })
    .unwrap();
    let of = |name: &str| daemon.metric(&format!("outrigger_status_{name}_total"));
    println!(
        "{made} of {changes} changes within {took:.0?}, {objects} objects with a status at the end\n\
         status writes: {}, conflicts: {}, failures: {}\n\
         resident: {:.1} MiB in the first fifth of the time, {:.1} MiB in the third, {:.1} MiB in the last; at most {:.1} MiB",
        of("writes"),
        of("conflicts"),
        of("failures"),
        mean(&resident, 0) / MIB,
        mean(&resident, 2) / MIB,
        mean(&resident, 4) / MIB,
        memory(&daemon, "VmHWM") / MIB,
    );
    assert!(daemon.stop().success());

    // A cold start finds every status as it must be.
    let next = Daemon::start_program(program, "churn-3", &installed.kubeconfig, &[]);
    next.wait_for_metric("outrigger_status_no_ops_total", objects);
    assert_eq!(next.metric("outrigger_status_writes_total"), 0.0);
    // The first fifth is for caches and pools to fill.
    let (before, after) = (mean(&resident, 1), mean(&resident, 4));
    assert!(
        after < before * 1.15 + 8.0 * MIB,
        "{before} bytes became {after}"
    );
}

#[test]
fn twenty_seconds_of_random_changes_end_in_flat_memory_and_the_state_of_a_cold_start() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_outriggerd"));
    live_through(program, 20);
}

/// `OUTRIGGER_CHURN_SECONDS=3600 cargo test --test integration -- --ignored --nocapture control::churn`
#[test]
#[ignore = "lasts an hour"]
fn an_hour_of_random_changes_ends_in_flat_memory_and_the_state_of_a_cold_start() {
    let seconds = std::env::var(SECONDS).map_or(3600, |seconds| seconds.parse().unwrap());
    let program = binaries::build(&Lines).unwrap().outriggerd();
    live_through(&program, seconds);
}
