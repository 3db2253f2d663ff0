//! `outrigger explain`: why something is as it is. A topic is a subcommand; a diagnosis is asked for by its code.

mod code;

use std::process::ExitCode;

/// Arguments of `outrigger explain`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Code of a diagnosis, such as IST0101
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        code::run(&self.code.unwrap_or_default())
    }
}
