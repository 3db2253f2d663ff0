//! `cargo demo`: the main job, end to end, on a real Kubernetes that it starts itself.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outrigger_e2e::demo;

#[derive(Parser)]
#[command(
    bin_name = "cargo demo --",
    about = "Shows Outrigger at work on a real Kubernetes, started here"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: demo::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Remove the cluster that --keep left
    Down,
    /// Only install the packages and build the programs that the cluster needs
    Setup,
    /// Print the path of one of the cluster's programs, such as kubectl or helm
    Which {
        /// Its name
        program: String,
    },
}

fn main() -> ExitCode {
    // `cargo demo down` and `cargo demo -- down` mean the same: the alias ends with `--` already.
    let arguments = std::env::args_os()
        .enumerate()
        .filter(|(at, word)| !(*at == 1 && word == "--"));
    let cli = Cli::parse_from(arguments.map(|(_, word)| word));
    let outcome = match cli.command {
        None => demo::run(&cli.options),
        Some(Command::Down) => demo::down(),
        Some(Command::Setup) => demo::setup(&cli.options),
        Some(Command::Which { program }) => demo::which(&program),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
