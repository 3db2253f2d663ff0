//! `outrigger explain`: why something is as it is. A topic is a subcommand; a diagnosis is asked for by its code.

mod capture;
mod code;
mod init_container;
mod injection;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

/// Arguments of `outrigger explain`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Code of a diagnosis, such as IST0101
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// All codes, as a page of Markdown
    #[arg(long, conflicts_with = "code")]
    all: bool,
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
            None => {
                let text = match self.code {
                    Some(code) => code::text(&code)?,
                    None => diagnostics()?,
                };
                std::io::stdout().lock().write_all(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The page `docs/diagnostics.md`: every code with its meaning, an example and the cure.
///
/// # Errors
/// An example does not yield its code.
pub fn diagnostics() -> anyhow::Result<String> {
    code::page()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_tell_every_code_as_the_program_does() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/diagnostics.md");
        assert_eq!(
            std::fs::read_to_string(page).unwrap(),
            diagnostics().unwrap(),
            "run `cargo run --bin outrigger -- explain --all > docs/diagnostics.md`"
        );
    }

    #[test]
    fn unknown_code_is_told_the_known_ones() {
        let error = code::text("IST9999").unwrap_err().to_string();
        assert!(error.contains("IST0101"), "{error}");
    }
}
