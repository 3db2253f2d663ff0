//! The table of what applies to whom, where several namespaces have rules for one host.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::InEffect;
use crate::model::{Host, Model, Scope};
use crate::world::World;

const HOST: &str = "reviews.shop.svc.cluster.local";

fn rule(namespace: &str, name: &str, age: u32, spec: Value) -> Value {
    let mut spec = spec;
    spec["host"] = json!(HOST);
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": format!("2026-01-01T00:00:0{age}Z")},
        "spec": spec,
    })
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "reviews"}, "spec": {}})
}

/// Where each setting comes from: for each client, subset and port a line.
fn table(rules: &[Value]) -> String {
    let mut world = World::default();
    for object in rules.iter().chain([&service()]) {
        world.apply(object).unwrap();
    }
    let model = Model::of(&world);
    let host = Host::new(HOST);
    let concerning = || model.rules().exact(&host).chain(model.rules().above(&host));
    let rules: Vec<_> = concerning().collect();
    let services = model.services().of(&Scope::Everywhere).unwrap();
    let services: Vec<_> = services.exact(&host).collect();
    let mut table = String::new();
    for client in ["shop", "web", "mobile", "istio-system"] {
        let effective = InEffect::new(&rules, &services, client, "istio-system");
        for group in effective.groups() {
            let of = if group.is_for_some() {
                "selected clients"
            } else {
                "clients"
            };
            writeln!(table, "{of} in {client}").unwrap();
            let names = group.subsets().into_keys().map(Some);
            for subset in [None].into_iter().chain(names) {
                for port in [None, Some(80), Some(8080)] {
                    let settings = group.settings(subset, port);
                    let origins: Vec<String> = settings
                        .iter()
                        .map(|(name, (rule, path))| {
                            format!("{name} {}:{path}", rule.source.qualified_name())
                        })
                        .collect();
                    let subset = subset.unwrap_or("-");
                    let port = port.map_or("-".to_owned(), |port| port.to_string());
                    writeln!(table, "  {subset:3} {port:5} {}", origins.join(", ")).unwrap();
                }
            }
        }
    }
    table
}

#[test]
fn settings_come_from_the_clients_namespace_then_the_services_then_the_root() {
    let tls = json!({"mode": "ISTIO_MUTUAL"});
    let pool = json!({"tcp": {"maxConnections": 1}});
    let balancer = json!({"simple": "RANDOM"});
    let rules = [
        rule(
            "shop",
            "first",
            1,
            json!({
                "trafficPolicy": {"tls": tls, "loadBalancer": balancer, "tunnel": {"targetHost": "a", "targetPort": 1},
                                  "portLevelSettings": [{"port": {"number": 80}, "connectionPool": pool}]},
                "subsets": [{"name": "v1"}],
            }),
        ),
        rule(
            "shop",
            "second",
            2,
            json!({
                "trafficPolicy": {"outlierDetection": {}},
                "subsets": [
                    {"name": "v1", "trafficPolicy": {"tls": tls}},
                    {"name": "v2", "trafficPolicy": {"connectionPool": pool, "portLevelSettings": [{"port": {"number": 8080}, "tls": tls}]}},
                ],
            }),
        ),
        rule(
            "web",
            "own",
            3,
            json!({"trafficPolicy": {"portLevelSettings": [{"port": {"number": 8080}, "loadBalancer": balancer}]}}),
        ),
        rule(
            "istio-system",
            "mesh",
            0,
            json!({"trafficPolicy": {"connectionPool": pool}}),
        ),
        rule(
            "mobile",
            "elsewhere",
            4,
            json!({"exportTo": ["web"], "trafficPolicy": {"tls": tls}}),
        ),
    ];
    insta::assert_snapshot!(table(&rules));
}

#[test]
fn rules_that_are_exported_otherwise_stand_for_themselves() {
    let policy = |name: &str| json!({name: {}});
    let rules = [
        rule(
            "shop",
            "all",
            1,
            json!({"trafficPolicy": policy("tls"), "subsets": [{"name": "v1"}]}),
        ),
        rule(
            "shop",
            "own",
            2,
            json!({"exportTo": ["."], "trafficPolicy": policy("loadBalancer"), "subsets": [{"name": "v2"}]}),
        ),
        rule(
            "shop",
            "web",
            3,
            json!({"exportTo": ["web"], "subsets": [{"name": "v3"}]}),
        ),
        rule(
            "shop",
            "wider",
            4,
            json!({"exportTo": ["web", "mobile"], "trafficPolicy": policy("tls")}),
        ),
        rule(
            "shop",
            "selected",
            5,
            json!({"workloadSelector": {"matchLabels": {"app": "x"}}, "trafficPolicy": policy("connectionPool")}),
        ),
    ];
    insta::assert_snapshot!(table(&rules));
}
