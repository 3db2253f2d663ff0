//! Running a program for its output, with errors that say what was run and what it answered.

use std::io::{self, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// A program that could not be run, or that ran and failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program did not start, or its output could not be read.
    #[error("{command}: {source}")]
    Run {
        /// The command line.
        command: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The program ended with something else than success.
    #[error("{command}: {status}\n{stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr; where that is empty, what it wrote to stdout.
        stderr: String,
    },
}

impl CommandError {
    /// What the program wrote about its failure; empty where it did not run.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Run { .. } => "",
            Self::Failed { stderr, .. } => stderr,
        }
    }
}

/// Runs `command` to its end and returns its stdout.
pub fn output(command: &mut Command) -> Result<String, CommandError> {
    output_with_input(command, "")
}

/// Runs `command` to its end with `input` on its stdin and returns its stdout.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String, CommandError> {
    let line = line(command);
    let failed = |source| CommandError::Run {
        command: line.clone(),
        source,
    };
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends before it has read everything says why by its status.
            stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
        });
        child.wait_with_output()
    })
    .map_err(failed)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    Err(CommandError::Failed {
        command: line,
        status: output.status,
        stderr: if stderr.is_empty() { stdout } else { stderr },
    })
}

/// The command line of `command` as a person would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_what_the_program_wrote() {
        assert_eq!(
            output_with_input(&mut Command::new("cat"), "one\ntwo\n").unwrap(),
            "one\ntwo\n"
        );
    }

    #[test]
    fn failure_carries_the_command_and_its_stderr() {
        let error =
            output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        assert_eq!(error.stderr(), "no such thing");
        assert!(
            error.to_string().starts_with("sh -c echo no such thing"),
            "{error}"
        );
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn missing_program_is_named() {
        let error = output(&mut Command::new("/nowhere/kubectl")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/kubectl: No such file"),
            "{error}"
        );
    }
}
