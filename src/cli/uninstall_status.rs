//! `outrigger uninstall-status`: takes what Outrigger wrote into the status of objects out of it again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
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
    /// The namespace of the control plane, which must have its Lease; without it, every namespace is searched for one
    #[arg(short, long, value_name = "NAMESPACE")]
    istio_namespace: Option<String>,
    /// For how long to try
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl Arguments {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let connected = self.connection.connect()?;
        let client = &connected.client;
        connected.runtime.block_on(async {
            let leases = self.leases(client).await?;
            let timeout = Duration::from_secs(self.timeout);
            let report = removal::uninstall(client, &leases, &identity(), timeout).await?;
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
        let names: Vec<LeaseName> = names.collect();
        // Nobody is known to write where there is no Lease, so a misspelled namespace would leave a leader at work.
        if let Some(namespace) = self.istio_namespace.as_ref().filter(|_| names.is_empty()) {
            anyhow::bail!(
                "--istio-namespace {namespace}: there is no Lease {} in this namespace, so no control plane wrote status \
                 from it; give the namespace of the control plane, or leave the flag out: every namespace is searched \
                 then, and where no Lease is left nobody writes",
                lease::NAME
            );
        }
        Ok(names)
    }
}

/// Who holds the Lease meanwhile. In every container this may be process 1, so the process's number would not do.
fn identity() -> String {
    let unique = RandomState::new().build_hasher().finish();
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "shell".to_owned());
    format!("outrigger-uninstall-status-{host}-{unique:016x}")
}
