//! What a test needs of the machine. A test that can't run says so on stderr, in one line that the test
//! harness does not swallow:
//!
//! ```no_run
//! # fn a_test() {
//! let Ok(()) = outrigger_e2e::requires::node() else { return };
//! # }
//! ```
//!
//! With `OUTRIGGER_REQUIRE_ALL=1` (where a machine is known to have everything) it fails instead.

use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use crate::command;
use crate::packages::{self, Need};
use crate::progress::Lines;

/// The test that asked can't run on this machine; it was told on stderr why.
#[derive(Debug)]
#[must_use = "the test must return"]
pub struct Skipped;

/// Needs to be root.
///
/// # Errors
/// Where this process is not.
///
/// # Panics
/// Instead of the error, with `OUTRIGGER_REQUIRE_ALL=1`.
#[track_caller]
pub fn root() -> Result<(), Skipped> {
    answer(&am_root())
}

/// Needs network namespaces, `ip` and iptables.
///
/// # Errors
/// Where they can't be had.
///
/// # Panics
/// Instead of the error, with `OUTRIGGER_REQUIRE_ALL=1`.
#[track_caller]
pub fn network_namespaces() -> Result<(), Skipped> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    answer(ANSWER.get_or_init(|| {
        am_root()?;
        install(Need::Network)?;
        unshare(&["--net"])
    }))
}

/// Needs all that [`crate::cluster::Node`] does.
///
/// # Errors
/// Where that can't be had.
///
/// # Panics
/// Instead of the error, with `OUTRIGGER_REQUIRE_ALL=1`.
#[track_caller]
pub fn node() -> Result<(), Skipped> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    answer(ANSWER.get_or_init(node_possible))
}

/// Whether a node can run on this machine, without a test that asks; else the reason.
///
/// # Errors
/// The reason, as a phrase.
pub fn node_possible() -> Result<(), String> {
    am_root()?;
    install(Need::Node)?;
    unshare(&["--net", "--mount", "--pid", "--fork"])
}

fn am_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err("needs root".into())
    }
}

fn install(need: Need) -> Result<(), String> {
    packages::ensure(need, packages::Install::Allowed, &Lines).map_err(|error| format!("{error:#}"))
}

fn unshare(namespaces: &[&str]) -> Result<(), String> {
    let attempt = command::output(Command::new("unshare").args(namespaces).arg("true"));
    attempt
        .map(drop)
        .map_err(|error| format!("needs namespaces ({})", error.stderr()))
}

#[track_caller]
fn answer(outcome: &Result<(), String>) -> Result<(), Skipped> {
    let Err(reason) = outcome else { return Ok(()) };
    skip(reason);
    Err(Skipped)
}

/// Says that the test that calls can't run, for a reason that it found out itself.
///
/// # Panics
/// With `OUTRIGGER_REQUIRE_ALL=1`.
#[track_caller]
pub fn skip(reason: &str) {
    let all_required = std::env::var_os("OUTRIGGER_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        !all_required,
        "OUTRIGGER_REQUIRE_ALL=1, and the test can't run: {reason}"
    );
    // The harness names each test's thread after the test.
    let current = thread::current();
    let line = format!(
        "skipped: {}: {reason}\n",
        current.name().unwrap_or("unnamed test")
    );
    // Not `eprintln!`, which the harness captures. Without a stderr there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
