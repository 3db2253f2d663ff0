//! `outriggerd`: the control plane.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger::runtime::{app, args::Args};

/// Chosen by measurement: `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match app::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outriggerd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
