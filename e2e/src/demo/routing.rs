//! A route to a subset that does not exist: what the object itself says about it, and the cure.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Screen;
use super::stage::{show, source};
use crate::cluster::Cluster;
use crate::progress::step;

/// What the broken route looks like to its owner.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// From the apply to the condition.
    pub took: Duration,
    /// `kubectl get virtualservice`.
    pub get: String,
    /// `kubectl describe virtualservice reviews`.
    pub describe: String,
}

/// Applies a DestinationRule with subsets v1 and v2 and a VirtualService that routes to v4, waits until the object says
/// so, and shows it.
///
/// # Errors
/// Something can't be applied, or the condition does not come.
pub fn break_reviews(cluster: &dyn Cluster, screen: &Screen) -> Result<Verdict> {
    let file = |name: &str| source(&format!("e2e/bookinfo/{name}"));
    let rule = file("destination-rule-reviews.yaml");
    let route = file("virtual-service-reviews-v4.yaml");
    let took = step(
        screen,
        "route reviews to subset v4, which the DestinationRule does not have",
        || {
            cluster.kubectl(&["apply", "-f", &rule])?;
            cluster.kubectl(&["apply", "-f", &route])?;
            let start = Instant::now();
            wait_for(cluster, "condition=Ready=False")?;
            anyhow::Ok(start.elapsed())
        },
    )?;
    // The event is written after the condition.
    let event = "events.events.k8s.io --field-selector=regarding.name=reviews,type=Warning";
    crate::wait::until(
        Duration::from_secs(20),
        "an event on the VirtualService",
        || {
            let events =
                cluster.kubectl(&[&["get"], &event.split(' ').collect::<Vec<_>>()[..]].concat())?;
            anyhow::ensure!(events.contains("reviews"), "no event yet: {events}");
            Ok(())
        },
    )?;
    let get = show(cluster, screen, "get virtualservice")?;
    let describe = show(cluster, screen, "describe virtualservice reviews")?;
    Ok(Verdict {
        took,
        get,
        describe,
    })
}

/// Routes to subset v2 instead and shows that `kubectl wait` returns. Returns what it printed.
///
/// # Errors
/// It can't be applied, or the object does not become ready.
pub fn cure_reviews(cluster: &dyn Cluster, screen: &Screen) -> Result<String> {
    step(screen, "route reviews to subset v2 instead", || {
        cluster.kubectl(&[
            "apply",
            "-f",
            &source("e2e/bookinfo/virtual-service-reviews-v2.yaml"),
        ])
    })?;
    show(
        cluster,
        screen,
        "wait --for=condition=Ready virtualservice/reviews --timeout=30s",
    )
}

fn wait_for(cluster: &dyn Cluster, condition: &str) -> Result<()> {
    let wait = [
        "wait",
        &format!("--for={condition}"),
        "virtualservice/reviews",
        "--timeout=60s",
    ];
    cluster.kubectl(&wait)?;
    Ok(())
}
