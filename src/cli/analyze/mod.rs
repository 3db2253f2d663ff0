//! `outrigger analyze`: what is wrong with manifests, before they are applied, or with what a cluster holds.

mod finding;
mod github;
mod input;
mod machine;
mod report;
mod sarif;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

use super::cluster::{Access, Cluster};
use super::manifests::{self, Document};
use crate::analysis::{Level, diagnoses, examples};
use crate::api::kind::Kind;
use crate::world::{Settings, World};

use finding::{Finding, Findings, Suppression};
use input::Input;

/// The exit status that says that problems were found; Istio's.
const PROBLEMS_FOUND: u8 = 79;

/// Analyse manifests: validity of each object, and what they say about each other
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files and folders with manifests; - reads standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The same, as kubectl takes them
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    filenames: Vec<PathBuf>,
    /// Report on all namespaces (the default)
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Analyse the cluster, with the files laid over it
    #[arg(short = 'k', long = "kube", alias = "use-kube")]
    kube: bool,
    #[command(flatten)]
    access: Access,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Log)]
    output: Output,
    /// When to colour the log
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// Exit with status 79 when a message is at least as bad
    #[arg(long, value_enum, ignore_case = true, default_value_t = Threshold::Error, value_name = "LEVEL")]
    failure_threshold: Threshold,
    /// Leave out messages that are less bad
    #[arg(long, value_enum, ignore_case = true, default_value_t = Threshold::Info, value_name = "LEVEL")]
    output_threshold: Threshold,
    /// Leave out a code for the objects that a pattern matches, such as IST0103="Pod shop/*"; may be repeated
    #[arg(short = 'S', long, value_name = "CODE=PATTERN")]
    suppress: Vec<Suppression>,
    /// File with a MeshConfig; without it that of the cluster (--kube), or defaults
    #[arg(long, alias = "meshConfigFile", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Each message with the line that it is about, what traffic does, and the cure
    Log,
    /// A JSON array
    Json,
    /// The same as YAML
    Yaml,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub's workflows
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Threshold {
    Error,
    Warning,
    Info,
}

impl Threshold {
    fn level(self) -> Level {
        match self {
            Threshold::Error => Level::Error,
            Threshold::Warning => Level::Warning,
            Threshold::Info => Level::Info,
        }
    }

    fn is_reached_by(self, finding: &Finding<'_>) -> bool {
        finding.level <= self.level()
    }
}

/// What is said about documents under one code, as the log has it.
pub(super) fn example(documents: &[Document], code: &str) -> String {
    let mut input = Input::new(examples::world(), "default");
    input.take_all(documents);
    let mut findings = input.findings(documents, None);
    findings.said.retain(|finding| finding.code == code);
    report::rendered(&findings.said, false)
}

impl Arguments {
    /// Analyses and prints; status 79 when a message reaches the failure threshold.
    ///
    /// # Errors
    /// Nothing to read was named, a path cannot be read, the mesh configuration is wrong, or the cluster does not answer.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let paths: Vec<PathBuf> = self.filenames.iter().chain(&self.paths).cloned().collect();
        anyhow::ensure!(
            !paths.is_empty() || self.kube,
            "name the files or folders to analyse, - for standard input, or --kube for the cluster"
        );
        for suppression in &self.suppress {
            if !diagnoses::ALL.iter().any(|it| it.code == suppression.code) {
                eprintln!(
                    "outrigger: --suppress: there is no code {}",
                    suppression.code
                );
            }
        }
        let documents = manifests::read(&paths)?;
        let cluster = self.kube.then(|| self.access.connect()).transpose()?;
        let namespace = self.access.namespace.as_deref();
        let default_namespace = match &cluster {
            Some(cluster) => &cluster.namespace,
            None => namespace.unwrap_or("default"),
        };
        let world = self.world(cluster.as_ref())?;
        let mut input = Input::new(world, default_namespace);
        input.take_all(&documents);
        let mut findings = input.findings(&documents, namespace);
        findings.suppress(&self.suppress);
        let failed = findings
            .said
            .iter()
            .any(|it| self.failure_threshold.is_reached_by(it));
        findings
            .said
            .retain(|finding| self.output_threshold.is_reached_by(finding));
        self.print(&findings)?;
        Ok(if failed {
            ExitCode::from(PROBLEMS_FOUND)
        } else {
            ExitCode::SUCCESS
        })
    }

    /// The World that the files are laid over: empty, or the cluster's.
    fn world(&self, cluster: Option<&Cluster>) -> anyhow::Result<World> {
        let settings = self.settings()?;
        let world = if let Some(cluster) = cluster {
            let (mut world, mut denied) = cluster.load(Kind::cluster_wide())?;
            let secrets = world
                .keys(Kind::Pod)
                .into_iter()
                .map(|pod| pod.namespace)
                .collect();
            denied.extend(cluster.load_secrets(&mut world, &secrets)?);
            for denied in denied {
                let place = denied
                    .namespace
                    .map_or_else(String::new, |name| format!(" in {name}"));
                eprintln!(
                    "outrigger: not analysed: {}{place}: {}",
                    denied.kind.plural(),
                    denied.why
                );
            }
            world
        } else {
            World::new(Settings::default())
        };
        let world = match settings {
            Some(settings) => world.with_settings(settings),
            None => world,
        };
        Ok(world.at(Timestamp::now()))
    }

    fn settings(&self) -> anyhow::Result<Option<Settings>> {
        let Some(path) = &self.mesh_config else {
            return Ok(None);
        };
        let named = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(named)?;
        let config: Value = serde_saphyr::from_str(&text).with_context(named)?;
        Settings::of_mesh_config(&config)
            .map(Some)
            .with_context(named)
    }

    fn print(&self, findings: &Findings<'_>) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let text = match self.output {
            Output::Log => report::rendered(&findings.said, self.is_coloured(out.is_terminal())),
            Output::Json => machine::json(&findings.said)?,
            Output::Yaml => machine::yaml(&findings.said)?,
            Output::Sarif => sarif::log(findings)?,
            Output::Github => github::annotations(&findings.said),
        };
        out.write_all(text.as_bytes())?;
        eprintln!("{}", report::summary(findings));
        Ok(())
    }

    fn is_coloured(&self, terminal: bool) -> bool {
        match self.color {
            Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
            Colour::Always => true,
            Colour::Never => false,
        }
    }
}

#[cfg(test)]
mod tests;
