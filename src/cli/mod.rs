//! The commands of `outrigger`: argument types and output. The work itself is done by the pure layers.
//!
//! A command is a module with `Arguments` (clap) and `Arguments::run(self) -> anyhow::Result<ExitCode>`:
//! output goes to stdout, remarks and errors to stderr, and an error ends the program with status 1.

pub mod analyze;
mod check;
pub mod cluster;
pub mod crds;
pub mod explain;
mod gateway;
mod inject;
pub mod manifests;
mod uninstall_status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Outrigger's command line: works on files alone, or on a cluster.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Analyse manifests: validity of each object, and what they say about each other
    Analyze(analyze::Arguments),
    /// Look whether a cluster is as it should be
    Check(check::Arguments),
    /// Print the CustomResourceDefinitions of networking.istio.io
    Crds(crds::Arguments),
    /// Say why something is as it is: a diagnosis by its code, or a topic
    Explain(explain::Arguments),
    /// What became of Gateways: their ports, certificates and routes
    Gateway(gateway::Arguments),
    /// Add the sidecar to the workloads of a file, as the webhook would
    Inject(inject::Arguments),
    UninstallStatus(uninstall_status::Arguments),
}

impl Arguments {
    /// Runs the command that was asked for and says with which status to exit.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Analyze(analyze) => analyze.run(),
            Command::Check(check) => check.run(),
            Command::Crds(crds) => crds.run(),
            Command::Explain(explain) => explain.run(),
            Command::Gateway(gateway) => gateway.run(),
            Command::Inject(inject) => inject.run(),
            Command::UninstallStatus(uninstall) => uninstall.run(),
        };
        result.unwrap_or_else(|error| {
            eprintln!("outrigger: {error:#}");
            ExitCode::FAILURE
        })
    }
}
