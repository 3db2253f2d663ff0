//! Running a program for its output, with errors that say what was run and what it answered.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

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
    /// The program did not end in time, and was killed.
    #[error("{command}: not within {limit:?}")]
    Late {
        /// The command line.
        command: String,
        /// The time it had.
        limit: Duration,
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
            Self::Run { .. } | Self::Late { .. } => "",
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
    run(command, input, None)
}

/// Runs `command` for at most `limit`, for programs that talk to others and may wait for ever, and returns its stdout.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<String, CommandError> {
    run(command, "", Some(limit))
}

fn run(
    command: &mut Command,
    input: &str,
    limit: Option<Duration>,
) -> Result<String, CommandError> {
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
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends before it has read everything says why by its status.
            stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
        });
        let stdout = scope.spawn(|| text(stdout));
        let stderr = scope.spawn(|| text(stderr));
        let status = wait(&mut child, limit);
        (status, joined(stdout), joined(stderr))
    });
    let Some(status) = status.map_err(&failed)? else {
        let limit = limit.unwrap_or_default();
        return Err(CommandError::Late {
            command: line,
            limit,
        });
    };
    let stdout = stdout.map_err(failed)?;
    if status.success() {
        return Ok(stdout);
    }
    let stderr = stderr.unwrap_or_default().trim_end().to_owned();
    Err(CommandError::Failed {
        command: line,
        status,
        stderr: if stderr.is_empty() { stdout } else { stderr },
    })
}

/// How the program ended; `None` where it was killed because its time was up.
fn wait(child: &mut Child, limit: Option<Duration>) -> io::Result<Option<ExitStatus>> {
    let Some(limit) = limit else {
        return child.wait().map(Some);
    };
    let ended = crate::wait::until(limit, "end", || match child.try_wait() {
        Ok(None) => Err("runs"),
        ended => Ok(ended),
    });
    if let Ok(ended) = ended {
        return ended;
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Reads to the end, whatever is no UTF-8 replaced.
fn text(pipe: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn joined(reader: thread::ScopedJoinHandle<'_, io::Result<String>>) -> io::Result<String> {
    let read = reader.join();
    read.unwrap_or_else(|_| Err(io::Error::other("reading the output panicked")))
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
    fn program_that_does_not_end_in_time_is_killed() {
        let error = output_within(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert_eq!(error.unwrap_err().to_string(), "sleep 60: not within 50ms");
        let in_time = output_within(Command::new("echo").arg("now"), Duration::from_secs(60));
        assert_eq!(in_time.unwrap(), "now\n");
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
