//! Outrigger's own programs as its images carry them: release builds, static.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use crate::command;
use crate::progress::{Progress, step};

/// The root of the source tree.
pub const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// The control plane.
    pub fn outriggerd(&self) -> PathBuf {
        self.directory.join("outriggerd")
    }

    /// What runs in every pod.
    pub fn agent(&self) -> PathBuf {
        self.directory.join("outrigger-agent")
    }

    /// The command line.
    pub fn outrigger(&self) -> PathBuf {
        self.directory.join("outrigger")
    }

    /// The bookinfo application of the demo.
    pub fn bookinfo(&self) -> PathBuf {
        self.directory.join("bookinfo")
    }

    /// The application of the tests of injected pods.
    pub fn workload(&self) -> PathBuf {
        self.directory.join("workload")
    }
}

/// One run of cargo. The agent is made alone: in a joint build it would get the features of the others,
/// and with them a Kubernetes client.
struct Build {
    what: &'static str,
    arguments: &'static [&'static str],
}

const BUILDS: &[Build] = &[
    Build {
        what: "build outriggerd, outrigger, bookinfo, workload",
        arguments: &[
            "--package=outrigger",
            "--package=outrigger-e2e",
            "--no-default-features",
            "--features=outrigger/control,outrigger/cli",
            "--bin=outriggerd",
            "--bin=outrigger",
            "--bin=bookinfo",
            "--bin=workload",
        ],
    },
    Build {
        what: "build outrigger-agent",
        arguments: &[
            "--package=outrigger",
            "--no-default-features",
            "--features=agent",
            "--bin=outrigger-agent",
        ],
    },
];

/// Builds the programs from the source tree, once per process.
///
/// # Errors
/// Cargo could not be run, or failed: with what it wrote. The same for every caller.
pub fn build(progress: &dyn Progress) -> Result<Binaries> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_all(progress).map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("{error}"))
}

fn build_all(progress: &dyn Progress) -> Result<Binaries> {
    let host = host_triple()?;
    // Apart from the builds that people make, which have other flags; beside them, so that it is ignored
    // and removed as they are.
    let target = Path::new(SOURCE).join("target/static");
    for build in BUILDS {
        let mut cargo = Command::new(cargo());
        // Naming the target keeps the static flag away from build scripts and procedural macros.
        cargo.args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            &host,
            "--target-dir",
        ]);
        cargo.arg(&target).args(build.arguments).current_dir(SOURCE);
        cargo
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        step(progress, build.what, || command::output(&mut cargo))?;
    }
    Ok(Binaries {
        directory: target.join(host).join("release"),
    })
}

fn host_triple() -> Result<String> {
    let version = command::output(
        Command::new("rustc")
            .args(["--version", "--verbose"])
            .current_dir(SOURCE),
    )?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc --version --verbose names no host")?
        .to_owned())
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
