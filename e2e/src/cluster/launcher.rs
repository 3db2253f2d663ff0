//! The process tree of a cluster, seen from the process that started it (the other side: `scripts/`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::state::StateDir;
use crate::wait;

pub(super) const CLEAR: &str = include_str!("scripts/clear.sh");
const SCRIPTS: &[(&str, &str)] = &[
    ("hold.sh", include_str!("scripts/hold.sh")),
    ("launch.sh", include_str!("scripts/launch.sh")),
    ("node.sh", include_str!("scripts/node.sh")),
    ("clear.sh", CLEAR),
];

/// A running `launch.sh`. Dropping it ends every program and waits until the cluster is cleared.
#[derive(Debug)]
pub(super) struct Launcher {
    state: StateDir,
    /// None once the cluster is kept.
    holder: Option<Child>,
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Launcher {
    /// Starts one of the scripts that answer commands (`launch.sh`, `node.sh`) in a session of its own,
    /// through the command line `wrapper`.
    pub fn start(
        mut state: StateDir,
        wrapper: &[&str],
        script: &str,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let scripts = state.path.join("scripts");
        for (name, text) in SCRIPTS {
            fs::write(scripts.join(name), text).with_context(|| format!("script {name}"))?;
        }
        let mut command = Command::new("setsid");
        command
            .arg("bash")
            .arg(scripts.join("hold.sh"))
            .args(wrapper)
            .arg("bash")
            .arg(scripts.join(script));
        command
            .env("WORK", &state.path)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(state.lock.try_clone()?);
        let mut holder = command
            .spawn()
            .context("setsid bash (Debian: util-linux, bash)")?;
        state.hand_over();
        let (Some(commands), Some(answers)) = (holder.stdin.take(), holder.stdout.take()) else {
            bail!("no pipes to the launcher");
        };
        let pipes = Mutex::new(Some(Pipes {
            commands,
            answers: BufReader::new(answers),
        }));
        Ok(Self {
            state,
            holder: Some(holder),
            pipes,
        })
    }

    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The process that holds the cluster.
    pub fn pid(&self) -> Option<u32> {
        self.holder.as_ref().map(Child::id)
    }

    /// Starts a program in the background; its output goes to a log of this name.
    pub fn run(&self, name: &str, words: &[String]) -> Result<()> {
        let script: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let path = self.state.path.join("run").join(format!("{name}.sh"));
        fs::write(&path, format!("exec {}\n", script.join(" ")))
            .with_context(|| path.display().to_string())?;
        self.again(name)
    }

    /// Starts a program again that was [`run`](Self::run) before, with the same arguments.
    pub fn again(&self, name: &str) -> Result<()> {
        self.ask(&format!("run {name}"))
    }

    /// Kills a program and waits for its end.
    pub fn stop(&self, name: &str) -> Result<()> {
        self.ask(&format!("stop {name}"))
    }

    /// Lets the cluster outlive this process. Programs can be neither started nor stopped afterwards.
    pub fn keep(mut self) -> Result<()> {
        self.ask("keep")?;
        self.holder = None;
        Ok(())
    }

    /// Waits until `ready` answers Ok, which the first of `programs` brings about with the help of the others.
    /// Gives up early when one of them has ended. The error ends with what was logged last: logs go away
    /// with the cluster.
    pub fn wait_for<T>(
        &self,
        programs: &[&str],
        deadline: Duration,
        mut ready: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        enum Outcome<'a, T> {
            Ready(T),
            Ended(&'a str),
        }
        let awaited = programs.first().copied().unwrap_or_default();
        let has_ended = |name: &&&str| self.ask(&format!("running {name}")).is_err();
        let outcome = wait::until(deadline, &format!("{awaited} ready"), || {
            ready()
                .map(Outcome::Ready)
                .or_else(|error| match programs.iter().find(has_ended) {
                    Some(name) => Ok(Outcome::Ended(name)),
                    None => Err(error),
                })
        });
        match outcome {
            Ok(Outcome::Ready(value)) => Ok(value),
            Ok(Outcome::Ended(name)) => {
                bail!(
                    "{name} ended while {awaited} was awaited; {}",
                    self.log_tail(name)
                )
            }
            Err(error) => bail!("{error:#}; {}", self.log_tail(awaited)),
        }
    }

    /// The last lines that a program wrote.
    pub fn log_tail(&self, name: &str) -> String {
        const LINES: usize = 15;
        let path = self.state.path.join("log").join(format!("{name}.log"));
        let log = fs::read(&path)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "{name} logged last:\n{}",
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        )
    }

