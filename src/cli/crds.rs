//! `outrigger crds`: prints the CustomResourceDefinitions, or writes them into a directory.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::api::crd;
use crate::api::kind::Kind;

/// Prints the CustomResourceDefinitions of networking.istio.io as YAML.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write one file per kind (such as virtualservices.yaml) into this directory, which must exist, instead of printing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Arguments {
    /// Prints or writes the definitions.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut stdout = std::io::stdout().lock();
        for (name, text) in files()? {
            match &self.dir {
                Some(dir) => {
                    let path = dir.join(name);
                    std::fs::write(&path, text)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                None => write!(stdout, "---\n{text}").context("cannot write to stdout")?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// File names and contents of `crds/`, one for each kind.
pub fn files() -> anyhow::Result<Vec<(String, String)>> {
    let definitions = Kind::ISTIO
        .into_iter()
        .filter_map(|kind| Some((kind, crd::definition(kind)?)));
    definitions
        .map(|(kind, definition)| {
            let yaml = serde_saphyr::to_string(&definition)
                .with_context(|| format!("the definition of {kind} has no YAML form"))?;
            Ok((format!("{}.yaml", kind.plural()), yaml))
        })
        .collect()
}
