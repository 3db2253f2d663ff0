//! Tools that deploy read the status: kstatus (Flux, Helm) and Argo CD with the chart's health scripts, both as they are.

use std::collections::{BTreeMap, BTreeSet};

use outrigger::api::kind::Kind;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::tools::health::{self, Health};
use outrigger_e2e::wait;

use super::*;
use crate::chart;

/// Objects of every kind, by what may be said of them: Current, InProgress (other objects may cure it) and Failed (they
/// can't).
const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge}
spec: {selector: {app: edge}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: edge, labels: {app: edge}}
spec: {containers: [{name: proxy, image: proxy}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: current}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: current}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: current}
spec: {hosts: [api.example.com], ports: [{number: 443, name: https, protocol: TLS}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: current}
spec: {selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: current}
spec: {workloadSelector: {labels: {app: edge}}, egress: [{hosts: ['./*']}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: current}
spec: {address: 192.0.2.1, labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: current}
spec: {template: {serviceAccount: default}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: current}
spec: {concurrency: 1}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: current}
spec: {configPatches: [{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {connect_timeout: 1s}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: in-progress}
spec: {hosts: [other.example.com], http: [{route: [{destination: {host: reviews, subset: v4}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: in-progress}
spec: {host: nobody}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: in-progress-too}
spec: {hosts: [inner.example.com], gateways: [nowhere], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: failed-invalid}
spec: {hosts: [third.example.com], http: [{timeout: 1.0001s, route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: failed-invalid-and-unresolved}
spec: {hosts: [fourth.example.com], http: [{timeout: 1.0001s, route: [{destination: {host: nobody}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: failed-in-conflict}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
";

fn expected(name: &str) -> [&'static str; 2] {
    match name.split('-').next() {
        Some("current") => ["Current", "Healthy"],
        Some("in") => ["InProgress", "Progressing"],
        _ => ["Failed", "Degraded"],
    }
}

fn said(health: &Health) -> [&str; 2] {
    let argocd = health.argocd.as_ref().unwrap();
    [&health.kstatus.status, &argocd.status]
}

/// What the tools say of the VirtualServices of a namespace, by name.
pub fn of_namespace(cluster: &ControlPlane, namespace: &str) -> Vec<(String, Health)> {
    let list = read(cluster, namespace, "virtualservices").unwrap();
    let objects = list["items"].as_array().unwrap();
    let judged = health::judge(objects, &chart::health_scripts(), &Lines).unwrap();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    objects.iter().map(name).zip(judged).collect()
}

#[test]
fn flux_helm_and_argo_cd_see_what_is_well_what_may_heal_and_what_cannot() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "health";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("health");
    let scripts = chart::health_scripts();
    let mut apply = cluster.kubectl_command();
    apply.args(["apply", "--server-side", "-n", ns, "-f", "-"]);
    outrigger_e2e::command::output_with_input(&mut apply, OBJECTS).unwrap();

    let plurals: Vec<&str> = Kind::ISTIO.iter().map(|kind| kind.plural()).collect();
    let kinds: Vec<String> = plurals
        .iter()
        .map(|plural| format!("{plural}.networking.istio.io"))
        .collect();
    let all = kinds.join(",");
    let objects = || -> Result<Vec<Value>> {
        let list = read(cluster, ns, &all)?;
        Ok(list["items"].as_array().context("no items")?.clone())
    };
    let judged = wait::until(SOON, "every verdict", || {
        let objects = objects()?;
        for object in &objects {
            // Nothing is written as text, which kstatus could not read.
            ensure!(
                object["status"]["observedGeneration"].as_i64()
                    == object["metadata"]["generation"].as_i64(),
                "{object}"
            );
        }
        let judged = health::judge(&objects, &scripts, &Lines)?;
        for (object, health) in objects.iter().zip(&judged) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let (said, expected) = (said(health), expected(name));
            ensure!(said == expected, "{said:?}, not {expected:?}: {object}");
        }
        Ok(objects.into_iter().zip(judged).collect::<Vec<_>>())
    });
    let judged = judged.unwrap();
    let seen: BTreeSet<&str> = judged
        .iter()
        .filter_map(|(object, _)| object["kind"].as_str())
        .collect();
    let every: BTreeSet<&str> = Kind::ISTIO.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(seen, every);
    // What both tools show people is the message of the condition.
    for (object, health) in &judged {
        let ready = condition(object, "Ready").unwrap();
        assert_eq!(health.argocd.as_ref().unwrap().message, ready.2);
        assert!(
            ready.0 == "True" || health.kstatus.message == ready.2,
            "{health:?}"
        );
    }

    // A verdict that is older than the object says nothing of it.
    let changed: Vec<Value> = judged
        .into_iter()
        .map(|(mut object, _)| {
            let generation = object["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = (generation + 1).into();
            object
        })
        .collect();
    for health in health::judge(&changed, &scripts, &Lines).unwrap() {
        assert_eq!(said(&health), ["InProgress", "Progressing"]);
    }
    // Nor is anything waited for where nothing writes status.
    let untold: Vec<Value> = changed
        .into_iter()
        .map(|mut object| {
            object["status"].take();
            object
        })
        .collect();
    for health in health::judge(&untold, &scripts, &Lines).unwrap() {
        assert_eq!(said(&health), ["Current", "Healthy"]);
    }
}

#[test]
fn the_scripts_get_into_argo_cds_config_map_by_the_commands_of_the_documentation() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    cluster.create_namespace("argocd").unwrap();
    let chart = chart::template_of("argocd-health", &["argocd.healthScripts=true"]).unwrap();
    cluster.apply(&chart).unwrap();
    cluster
        .kubectl(&[
            "create",
            "configmap",
            "argocd-cm",
            "-n",
            "argocd",
            "--from-literal=url=kept",
        ])
        .unwrap();
    let documentation = include_str!("../../docs/status.md");
    let command = |with: &str| -> Vec<&str> {
        let line = documentation.lines().find(|line| line.starts_with(with));
        line.unwrap().split(' ').skip(1).collect()
    };
    // As the shell takes it.
    let get = command("kubectl get configmap outrigger-argocd-health");
    let get: Vec<String> = get.iter().map(|word| word.replace('\'', "")).collect();
    let end = get.iter().position(|word| word == ">").unwrap();
    let words: Vec<&str> = get[..end].iter().map(String::as_str).collect();
    let patch = cluster.kubectl(&words).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), patch).unwrap();
    let path = file.path().display().to_string();
    let patch = command("kubectl patch configmap argocd-cm");
    let words: Vec<String> = patch
        .iter()
        .map(|word| word.replace(&get[end + 1], &path))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    cluster.kubectl(&words).unwrap();

    let map = read(cluster, "argocd", "configmap/argocd-cm").unwrap();
    assert_eq!(map["data"]["url"], "kept");
    for (kind, script) in chart::health_scripts() {
        let key = format!("resource.customizations.health.{kind}");
        assert_eq!(map["data"][&key], script, "{kind}");
    }
}

#[test]
fn the_chart_has_a_health_script_for_every_kind_whose_status_is_written() {
    let scripts: BTreeMap<String, String> = chart::health_scripts();
    let kinds: BTreeSet<String> = Kind::with_status()
        .map(|kind| format!("{}_{}", kind.group(), kind.as_str()))
        .collect();
    assert_eq!(scripts.into_keys().collect::<BTreeSet<_>>(), kinds);
}
