//! `outrigger explain`: why something is as it is. A topic is a subcommand; a diagnosis is asked for by its code.

mod capture;
mod code;
mod init_container;
mod injection;

use std::process::ExitCode;

use clap::Subcommand;

/// Arguments of `outrigger explain`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Code of a diagnosis, such as IST0101
    #[arg(value_name = "CODE")]
    code: Option<String>,
    #[command(subcommand)]
    topic: Option<Topic>,
}

#[derive(Debug, Subcommand)]
enum Topic {
    /// Which rule of capture decides about a packet, and where the packet ends
    Capture(Box<capture::Arguments>),
    /// Whether a pod is injected, by which rule, and what would change it
    Injection(Box<injection::Arguments>),
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.topic {
            Some(Topic::Capture(capture)) => capture.run(),
            Some(Topic::Injection(injection)) => injection.run(),
            None => code::run(&self.code.unwrap_or_default()),
        }
    }
}
