//! What the parts of the demo act on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Screen;
use crate::binaries::SOURCE;
use crate::cluster::{Cluster, Node};
use crate::images::local::Local;

/// How long pods may take to become ready: seconds on an idle machine, more where others build on it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Where a cluster, the images for it and a screen come together.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The cluster.
    pub node: &'a Node,
    /// The images that were loaded into it.
    pub images: &'a Local,
    /// Where to show what happens.
    pub screen: &'a Screen,
}

/// Runs a kubectl command line of words without blanks and shows it with all that it printed.
///
/// # Errors
/// It failed; it is shown all the same.
pub fn show(cluster: &dyn Cluster, screen: &Screen, line: &str) -> Result<String> {
    let output = cluster
        .kubectl_command()
        .args(line.split_whitespace())
        .output()
        .context("running kubectl")?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    screen.command(&format!("kubectl {line}"), &text);
    if !output.status.success() {
        bail!("kubectl {line}: {}", output.status);
    }
    Ok(text)
}

/// A file of the source tree.
pub fn source(path: &str) -> String {
    format!("{SOURCE}/{path}")
}

/// A command in the node's network and mounts, where the network namespaces of its pods are files.
pub fn in_node(node: &Node, program: &str) -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.args([
        "--target",
        &node.init().to_string(),
        "--net",
        "--mount",
        "--",
        program,
    ]);
    nsenter
}