    /// Sends one line and reads the answer.
    pub fn ask(&self, command: &str) -> Result<()> {
        let mut pipes = self.locked();
        let Some(pipes) = pipes.as_mut() else {
            bail!("{command}: the cluster is being ended")
        };
        writeln!(pipes.commands, "{command}")
            .with_context(|| format!("{command}: the cluster has ended"))?;
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer)?;
        match answer.trim_end() {
            "ok" => Ok(()),
            "" => bail!(
                "{command}: the cluster has ended\n{}",
                self.log_tail("hold")
            ),
            answer => bail!("{command}: {answer}"),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Pipes>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.locked().take();
        if let Some(holder) = &mut self.holder {
            // An error here has no one to go to; what is left is cleared by the next start.
            let _ = holder.wait();
        }
    }
}

/// A word as the shell reads it back.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::state;

    #[test]
    fn quoted_words_survive_the_shell() {
        for word in ["plain", "two words", "it's", "$HOME `x` \\ \"", ""] {
            let shell = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), word);
        }
    }

    fn launcher(kind: &str) -> Launcher {
        let state = state::claim(kind, |path, _| Ok(fs::remove_dir_all(path)?), |_| true).unwrap();
        Launcher::start(state, &[], "launch.sh", &[]).unwrap()
    }

    fn words(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    #[test]
    fn program_that_ends_early_is_reported_with_what_it_logged() {
        let launcher = launcher("unit-early");
        launcher.run("kubelet", &words("exec sleep 1000")).unwrap();
        launcher
            .run("etcd", &words("echo no space left >&2; exit 1"))
            .unwrap();
        let never = || Err::<(), _>(anyhow::anyhow!("connection refused"));
        let error = launcher
            .wait_for(&["kubelet", "etcd"], Duration::from_secs(60), never)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("etcd ended while kubelet was awaited; etcd logged last:"),
            "{error}"
        );
        assert!(error.to_string().ends_with("no space left"), "{error}");
    }

    #[test]
    fn stopped_program_can_be_started_again() {
        let launcher = launcher("unit-again");
        let output = launcher.state().path.join("starts");
        let starts = || {
            fs::read_to_string(&output)
                .map(|starts| starts.len())
                .unwrap_or_default()
        };
        let script = format!("printf x >>{}; exec sleep 1000", output.display());
        launcher.run("program", &words(&script)).unwrap();
        wait::until_true(Duration::from_secs(20), "one start", || starts() == 1).unwrap();
        launcher.stop("program").unwrap();
        launcher.ask("running program").unwrap_err();
        launcher.again("program").unwrap();
        wait::until_true(Duration::from_secs(20), "two starts", || starts() == 2).unwrap();
        launcher.ask("running program").unwrap();
    }

    #[test]
    fn programs_do_not_inherit_ignored_signals() {
        let launcher = launcher("unit-signals");
        let output = launcher.state().path.join("status");
        launcher
            .run(
                "program",
                &words(&format!(
                    "grep SigIgn /proc/self/status >{}",
                    output.display()
                )),
            )
            .unwrap();
        let ignored = wait::until(Duration::from_secs(20), "status written", || {
            fs::read_to_string(&output)?
                .trim()
                .strip_prefix("SigIgn:")
                .map(str::to_owned)
                .context("not yet")
        });
        // Above 31 are those that the C library keeps for itself.
        let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
        assert_eq!(ignored & 0x7fff_ffff, 0, "{ignored:x}");
    }
}
