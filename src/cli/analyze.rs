//! `outrigger analyze`: what is wrong with manifests, before they are applied.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::manifests::{self, Document};
use crate::analysis::{Level, Message, Snapshot, diagnoses};
use crate::api::kind::Kind;
use crate::inject::policy::IGNORED_NAMESPACES;
use crate::world::{ObjectKey, Settings, World};

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
    /// Report on this namespace only; objects without a namespace belong to it [default: all, and "default"]
    #[arg(short, long)]
    namespace: Option<String>,
    /// Report on all namespaces (the default)
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Log)]
    output: Output,
    /// File with a MeshConfig
    #[arg(long, alias = "meshConfigFile", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each message
    Log,
    /// A JSON array
    Json,
}

impl Arguments {
    /// Analyses and prints; status 79 when there is an error among the messages.
    ///
    /// # Errors
    /// Nothing to read was named, a path cannot be read, or the mesh configuration is wrong.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let paths: Vec<PathBuf> = self.filenames.iter().chain(&self.paths).cloned().collect();
        anyhow::ensure!(
            !paths.is_empty(),
            "name the files or folders to analyse, or - for standard input"
        );
        let documents = manifests::read(&paths)?;
        let namespace = self.namespace.as_deref();
        let mut input = Input::new(self.settings()?, namespace.unwrap_or("default"));
        for (index, document) in documents.iter().enumerate() {
            input.take(index, document);
        }
        let findings = input.findings(&documents, namespace);
        match self.output {
            Output::Log => print_log(&findings)?,
            Output::Json => print_json(&findings)?,
        }
        let failed = findings.iter().any(|finding| finding.level == Level::Error);
        Ok(if failed {
            ExitCode::from(PROBLEMS_FOUND)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let Some(path) = &self.mesh_config else {
            return Ok(Settings::default());
        };
        let named = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(named)?;
        let config: Value = serde_saphyr::from_str(&text).with_context(named)?;
        Settings::of_mesh_config(&config).with_context(named)
    }
}

/// What is known after reading: the World, where each object came from, and what could not be taken into the World.
struct Input {
    world: World,
    default_namespace: String,
    origins: BTreeMap<ObjectKey, Origin>,
    unreadable: Vec<Finding>,
}

/// Where an object stands.
struct Origin {
    /// Index of its document.
    document: usize,
    /// The path of the object in the document: empty, or `items[3]` in a list.
    path: String,
}

/// A message with its place.
struct Finding {
    code: &'static str,
    level: Level,
    text: String,
    path: String,
    origin: String,
    reference: String,
}

impl Input {
    fn new(settings: Settings, default_namespace: &str) -> Input {
        Input {
            world: World::new(settings),
            default_namespace: default_namespace.to_owned(),
            origins: BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }

    fn take(&mut self, index: usize, document: &Document) {
        match document.parse() {
            Ok(Value::Null) => {}
            Ok(object) => self.take_object(index, document, String::new(), object),
            Err(error) => self.unreadable(document, error.line, error.text),
        }
    }

    fn take_object(&mut self, index: usize, document: &Document, path: String, mut object: Value) {
        let is_list = object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"));
        if is_list && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
            for (place, item) in items.into_iter().enumerate() {
                let path = if path.is_empty() {
                    format!("items[{place}]")
                } else {
                    format!("{path}.items[{place}]")
                };
                self.take_object(index, document, path, item);
            }
            return;
        }
        if self.default_namespace_applies(&object) {
            object["metadata"]["namespace"] = json!(self.default_namespace);
        }
        if object["metadata"]["namespace"]
            .as_str()
            .is_some_and(|namespace| IGNORED_NAMESPACES.contains(&namespace))
        {
            // The cluster's own objects are not for its users to mend.
            return;
        }
        match self.world.apply(&object) {
            Ok(Some(change)) => {
                self.origins.insert(
                    change.key,
                    Origin {
                        document: index,
                        path,
                    },
                );
            }
            Ok(None) => {}
            Err(error) => self.unreadable(document, document.line_of(&path), error.to_string()),
        }
    }

    fn default_namespace_applies(&self, object: &Value) -> bool {
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        let namespaced =
            Kind::of(text("apiVersion"), text("kind")).is_some_and(Kind::is_namespaced);
        let metadata = &object["metadata"];
        namespaced
            && metadata.is_object()
            && metadata["namespace"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
    }

    fn unreadable(&mut self, document: &Document, line: usize, text: String) {
        self.unreadable.push(Finding {
            code: diagnoses::INVALID.code,
            level: diagnoses::INVALID.level,
            text,
            path: String::new(),
            origin: format!("File {}", document.file),
            reference: format!("{}:{line}", document.file),
        });
    }

    fn findings(mut self, documents: &[Document], namespace: Option<&str>) -> Vec<Finding> {
        let snapshot = Snapshot::new(std::mem::take(&mut self.world));
        let concerned = |message: &&Message| {
            namespace.is_none_or(|wanted| {
                let of = if message.object.kind == Kind::Namespace {
                    &message.object.name
                } else {
                    &message.object.namespace
                };
                &**of == wanted
            })
        };
        let said = snapshot
            .all_messages()
            .into_iter()
            .filter(concerned)
            .map(|message| Finding {
                code: message.code,
                level: message.level,
                text: message.text.clone(),
                path: message.path.clone(),
                origin: message.object.to_string(),
                reference: self
                    .origins
                    .get(&message.object)
                    .map_or_else(String::new, |origin| {
                        let document = &documents[origin.document];
                        format!(
                            "{}:{}",
                            document.file,
                            document.line_of(&origin.path_of(&message.path))
                        )
                    }),
            });
        let mut findings: Vec<Finding> = said.collect();
        findings.splice(0..0, self.unreadable);
        findings
    }
}

impl Origin {
    fn path_of(&self, field: &str) -> String {
        let dot = if self.path.is_empty() || field.is_empty() {
            ""
        } else {
            "."
        };
        format!("{}{dot}{field}", self.path)
    }
}

fn print_log(findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let colour = out.is_terminal();
    for finding in findings {
        let level = match (colour, finding.level) {
            (false, level) => level.to_string(),
            (true, Level::Error) => format!("\x1b[1;31m{}\x1b[0m", finding.level),
            (true, Level::Warning) => format!("\x1b[33m{}\x1b[0m", finding.level),
            (true, Level::Info) => format!("\x1b[32m{}\x1b[0m", finding.level),
        };
        let place = if finding.reference.is_empty() {
            String::new()
        } else {
            format!(" {}", finding.reference)
        };
        let colon = if finding.path.is_empty() { "" } else { ": " };
        writeln!(
            out,
            "{level} [{}] ({}{place}) {}{colon}{}",
            finding.code, finding.origin, finding.path, finding.text
        )?;
    }
    if findings.is_empty() {
        eprintln!("No problems found.");
    }
    Ok(())
}

fn print_json(findings: &[Finding]) -> anyhow::Result<()> {
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code,
                "level": finding.level.as_str(),
                "message": finding.text,
                "origin": finding.origin,
                "path": finding.path,
                "reference": finding.reference,
            })
        })
        .collect();
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &list)?;
    writeln!(out)?;
    Ok(())
}
