//! `outrigger inject`: what the webhook would do to the workloads of a file.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{
    api::{mesh::MeshConfig, yaml},
    inject::{Config, documents, values::Values},
};

/// Arguments of `outrigger inject`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File with manifests, or `-` for stdin
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

/// The settings of injection, from files.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// File with values of the injection, under the keys of Istio's Helm charts
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// File with Istio's MeshConfig
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// Whether every kubelet runs native sidecars (Kubernetes 1.33 or newer)
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    native_sidecars: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Yaml,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = read(&self.filename)?;
        let config = self.settings.config()?;
        let injected = documents::inject(&config, &text)
            .with_context(|| self.filename.display().to_string())?;
        for remark in injected.remarks {
            eprintln!("{remark}");
        }
        match self.output {
            Output::Yaml => io::stdout().write_all(injected.text.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Settings {
    /// Reads them; what has no effect is told on stderr.
    pub fn config(&self) -> anyhow::Result<Config> {
        let values = read_map(self.values.as_deref())?;
        let values =
            Values::over_defaults(&values.into()).with_context(|| shown(self.values.as_deref()))?;
        let mesh = read_map(self.mesh_config.as_deref())?;
        let mesh =
            MeshConfig::from_fields(mesh).with_context(|| shown(self.mesh_config.as_deref()))?;
        let (config, problems) = Config::new(values, mesh, self.native_sidecars);
        for problem in problems {
            eprintln!("warning: {problem}");
        }
        Ok(config)
    }

    /// The same, with the name of the revision that they are of.
    pub fn by_revision(&self) -> anyhow::Result<(String, Config)> {
        let config = self.config()?;
        Ok((config.revision().to_owned(), config))
    }
}

fn shown(path: Option<&Path>) -> String {
    path.unwrap_or(Path::new("built-in defaults"))
        .display()
        .to_string()
}

/// The text of a file, or of stdin for `-`.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("stdin")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn read_map(path: Option<&Path>) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let Some(path) = path else {
        return Ok(serde_json::Map::new());
    };
    yaml::parse_map(&read(path)?)
        .map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))
}
