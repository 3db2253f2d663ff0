//! `outrigger uninstall-status`: takes what Outrigger wrote into the status of objects out of it again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};

use super::cluster::Connection;
use crate::kubernetes::lease;
use crate::kubernetes::removal::{self, LeaseName};

/// Take what Outrigger wrote out of the status of every object: its conditions, validationMessages and observedGeneration.
///
/// Conditions of others stay. The Lease of the control plane's writers is taken first, so that it does not write meanwhile; a
/// control plane that stays goes on 15 seconds later (its chart removes the status of itself when it is uninstalled).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The namespace of the control plane; without it, every namespace is searched for its Lease
    #[arg(short, long, value_name = "NAMESPACE")]
    istio_namespace: Option<String>,
    /// For how long to try
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

impl Arguments {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let connected = self.connection.connect()?;
        let client = &connected.client;
        connected.runtime.block_on(async {
            let leases = self.leases(client).await?;
            let identity = format!("outrigger-uninstall-status-{}", std::process::id());
            let timeout = Duration::from_secs(self.timeout);
            let report = removal::uninstall(client, &leases, &identity, timeout).await?;
            println!("{} objects cleared", report.cleared);
            for former in report.former {
                eprintln!(
                    "The Lease was held by {former}: if that control plane still runs, it writes again in {} s. \
                     Uninstall it, or set status.enabled=false in its values.",
                    lease::DURATION.as_secs()
                );
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// The Leases that control planes hold in order to write status.
    async fn leases(&self, client: &Client) -> anyhow::Result<Vec<LeaseName>> {
        let api: Api<Lease> = match &self.istio_namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let params = ListParams::default().fields(&format!("metadata.name={}", lease::NAME));
        let found = api.list(&params).await.context(
            "looking for the Lease of the control plane (--istio-namespace says where it is)",
        )?;
        let names = found.items.into_iter().filter_map(|lease| {
            Some(LeaseName {
                namespace: lease.metadata.namespace?,
                name: lease.metadata.name?,
            })
        });
        Ok(names.collect())
    }
}
