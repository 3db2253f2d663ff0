//! The product on a real node: the parts of the demo, checked.

use std::sync::{OnceLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::ensure;
use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::demo::{Screen, bookinfo, gateway, local, routing, source, traffic};
use outrigger_e2e::wait;

use crate::stage::{Product, product};

const DEADLINE: Duration = Duration::from_secs(60);

/// The product with bookinfo in the namespace `default`, or nothing where no node can run.
fn stage() -> Option<Product<RwLockReadGuard<'static, ()>>> {
    static BOOKINFO: OnceLock<()> = OnceLock::new();
    let stage = product()?;
    BOOKINFO.get_or_init(|| bookinfo::deploy(&stage).unwrap());
    Some(stage)
}

#[test]
fn every_pod_of_bookinfo_runs_a_ready_sidecar_after_istio_init() {
    let Some(stage) = stage() else { return };
    let pods = bookinfo::pods(&stage).unwrap();
    assert_eq!(pods.len(), 7, "{pods:?}");
    for pod in pods {
        assert_eq!(pod.init_containers, ["istio-init"], "{pod:?}");
        assert_eq!(pod.containers.len(), 2, "{pod:?}");
        assert!(
            pod.containers.contains(&("istio-proxy".to_owned(), true)),
            "{pod:?}"
        );
        assert!(pod.containers.iter().all(|(_, ready)| *ready), "{pod:?}");
    }
}

#[test]
fn requests_enter_15001_and_15006_and_are_counted_by_both_envoys() {
    let Some(stage) = stage() else { return };
    let traffic = traffic::send(&stage, 15).unwrap();
    assert!(
        traffic
            .answers
            .iter()
            .all(|answer| answer.status == Some(200)),
        "{:?}",
        traffic.answers
    );
    for counter in traffic.counters() {
        assert!(
            counter.growth() >= 15,
            "{}\n{counter:?}",
            traffic.describe()
        );
    }
    // Which version of reviews answers is chance: asked on until one did that calls ratings, two sidecars further on.
    let mut answers = traffic.answers;
    wait::until(DEADLINE, "a page with ratings", || {
        answers.extend(traffic::send(&stage, 1)?.answers);
        let rated = |answer: &traffic::Answer| answer.ratings.as_deref() == Some("available");
        ensure!(answers.iter().any(rated), "{answers:?}");
        Ok(())
    })
    .unwrap();
    // Those of v1 never have any.
    for answer in answers {
        if answer.reviews.as_deref() == Some("v1") {
            assert_eq!(answer.ratings.as_deref(), Some("none"), "{answer:?}");
        }
    }
}

#[test]
fn route_to_a_missing_subset_is_told_by_kubectl_and_its_cure_too() {
    let Some(stage) = stage() else { return };
    let verdict = routing::break_reviews(stage.node, stage.screen).unwrap();
    assert!(
        verdict.get.contains("False") && verdict.get.contains("SubsetNotFound"),
        "{}",
        verdict.get
    );
    for part in [
        "ResolvedRefs",
        "SubsetNotFound",
        "spec.http[0].route[0].destination.subset",
        "v4",
        "v1, v2",
        "Warning",
    ] {
        assert!(
            verdict.describe.contains(part),
            "{part} in:\n{}",
            verdict.describe
        );
    }
    let cured = routing::cure_reviews(stage.node, stage.screen).unwrap();
    assert!(cured.contains("condition met"), "{cured}");
    let ready = [
        "get",
        "virtualservice",
        "reviews",
        "-o",
        r#"jsonpath={.status.conditions[?(@.status=="False")].type}"#,
    ];
    assert_eq!(stage.node.kubectl(&ready).unwrap(), "");
}

#[test]
fn requests_from_outside_enter_through_the_node_port_that_a_gateway_asks_for_and_end_in_its_envoy()
{
    let Some(stage) = stage() else { return };
    gateway::install(&stage).unwrap();
    let file = source("e2e/bookinfo/gateway-80.yaml");
    let place = ["--namespace", gateway::NAMESPACE, "-f", &file];
    stage
        .node
        .kubectl(&[&["apply"], &place[..]].concat())
        .unwrap();
    // A port that the chart has: Envoy listens behind it as soon as a Gateway has a server on it.
    let on_80 = gateway::node_port_of(stage.node, 80).unwrap();
    let visits = gateway::open_and_close(stage.node, stage.screen, || {
        for node_port in [on_80, gateway::NODE_PORT] {
            let visit = gateway::visit(&stage, node_port)?;
            ensure!(visit.answer.contains("envoy"), "{}", visit.answer);
            ensure!(visit.log.contains(" 404 "), "{}", visit.log);
        }
        let condition = "--for=condition=PortsExposed";
        stage.node.kubectl(&[
            "wait",
            condition,
            "gateway.networking.istio.io/bookinfo",
            "--namespace",
            gateway::NAMESPACE,
        ])?;
        Ok(())
    });
    let ports = visits.unwrap();
    assert!(
        ports.before.iter().all(|(_, _, node_port)| *node_port > 0),
        "{ports:?}"
    );
    ports.check().unwrap();
    let asked = ports
        .with
        .iter()
        .find(|(_, port, _)| *port == u64::from(gateway::PORT));
    assert_eq!(asked.unwrap().2, u64::from(gateway::NODE_PORT));
    stage
        .node
        .kubectl(&[&["delete"], &place[..]].concat())
        .unwrap();
}

#[test]
fn without_a_node_the_demo_shows_all_that_needs_no_pods() {
    local::run(&Screen::new()).unwrap();
}
