//! The product on a real node: the parts of the demo, checked.

use std::sync::{OnceLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::ensure;
use outrigger_e2e::cluster::Cluster;
use outrigger_e2e::demo::{Screen, bookinfo, gateway, local, routing, traffic};
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
fn port_of_a_gateway_comes_and_goes_and_no_other_port_changes() {
    let Some(stage) = stage() else { return };
    gateway::install(&stage).unwrap();
    let ports = gateway::open_and_close(stage.node, stage.screen).unwrap();
    assert!(
        ports.before.iter().all(|(_, _, node_port)| *node_port > 0),
        "{ports:?}"
    );
    ports.check().unwrap();
}

#[test]
fn without_a_node_the_demo_shows_all_that_needs_no_pods() {
    local::run(&Screen::new()).unwrap();
}
