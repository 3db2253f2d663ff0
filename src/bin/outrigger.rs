//! `outrigger`: the command line, for a person's shell and for CI.

use std::process::ExitCode;

use clap::Parser as _;

/// As in `outriggerd`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    outrigger::cli::Arguments::parse().run()
}
