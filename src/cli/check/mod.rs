//! `outrigger check`: whether a cluster is as it should be. What is checked is a subcommand.

mod injection;

use std::process::ExitCode;

/// Arguments of `outrigger check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    topic: Topic,
}

#[derive(Debug, clap::Subcommand)]
enum Topic {
    /// Pods that should have a proxy and have none, or an old one
    Injection(injection::Arguments),
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.topic {
            Topic::Injection(injection) => injection.run(),
        }
    }
}
