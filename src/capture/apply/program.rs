//! Running the tools.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// No tool takes a second; iptables waits five of them for its lock. What takes longer hangs, and would keep the pod
/// from starting without a word.
const DEADLINE: Duration = Duration::from_secs(30);

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
    /// It came to no end, and was ended.
    #[error("{command}: came to no end within {DEADLINE:?}")]
    Hangs {
        /// Its name and what it was asked.
        command: String,
    },
}

impl ProgramError {
    /// Whether there is no such program.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Run { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether the kernel refused it for want of a right.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        ["Permission denied", "Operation not permitted"]
            .iter()
            .any(|said| self.output().contains(said))
    }

    /// What the program said, where it ran.
    pub(super) fn output(&self) -> &str {
        match self {
            Self::Run { .. } | Self::Hangs { .. } => "",
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
    let child = command.spawn().map_err(failed)?;
    let ended = follow(child, input.unwrap_or_default(), DEADLINE).map_err(failed)?;
    if ended.status.success() {
        return Ok(ended.output);
    }
    let words = arguments.iter().map(|word| word.as_ref().to_string_lossy());
    let command: Vec<_> = std::iter::once(program.into()).chain(words).collect();
    let command = command.join(" ");
    Err(if ended.in_time {
        ProgramError::Refused {
            command,
            status: ended.status,
            output: ended.errors.trim().to_owned(),
        }
    } else {
        ProgramError::Hangs { command }
    })
}

/// How a program ended, and what it said.
struct Ended {
    status: std::process::ExitStatus,
    output: String,
    errors: String,
    in_time: bool,
}

/// Feeds and hears a program until its end, which is there by the deadline.
fn follow(mut child: Child, input: &str, deadline: Duration) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let child = Mutex::new(child);
    let lock = || child.lock().unwrap_or_else(PoisonError::into_inner);
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = end.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout);
            // One that has just ended can't be, and need not.
            late && lock().kill().is_ok()
        });
        let errors = scope.spawn(|| text_of(stderr));
        let fed = feed(stdin, input);
        let output = text_of(stdout);
        let errors = errors.join().unwrap_or_default();
        let status = lock().wait();
        drop(ended);
        let late = watch.join().unwrap_or_default();
        fed?;
        Ok(Ended {
            status: status?,
            output,
            errors,
            in_time: !late,
        })
    })
}

fn text_of(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is what there is to tell.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program that refuses the first lines stops reading; what it says then tells more than a broken pipe.
fn feed(stdin: Option<ChildStdin>, input: &str) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        follow(command.spawn().unwrap(), "said\n", deadline).unwrap()
    }

    #[test]
    fn a_program_is_fed_and_heard_on_both_its_outputs() {
        let ended = shell("cat; echo no >&2; exit 3", DEADLINE);
        assert_eq!(
            (ended.output.as_str(), ended.errors.as_str()),
            ("said\n", "no\n")
        );
        assert_eq!(ended.status.code(), Some(3));
        assert!(ended.in_time);
    }

    #[test]
    fn a_program_that_comes_to_no_end_is_ended() {
        let ended = shell("exec sleep 1000", Duration::from_millis(50));
        assert!(!ended.in_time && !ended.status.success());
    }
}
