//! Gateways come, change and go in random order, while Helm upgrades the chart that owns the Service.

use std::collections::{BTreeMap, BTreeSet};

use outrigger::api::kind::Kind;
use outrigger::gateway::{Plan, plan};
use outrigger::world::{ObjectKey, World};
use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::wait;
use serde_json::Value;

use super::chart::CHART;
use super::{DEADLINE, Namespace, Port};
use crate::random::{Random, SEED};

const STEPS: u32 = 200;

const GATEWAYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const NUMBERS: [u16; 10] = [80, 81, 443, 8080, 8088, 8089, 8090, 9000, 9001, 9002];
const PROTOCOLS: [&str; 6] = ["HTTP", "HTTP", "HTTP", "GRPC", "HTTPS", "TCP"];

/// The ports in the chart's values besides those that are always there, and the type of the Service.
type Release = (&'static [u16], &'static str);

const RELEASES: [Release; 5] = [
    (&[], "NodePort"),
    (&[9000], "NodePort"),
    (&[9000, 9001], "NodePort"),
    (&[8088], "LoadBalancer"),
    (&[], "LoadBalancer"),
];

fn helm(edge: &Namespace, verb: &str, (extra, kind): Release) {
    let mut values = format!(
        "service.type={kind},labels.istio={},service.ports[0].name=status-port,service.ports[0].port=15021,\
         service.ports[1].name=http2,service.ports[1].port=80,service.ports[1].targetPort=8080,\
         service.ports[2].name=https,service.ports[2].port=443,service.ports[2].targetPort=8443",
        edge.name
    );
    for (index, port) in extra.iter().enumerate() {
        let field = format!("service.ports[{}]", index + 3);
        values.push_str(&format!(
            ",{field}.name=extra-{port},{field}.port={port},{field}.targetPort={port},{field}.protocol=TCP"
        ));
    }
    let mut arguments = vec![
        verb,
        "gateway",
        CHART,
        "--namespace",
        edge.name,
        "--set",
        &values,
    ];
    if verb == "upgrade" {
        // Where a port is ours, Helm says so; this is how it is handed over.
        arguments.push("--force-conflicts");
    }
    // A port that Helm took over is given up within the pause between two writes; dropped before that, it is half ours,
    // and the API server refuses the upgrade, which its user tries again.
    let upgraded = || match edge.cluster.helm(&arguments) {
        Err(error) if format!("{error:#}").contains("Required value") => Err(error),
        done => Ok(done),
    };
    wait::until(DEADLINE, "an upgrade", upgraded)
        .unwrap()
        .unwrap();
}

/// The plan that a World with nothing but what is in the cluster leads to.
fn fresh_plan(edge: &Namespace) -> Plan {
    let kinds = ["services", "pods", "gateways.networking.istio.io"].join(",");
    let list = edge.kubectl(&["get", &kinds, "--output=json", "--show-managed-fields"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut world = World::default();
    for object in list["items"].as_array().unwrap() {
        world.apply(object).unwrap();
    }
    plan(&world)
}

/// What Helm owns is there, and has the node ports that it always had.
fn check_helms_ports(edge: &Namespace, (extra, _): Release, known: &mut BTreeMap<u64, u64>) {
    let ports = edge.ports();
    let expected = [(15021, "status-port"), (80, "http2"), (443, "https")];
    let extra_names: Vec<(u64, String)> = extra
        .iter()
        .map(|port| (u64::from(*port), format!("extra-{port}")))
        .collect();
    for (number, name) in expected
        .iter()
        .map(|(number, name)| (*number, *name))
        .chain(
            extra_names
                .iter()
                .map(|(number, name)| (*number, name.as_str())),
        )
    {
        let port: &Port = ports
            .get(&number)
            .unwrap_or_else(|| panic!("Helm's port {number} is lost: {ports:?}"));
        assert_eq!(port.name, name, "{ports:?}");
    }
    for (number, _) in expected {
        let node_port = *known.entry(number).or_insert(ports[&number].node_port);
        assert_eq!(ports[&number].node_port, node_port, "of port {number}");
    }
}

#[test]
fn random_steps_of_gateways_and_helm_end_where_a_fresh_computation_does() {
    let (mut random, seed) = Random::new();
    let edge = Namespace::new("churn");
    let mut release = RELEASES[0];
    helm(&edge, "install", release);
    let mut node_ports = BTreeMap::new();
    let mut gateways: BTreeMap<&str, Vec<(u16, &str)>> = BTreeMap::new();
    for _ in 0..STEPS {
        let name = random.pick(&GATEWAYS);
        match random.below(20) {
            0..12 => {
                let count = 1 + random.below(3);
                let servers: Vec<_> = (0..count)
                    .map(|_| (random.pick(&NUMBERS), random.pick(&PROTOCOLS)))
                    .collect();
                edge.gateway(name, &servers);
                gateways.insert(name, servers);
            }
            12..18 => {
                if gateways.remove(name).is_some() {
                    edge.delete(&format!("gateways.networking.istio.io/{name}"));
                }
            }
            _ => {
                release = random.pick(&RELEASES);
                helm(&edge, "upgrade", release);
                check_helms_ports(&edge, release, &mut node_ports);
            }
        }
    }
    let key = ObjectKey::new(Kind::Service, edge.name, "gateway");
    let ours = wait::until(
        DEADLINE * 2,
        "the Service is as a fresh plan wants it",
        || match fresh_plan(&edge).services.get(&key) {
            None => Ok(BTreeSet::new()),
            Some(service) if service.in_sync => Ok(service
                .ports
                .iter()
                .map(|port| u64::from(port.port))
                .collect()),
            Some(service) => Err(format!("{service:?}")),
        },
    )
    .unwrap_or_else(|error| panic!("{SEED}={seed}: {error:#}"));
    check_helms_ports(&edge, release, &mut node_ports);
    let theirs = [80, 443, 15021]
        .into_iter()
        .chain(release.0.iter().copied());
    let all: BTreeSet<u64> = ours.into_iter().chain(theirs.map(u64::from)).collect();
    assert!(
        edge.ports().keys().copied().eq(all),
        "{SEED}={seed}: {:?}",
        edge.ports()
    );
}
