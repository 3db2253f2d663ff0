//! Running the tools.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

/// Why a tool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started or talked to.
    #[error("{program}: {source}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It said no.
    #[error("{command}: {status}: {output}")]
    Refused {
        /// Its name and what it was asked.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
}

impl ProgramError {
    /// Whether there is no such program.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Run { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// What the program said, where it ran.
    pub(super) fn output(&self) -> &str {
        match self {
            Self::Run { .. } => "",
            Self::Refused { output, .. } => output,
        }
    }
}

/// Runs a program to its end, with `input` on its standard input, and gives back its standard output. `lock` is the
/// file by which iptables' older variant keeps its runs apart; none for its own.
pub(super) fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: &[A],
    input: Option<&str>,
    lock: Option<&OsStr>,
) -> Result<String, ProgramError> {
    let failed = |source| ProgramError::Run {
        program: program.to_owned(),
        source,
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(lock) = lock {
        command.env("XTABLES_LOCKFILE", lock);
    }
    let mut child = command.spawn().map_err(failed)?;
    feed(&mut child, input.unwrap_or_default()).map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = arguments.iter().map(|word| word.as_ref().to_string_lossy());
    let command: Vec<_> = std::iter::once(program.into()).chain(words).collect();
    Err(ProgramError::Refused {
        command: command.join(" "),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// A program that refuses the first lines stops reading; what it says then tells more than a broken pipe.
fn feed(child: &mut Child, input: &str) -> std::io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else {
        return Ok(());
    };
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
