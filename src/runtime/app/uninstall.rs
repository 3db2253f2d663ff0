//! `outriggerd uninstall-status`: what the chart runs before it goes.

use std::time::Duration;

use super::{Args, clients};
use crate::{
    kubernetes::{
        lease,
        removal::{self, LeaseName},
    },
    runtime::args::Command,
};

/// Removes what was written into status, and says what came of it in the log.
///
/// # Errors
/// Something may be left, and the best effort was not enough.
pub(super) async fn run(args: &Args, command: Command) -> anyhow::Result<()> {
    let Command::UninstallStatus {
        timeout,
        best_effort,
    } = command;
    let done = remove(args, Duration::from_secs(timeout)).await;
    match done {
        Ok(cleared) => tracing::info!(cleared, "removed what was written into status"),
        Err(error) if best_effort => {
            let error = format!("{error:#}");
            tracing::error!(error, "some of what was written into status is left");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn remove(args: &Args, timeout: Duration) -> anyhow::Result<usize> {
    let [client, _] = clients(args).await?;
    let lease = LeaseName {
        namespace: args.namespace.clone(),
        name: args.of_revision(lease::NAME),
    };
    let identity = args.identity();
    tracing::info!(
        namespace = lease.namespace,
        identity,
        "removing what was written into status"
    );
    let report = removal::uninstall(&client, &[lease], &identity, timeout).await?;
    Ok(report.cleared)
}
