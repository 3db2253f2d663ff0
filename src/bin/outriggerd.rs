//! `outriggerd`: the control plane.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger::runtime::{app, args::Args};

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
