//! The control plane, by its chart.

use anyhow::Result;

use super::Stage;
use super::stage::source;
use crate::cluster::Cluster as _;
use crate::images::local::HUB;
use crate::progress::step;

/// The namespace of the control plane.
pub const NAMESPACE: &str = "outrigger-system";

/// Installs `charts/outrigger` with the images just built and waits until its pods are ready. Returns the notes.
///
/// # Errors
/// The chart does not install, or the pods do not become ready.
pub fn control_plane(stage: &Stage<'_>) -> Result<String> {
    step(
        stage.screen,
        "helm install outrigger charts/outrigger --wait",
        || helm_install(stage, "outrigger", "charts/outrigger", NAMESPACE, &[]),
    )
}

/// Installs a chart of the source tree as a user does, with the images that are on the node.
pub(super) fn helm_install(
    stage: &Stage<'_>,
    release: &str,
    chart: &str,
    namespace: &str,
    more: &[&str],
) -> Result<String> {
    let hub = format!("global.hub={HUB}");
    // A tag of digits only is text all the same.
    let tag = format!("global.tag={}", stage.images.tag);
    let chart = source(chart);
    let mut arguments = vec![
        "install",
        release,
        &chart,
        "--namespace",
        namespace,
        "--create-namespace",
    ];
    arguments.extend([
        "--wait",
        "--timeout=180s",
        "--set",
        &hub,
        "--set-string",
        &tag,
    ]);
    arguments.extend(more);
    stage.node.helm(&arguments)
}
