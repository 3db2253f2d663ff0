//! Building a program of the table, and the key of everything it is built from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{KUBERNETES_VERSION, Source, TOOLS, cache};
use crate::command;
use crate::progress::Progress;

const GO_MOD: &str = include_str!("../../tools/go.mod");
const GO_SUM: &str = include_str!("../../tools/go.sum");
const MODULE_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools");
const C_FLAGS: &[&str] = &["-static", "-Os", "-s"];

/// Name of the cache directory: changes with the pins, their sums, the flags and the platform.
pub(super) fn key() -> String {
    let mut hash = Sha256::new();
    let platform = [std::env::consts::OS, std::env::consts::ARCH];
    for part in [GO_MOD, GO_SUM, &link_flags(), &C_FLAGS.join(" ")]
        .into_iter()
        .chain(platform)
    {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Builds `name` into `bin`.
pub(super) fn build(name: &str, bin: &Path, progress: &dyn Progress) -> Result<()> {
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        bail!(
            "{name} is none of the cluster's programs: {}",
            names.join(", ")
        );
    };
    cache::produce(bin, name, progress, |partial| match tool.source {
        Source::Go(package) => go_build(package, partial),
        Source::C(module, file) => c_build(module, file, partial),
    })
}

fn go_build(package: &str, output: &Path) -> Result<()> {
    let mut go = go("build", Path::new(MODULE_DIR));
    go.args(["-trimpath", "-ldflags", &link_flags(), "-o"])
        .arg(output)
        .arg(package);
    command::output(&mut go).with_context(needs_go)?;
    Ok(())
}

fn c_build(module: &str, file: &str, output: &Path) -> Result<()> {
    let source =
        command::output(go("mod", Path::new(MODULE_DIR)).args(["download", "-json", module]))
            .with_context(needs_go)?;
    let source: serde_json::Value =
        serde_json::from_str(&source).context("go mod download -json")?;
    let directory = source["Dir"]
        .as_str()
        .context("go mod download -json: no Dir")?;
    let mut cc = Command::new("cc");
    cc.args(C_FLAGS)
        .arg("-o")
        .arg(output)
        .arg(Path::new(directory).join(file));
    command::output(&mut cc).context("building pause needs a C compiler and a static C library")?;
    Ok(())
}

/// `go SUBCOMMAND` in a module, free of what the user's environment says about other modules.
pub(super) fn go(subcommand: &str, module: &Path) -> Command {
    let mut go = Command::new("go");
    go.arg(subcommand).current_dir(module);
    go.env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly");
    go
}

fn needs_go() -> String {
    let version = GO_MOD
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .unwrap_or_default();
    format!("building Kubernetes from source needs Go {version} or later (https://go.dev/dl)")
}

/// No symbol tables, and the version that kubectl and the API server show.
fn link_flags() -> String {
    let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion={KUBERNETES_VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_flags_carry_the_version() {
        assert!(link_flags().ends_with(
            "version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
        ));
    }
}
