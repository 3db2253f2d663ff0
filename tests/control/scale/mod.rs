//! The promises of `docs/performance.md`, measured with the program as it is released:
//! `cargo test --test integration -- --ignored --nocapture control::scale`.

mod burst;
mod large;
mod start;

use std::time::Instant;

use outrigger::api::kind::Kind;
use outrigger_e2e::binaries;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::json;

use super::bulk::{self, Bulk};
use super::daemon::Daemon;
use super::*;

const MIB: f64 = (1 << 20) as f64;
const WRITES: &str = "outrigger_status_writes_total";
const NO_OPS: &str = "outrigger_status_no_ops_total";
const CONFLICTS: &str = "outrigger_status_conflicts_total";
const FAILURES: &str = "outrigger_status_failures_total";

/// For one measurement at a time: each has a cluster of its own, and the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program as it is released.
fn released() -> PathBuf {
    binaries::build(&Lines).unwrap().outriggerd()
}

/// Resident memory of a process in bytes: `VmRSS`, or the most that it ever had, `VmHWM`.
pub fn memory(daemon: &Daemon, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let text = line.unwrap().trim_start_matches(':').trim();
    let kib: f64 = text.trim_end_matches(" kB").parse().unwrap();
    kib * 1024.0
}

/// Whether an object's condition of a type has this status, for its current generation.
fn says(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_ok_and(|found| found.0 == status)
}
