//! How tools that deploy see objects: kstatus, by which Flux and Helm wait, and health scripts of Argo CD, both run by the
//! Go program in `e2e/tools/health`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{build, cache};
use crate::command;
use crate::progress::Progress;

const MODULE_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/health");
/// Everything that the program is made from.
const SOURCES: [&str; 3] = [
    include_str!("../../tools/health/main.go"),
    include_str!("../../tools/health/go.mod"),
    include_str!("../../tools/health/go.sum"),
];

/// What one tool says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// A word of the tool's.
    pub status: String,
    /// For people.
    pub message: String,
}

/// What the tools say of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// `Current`, `InProgress`, `Failed`, `Terminating`.
    pub kstatus: Verdict,
    /// `Healthy`, `Progressing`, `Degraded`; absent without a script for the kind.
    pub argocd: Option<Verdict>,
}

/// Asks about objects as the API server has them. Scripts are in Lua, by `GROUP_KIND`.
///
/// # Errors
/// The program can't be built; an object has no kind; a script fails, or answers with no health.
pub fn judge(
    objects: &[Value],
    scripts: &BTreeMap<String, String>,
    progress: &dyn Progress,
) -> Result<Vec<Health>> {
    let question = json!({ "objects": objects, "scripts": scripts });
    let mut program = Command::new(path(progress)?);
    let answer = command::output_with_input(&mut program, &question.to_string())?;
    serde_json::from_str(&answer).context("the answer of health")
}

/// The path of the program, built where it is missing.
///
/// # Errors
/// Go is missing or failed.
pub fn path(progress: &dyn Progress) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for part in SOURCES {
        hash.update(part);
        hash.update([0]);
    }
    let key: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = cache::directory()?.join(format!("health-{key}"));
    let file = directory.join("health");
    if !file.is_file() {
        cache::produce(&directory, "health", progress, |output| {
            let mut go = build::go("build", Path::new(MODULE_DIR));
            go.args(["-trimpath", "-ldflags", "-s -w", "-o"])
                .arg(output)
                .arg(".");
            command::output(&mut go).context("building health needs Go (https://go.dev/dl)")?;
            Ok(())
        })?;
    }
    Ok(file)
}
