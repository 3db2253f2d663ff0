//! However many objects speak about one thing, and however long one object is: twice as much takes about twice the work.
//! Counted are allocations and entries of indices that are looked at; time would tell of the machine.

use allocation_counter::measure;
use serde_json::{Value, json};

use crate::analysis::Snapshot;
use crate::model::visits;
use crate::world::World;

const FEW: usize = 150;

/// The work of analysing a World.
fn work(objects: impl IntoIterator<Item = Value>) -> u64 {
    let mut world = World::default();
    for object in objects {
        world.apply(&object).unwrap();
    }
    let mut visited = 0;
    let taken = measure(|| {
        visited = visits::during(|| drop(Snapshot::new(world)));
    });
    taken.count_total + visited
}

/// A little more than twice: trees grow deeper.
fn grows_evenly(objects: impl Fn(usize) -> Vec<Value>) {
    let (half, whole) = (work(objects(FEW)), work(objects(2 * FEW)));
    assert!(
        10 * whole < 23 * half,
        "{half} for {FEW}, {whole} for twice as many"
    );
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    let group = match kind {
        "Service" | "Pod" => "v1",
        "Deployment" => "apps/v1",
        "Telemetry" => "telemetry.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    json!({"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// VirtualServices, `spec` of each by its number.
fn virtual_services(count: usize, spec: impl Fn(usize) -> Value) -> Vec<Value> {
    let of = |i: usize| {
        object(
            "VirtualService",
            &format!("ns-{i}"),
            &format!("vs-{i}"),
            spec(i),
        )
    };
    (0..count).map(of).collect()
}

fn to(host: &str) -> Value {
    json!([{"route": [{"destination": {"host": host}}]}])
}

#[test]
fn many_virtual_services_of_one_host_for_sidecars() {
    grows_evenly(|count| {
        virtual_services(
            count,
            |_| json!({"hosts": ["shop.example.com"], "http": to("a.example.com")}),
        )
    });
}

#[test]
fn many_virtual_services_of_one_host_each_exported_to_its_own_namespace() {
    grows_evenly(|count| {
        virtual_services(
            count,
            |_| json!({"hosts": ["shop.example.com"], "exportTo": ["."], "http": to("a.example.com")}),
        )
    });
}

#[test]
fn many_virtual_services_of_one_host_of_which_half_are_for_gateways_alone() {
    grows_evenly(|count| {
        virtual_services(count, |i| {
            let gateways = if i % 2 == 0 { "mesh" } else { "edge/gateway" };
            json!({"hosts": ["shop.example.com"], "gateways": [gateways], "http": to("a.example.com")})
        })
    });
}

#[test]
fn many_virtual_services_of_all_hosts_each_at_its_own_gateway() {
    grows_evenly(|count| {
        virtual_services(
            count,
            |i| json!({"hosts": ["*"], "gateways": [format!("g-{i}")], "http": to("a.example.com")}),
        )
    });
}

#[test]
fn many_virtual_services_at_one_gateway() {
    grows_evenly(|count| {
        let gateway = object(
            "Gateway",
            "edge",
            "g",
            json!({"selector": {"istio": "gateway"}, "servers": [server(["*"])]}),
        );
        let mut objects = virtual_services(
            count,
            |i| json!({"hosts": [format!("h-{i}.example.com")], "gateways": ["edge/g"], "http": to("a.example.com")}),
        );
        objects.push(gateway);
        objects
    });
}

fn server(hosts: impl serde::Serialize) -> Value {
    json!({"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts})
}

#[test]
fn many_gateways_of_one_host() {
    let selectors: [fn(usize) -> Value; 3] = [
        |_| json!({"istio": "gateway"}),
        |i| json!({"istio": format!("gateway-{i}")}),
        |i| json!({"istio": "gateway", "team": i.to_string()}),
    ];
    for selector in selectors {
        grows_evenly(|count| {
            let of = |i: usize| {
                let spec = json!({"selector": selector(i), "servers": [server(["*"])]});
                object("Gateway", &format!("ns-{i}"), "g", spec)
            };
            (0..count).map(of).collect()
        });
    }
}

#[test]
fn many_virtual_services_at_a_gateway_with_as_many_hosts() {
    let hosts: [fn(usize) -> String; 3] = [
        |i| format!("h-{i}.example.com"),
        |i| format!("ns-{i}/h-{i}.example.com"),
        |i| format!("ns-{i}/shop.example.com"),
    ];
    for host in hosts {
        grows_evenly(|count| {
            let of_server: Vec<String> = (0..count).map(host).collect();
            let spec = json!({"selector": {"istio": "gateway"}, "servers": [server(of_server)]});
            let mut objects = virtual_services(count, |i| {
                let host = host(i);
                let host = host.rsplit('/').next();
                json!({"hosts": [host], "gateways": ["edge/g"], "http": to("a.example.com")})
            });
            objects.push(object("Gateway", "edge", "g", spec));
            objects
        });
    }
}

#[test]
fn many_virtual_services_whose_destination_others_split_by_subsets() {
    grows_evenly(|count| {
        virtual_services(count, |i| {
            let host = "shop.example.com";
            if i == 0 {
                let route = json!({"destination": {"host": host, "subset": "v1"}});
                json!({"hosts": [host], "http": [{"route": [route]}]})
            } else {
                json!({"hosts": [host], "gateways": ["edge/g"], "http": to(host)})
            }
        })
    });
}

#[test]
fn many_virtual_services_to_a_host_with_as_many_destination_rules() {
    grows_evenly(|count| {
        let host = "shop.example.com";
        let route = json!([{"route": [{"destination": {"host": host, "subset": "v1"}}]}]);
        let mut objects = virtual_services(
            count,
            |i| json!({"hosts": [format!("h-{i}.example.com")], "http": route}),
        );
        objects.extend((0..count).map(|i| {
            let spec = json!({"host": host, "exportTo": ["."], "subsets": [{"name": "v1", "labels": {"version": "v1"}}]});
            object("DestinationRule", &format!("ns-{i}"), "rule", spec)
        }));
        objects
    });
}

#[test]
fn many_service_entries_of_one_host_with_as_many_virtual_services_to_it() {
    let protocol = |i: usize| if i.is_multiple_of(2) { "HTTP" } else { "TCP" };
    let entries: [fn(usize) -> Value; 4] = [
        |_| json!({"exportTo": ["*"]}),
        |_| json!({"exportTo": ["."]}),
        |i| json!({"exportTo": ["*"], "ports": [{"number": i + 1, "name": "http", "protocol": "HTTP"}]}),
        |i| json!({"exportTo": if i.is_multiple_of(2) { ["."] } else { ["*"] }}),
    ];
    for entry in entries {
        grows_evenly(|count| {
            let host = "shop.example.com";
            let route =
                json!([{"route": [{"destination": {"host": host, "port": {"number": 1}}}]}]);
            let mut objects = virtual_services(
                count,
                |i| json!({"hosts": [format!("h-{i}.example.com")], "http": route}),
            );
            objects.extend((0..count).flat_map(|i| {
                let ports = json!([{"number": 1, "name": "http", "protocol": protocol(i)}]);
                let mut spec = json!({"hosts": [host], "resolution": "DNS", "ports": ports});
                json_patch::merge(&mut spec, &entry(i));
                let namespace = format!("ns-{i}");
                let rule =
                    json!({"host": host, "subsets": [{"name": "v1", "labels": {"version": "v1"}}]});
                [
                    object("ServiceEntry", &namespace, "entry", spec),
                    object("DestinationRule", &namespace, "rule", rule),
                ]
            }));
            objects
        });
    }
}

#[test]
fn many_objects_with_selectors_in_one_namespace() {
    for (kind, selector, labels) in [
        ("Sidecar", "workloadSelector", "labels"),
        ("Telemetry", "selector", "matchLabels"),
    ] {
        let selectors: [fn(usize) -> Value; 3] = [
            |i| json!({"app": format!("a-{i}")}),
            |i| json!({"app": format!("a-{i}"), "in": "shop"}),
            |_| json!({"in": "shop"}),
        ];
        for wanted in selectors {
            grows_evenly(|count| {
                let of = |i: usize| {
                    let name = format!("a-{i}");
                    let mut pod = object("Pod", "shop", &name, json!({"containers": []}));
                    pod["metadata"]["labels"] = json!({"app": name, "in": "shop"});
                    let spec = json!({selector: {labels: wanted(i)}});
                    [object(kind, "shop", &name, spec), pod]
                };
                (0..count).flat_map(of).collect()
            });
        }
    }
}

#[test]
fn many_destinations_of_a_virtual_service_exported_to_as_many_namespaces() {
    grows_evenly(|count| {
        let route = |i: usize| {
            let destination = json!({"host": format!("h-{i}.example.com"), "subset": "v1"});
            json!({"match": [{"uri": {"prefix": format!("/{i}/")}}], "route": [{"destination": destination}]})
        };
        let spec = json!({
            "hosts": ["shop.example.com"],
            "exportTo": numbered(count, "team-"),
            "http": (0..count).map(route).collect::<Vec<_>>(),
        });
        let entry = json!({"hosts": numbered(count, "h-"), "resolution": "DNS"});
        vec![
            object("VirtualService", "shop", "shop", spec),
            object("ServiceEntry", "shop", "shop", entry),
        ]
    });
}

#[test]
fn many_misspelt_hosts_of_one_virtual_service() {
    grows_evenly(|count| {
        let route = |i: usize| {
            let destination = json!({"host": format!("service-{i}x")});
            json!({"match": [{"uri": {"prefix": format!("/{i}/")}}], "route": [{"destination": destination}]})
        };
        let routes: Vec<Value> = (0..count).map(route).collect();
        let spec = json!({"hosts": ["shop.example.com"], "http": routes});
        let service = |i| {
            let spec = json!({"ports": [{"name": "http", "port": 80}]});
            object("Service", "shop", &format!("service-{i}"), spec)
        };
        let mut objects: Vec<Value> = (0..count).map(service).collect();
        objects.push(object("VirtualService", "shop", "shop", spec));
        objects
    });
}

#[test]
fn many_namespaces_that_see_routes_and_each_define_the_host_for_themselves() {
    grows_evenly(|count| {
        let namespaces: Vec<String> = (0..count).map(|i| format!("ns-{i}")).collect();
        let entry = |namespace: &String| {
            let spec = json!({"hosts": ["a.example.com"], "exportTo": ["."], "resolution": "DNS",
                              "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]});
            object("ServiceEntry", namespace, "a", spec)
        };
        let mut objects: Vec<Value> = namespaces.iter().map(entry).collect();
        let spec = json!({"hosts": ["shop.example.com"], "exportTo": namespaces, "http": to("a.example.com")});
        objects.push(object("VirtualService", "shop", "shop", spec));
        objects
    });
}

#[test]
fn many_hosts_and_localities_of_one_object() {
    let hosts: [fn(usize) -> String; 3] = [
        |i| format!("*/h-{i}.example.com"),
        |i| format!("ns-{i}/*"),
        |_| "*/*".to_owned(),
    ];
    for host in hosts {
        grows_evenly(|count| {
            let hosts: Vec<String> = (0..count).map(host).collect();
            let spec = json!({"egress": [{"hosts": hosts}]});
            vec![object("Sidecar", "shop", "shop", spec)]
        });
    }
    let localities: [fn(usize) -> String; 3] = [
        |i| format!("region/zone-{i}/*"),
        |i| format!("region-{i}"),
        |_| "region/*".to_owned(),
    ];
    for from in localities {
        grows_evenly(|count| {
            let distribute = |i| json!({"from": from(i), "to": {"region": 100}});
            let distribute: Vec<Value> = (0..count).map(distribute).collect();
            let policy = json!({"loadBalancer": {"localityLbSetting": {"distribute": distribute}}});
            let spec = json!({"host": "shop.example.com", "trafficPolicy": policy});
            vec![object("DestinationRule", "shop", "shop", spec)]
        });
    }
}

#[test]
fn many_services_whose_pods_have_a_label_in_common() {
    grows_evenly(|count| {
        let of = |i: usize| {
            let (name, labels) = (
                format!("s-{i}"),
                json!({"component": "server", "name": format!("s-{i}")}),
            );
            let mut pod = object("Pod", "shop", &name, json!({"containers": []}));
            pod["metadata"]["labels"] = labels.clone();
            let subsets = json!([{"name": "all", "labels": {"component": "server"}}]);
            [
                object(
                    "Service",
                    "shop",
                    &name,
                    json!({"selector": labels, "ports": [{"name": "http", "port": 80}]}),
                ),
                object(
                    "DestinationRule",
                    "shop",
                    &name,
                    json!({"host": name, "subsets": subsets}),
                ),
                pod,
            ]
        };
        (0..count).flat_map(of).collect()
    });
}

#[test]
fn many_routes_of_one_virtual_service() {
    let conditions: [fn(usize) -> Value; 5] = [
        |i| json!({"uri": {"prefix": format!("/{i}/")}}),
        |i| json!({"uri": {"prefix": "/"}, "headers": {"user": {"exact": i.to_string()}}}),
        |i| json!({"uri": {"prefix": "/"}, "queryParams": {"user": {"exact": i.to_string()}}}),
        |i| json!({"uri": {"prefix": "/"}, "headers": {"a": {"exact": "1"}, "user": {"exact": i.to_string()}}}),
        |i| json!({"uri": {"exact": format!("/{i}")}, "port": i + 1}),
    ];
    for condition in conditions {
        grows_evenly(|count| {
            let route = |i: usize| {
                let destination = json!({"host": "shop", "subset": format!("v{i}")});
                json!({"match": [condition(i)], "route": [{"destination": destination}]})
            };
            let routes: Vec<Value> = (0..count).map(route).collect();
            let spec = json!({"hosts": ["shop"], "http": routes});
            vec![
                object(
                    "Service",
                    "shop",
                    "shop",
                    json!({"ports": [{"name": "http", "port": 80}]}),
                ),
                object("VirtualService", "shop", "shop", spec),
            ]
        });
    }
}

#[test]
fn many_hosts_of_one_virtual_service() {
    grows_evenly(|count| {
        let hosts: Vec<String> = (0..count).map(|i| format!("h-{i}.example.com")).collect();
        vec![object(
            "VirtualService",
            "shop",
            "shop",
            json!({"hosts": hosts, "http": to("a.example.com")}),
        )]
    });
}

/// Two objects with all of these, of which one comes first.
fn rivals(name: impl Fn(usize) -> Value) -> Vec<Value> {
    virtual_services(2, |i| {
        let mut spec = name(i);
        spec["http"] = to("a.example.com");
        spec
    })
}

fn numbered(count: usize, what: &str) -> Vec<String> {
    (0..count).map(|i| format!("{what}{i}")).collect()
}

#[test]
fn many_hosts_of_virtual_services_at_as_many_gateways() {
    grows_evenly(|count| {
        let gateways = numbered(count, "edge/g-");
        rivals(|_| json!({"hosts": numbered(count, "a.b-"), "gateways": gateways}))
    });
}

#[test]
fn many_hosts_of_virtual_services_exported_to_as_many_namespaces() {
    grows_evenly(|count| {
        let namespaces = numbered(count, "team-");
        rivals(|_| json!({"hosts": numbered(count, "a.b-"), "exportTo": namespaces}))
    });
    grows_evenly(|count| {
        let namespaces = json!(numbered(count, "team-"));
        rivals(|i| {
            let export_to = if i == 0 { &namespaces } else { &json!(["*"]) };
            json!({"hosts": numbered(count, "a.b-"), "exportTo": export_to})
        })
    });
    grows_evenly(|count| {
        let namespaces = numbered(count, "team-");
        rivals(
            |_| json!({"hosts": numbered(count, "a.b-"), "gateways": ["edge/g"], "exportTo": namespaces}),
        )
    });
}

#[test]
fn a_message_names_few_of_ten_thousand_rivals() {
    let objects = virtual_services(
        60,
        |_| json!({"hosts": ["a.example.com"], "http": to("a.example.com")}),
    );
    let mut world = World::default();
    for object in objects {
        world.apply(&object).unwrap();
    }
    let snapshot = Snapshot::new(world);
    assert!(
        snapshot
            .all_messages()
            .iter()
            .all(|message| message.related.len() <= 20)
    );
}

#[test]
fn many_services_and_deployments_of_one_release() {
    grows_evenly(|count| {
        let of = |i: usize| {
            let labels = json!({"app.kubernetes.io/instance": "shop", "app.kubernetes.io/name": format!("part-{i}")});
            let name = format!("part-{i}");
            let service = json!({"selector": labels, "ports": [{"name": "http", "port": 80}]});
            let deployment = json!({"selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": []}}});
            [
                object("Service", "shop", &name, service),
                object("Deployment", "shop", &name, deployment),
            ]
        };
        (0..count).flat_map(of).collect()
    });
}

#[test]
fn many_gateways_on_many_nodes() {
    grows_evenly(|count| {
        let node = |i: usize| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n-{i}")},
                "status": {"addresses": [{"type": "InternalIP", "address": format!("10.0.{}.{}", i / 250, i % 250)}]}})
        };
        let gateway = |i: usize| {
            let spec = json!({"selector": {"istio": "edge"}, "servers": [server([format!("h-{i}.example.com")])]});
            object("Gateway", "edge", &format!("g-{i}"), spec)
        };
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "edge", "namespace": "edge", "labels": {"istio": "edge"}}});
        let service = json!({"type": "NodePort", "selector": {"istio": "edge"},
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
        let service = object("Service", "edge", "edge", service);
        let all = (0..count).map(node).chain((0..count).map(gateway));
        all.chain([pod, service]).collect()
    });
}
