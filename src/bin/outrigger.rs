//! `outrigger`: the command line, for a person's shell and for CI.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    outrigger::cli::Arguments::parse().run()
}
