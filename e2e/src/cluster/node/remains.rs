//! Nodes that outlived their callers: kept on purpose, or what is left of killed ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::cgroups;
use super::super::launcher::CLEAR;
use super::super::state::{self, Found};
use super::KIND;
use super::config::Slot;
use crate::command;
use crate::wait;

/// A node that runs.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The directory of everything it writes.
    pub directory: PathBuf,
}

/// The running node of this name.
///
/// # Errors
/// The directory of the clusters can't be read.
pub fn kept(name: &str) -> Result<Option<Kept>> {
    let found = running(name)?.into_iter().next();
    Ok(found.map(|found| Kept {
        kubeconfig: found.path.join("admin.kubeconfig"),
        directory: found.path,
    }))
}

/// Ends every running node of this name, and clears what dead ones of any name left. Returns how many ran.
///
/// # Errors
/// Something can't be removed.
pub fn down(name: &str) -> Result<usize> {
    let running = running(name)?;
    for found in &running {
        end(&found.path).with_context(|| found.path.display().to_string())?;
    }
    state::clear_dead(KIND, clear)?;
    Ok(running.len())
}

/// Remembers the name of the node, so that others find it.
pub(super) fn record_name(home: &Path, name: &str) -> Result<()> {
    fs::write(home.join("name"), name).context("name of the node")
}

/// Remembers the process with which the node ends.
pub(super) fn record_init(home: &Path, init: u32) -> Result<()> {
    fs::write(home.join("run/init.pid"), init.to_string()).context("init.pid")
}

/// What `clear.sh` needs to know of a node.
pub(super) fn environment(home: &Path, number: u8) -> Result<Vec<(&'static str, String)>> {
    let slot = Slot(number);
    let groups = cgroups::paths(&slot.group())?;
    let groups: Vec<String> = groups
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let work = home.display().to_string();
    Ok(vec![
        ("WORK", work),
        ("CGROUPS", groups.join(" ")),
        ("LINK_NAME", slot.interface()),
    ])
}

/// Removes what is left of a dead node.
pub(super) fn clear(home: &Path, number: u8) -> Result<()> {
    let mut bash = Command::new("bash");
    bash.args(["-c", CLEAR]).envs(environment(home, number)?);
    command::output(&mut bash)?;
    if home.exists() {
        bail!("{}: could not be removed", home.display());
    }
    Ok(())
}

/// Ends a running node and waits until its holder, or else this process, has cleared it.
fn end(home: &Path) -> Result<()> {
    let file = home.join("run/init.pid");
    // Not there yet in the first moments of a start, which this may interrupt.
    let init = wait::until(Duration::from_secs(5), &file.display().to_string(), || {
        fs::read_to_string(&file)
    })?;
    let init: i32 = init
        .trim()
        .parse()
        .with_context(|| file.display().to_string())?;
    // Never a process that only has the number.
    let mark = format!("WORK={}", home.display());
    let environment = fs::read(format!("/proc/{init}/environ")).unwrap_or_default();
    if environment
        .split(|&byte| byte == 0)
        .any(|variable| variable == mark.as_bytes())
    {
        kill(Pid::from_raw(init), Signal::SIGKILL).with_context(|| format!("kill {init}"))?;
    }
    wait::until(Duration::from_secs(30), "node ended and cleared", || {
        if home.exists() {
            state::clear_dead(KIND, clear)?;
        }
        ensure!(!home.exists(), "{} is there", home.display());
        Ok(())
    })
}

fn running(name: &str) -> Result<Vec<Found>> {
    let is_named = |found: &Found| {
        fs::read_to_string(found.path.join("name")).is_ok_and(|known| known == name)
    };
    let mut running = Vec::new();
    for found in state::list(KIND)?.into_iter().filter(is_named) {
        if found.is_alive()? {
            running.push(found);
        }
    }
    Ok(running)
}
