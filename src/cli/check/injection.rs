//! `outrigger check injection`: pods that should have a proxy and have none, or an old one.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::api::kind::Kind;
use crate::api::yaml;
use crate::audit::{self, Finding};
use crate::cli::cluster::{Access, Cluster};
use crate::cli::inject::Settings;
use crate::cli::manifests;
use crate::inject::{Config, nodes};
use crate::world::{self, World};

/// The exit status that says that pods were found; as that of `outrigger analyze`.
const FOUND: u8 = 79;

/// Arguments of `outrigger check injection`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files and folders with pods and namespaces, instead of a cluster; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    filenames: Vec<PathBuf>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// The revision of the control plane whose pods are looked at [default: the one without a name]
    #[arg(long, value_name = "REVISION", default_value = "")]
    revision: String,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each pod
    Table,
    /// A JSON array
    Json,
    /// The same as YAML
    Yaml,
}

impl Arguments {
    /// Looks and prints; status 79 when a pod was found.
    ///
    /// # Errors
    /// The files or the cluster cannot be read.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (findings, namespace) = if self.filenames.is_empty() {
            let cluster = self.access.connect()?;
            (self.of_cluster(&cluster)?, Some(cluster.namespace))
        } else {
            (self.of_files()?, self.access.namespace.clone())
        };
        let namespace = namespace.filter(|_| !self.all_namespaces);
        let findings: Vec<Finding> = findings
            .into_iter()
            .filter(|found| {
                let wanted = namespace.as_deref();
                wanted.is_none_or(|namespace| *found.pod.namespace == *namespace)
            })
            .collect();
        print(self.output, &findings)?;
        Ok(if findings.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FOUND)
        })
    }

    fn of_files(&self) -> anyhow::Result<Vec<Finding>> {
        let mut config = self.settings.config()?;
        config.values.revision.clone_from(&self.revision);
        let mut world = World::new(world::Settings::default());
        for document in manifests::read(&self.filenames)? {
            let object = document.parse().map_err(|error| {
                anyhow::anyhow!("{}:{}: {}", document.file, error.line, error.text)
            })?;
            take(&mut world, object)
                .with_context(|| format!("{}:{}", document.file, document.line))?;
        }
        Ok(audit::findings(&world, &config))
    }

    fn of_cluster(&self, cluster: &Cluster) -> anyhow::Result<Vec<Finding>> {
        let config = self.config_of(cluster)?;
        let (world, denied) = cluster.load([Kind::Namespace, Kind::Pod, Kind::ProxyConfig])?;
        for denied in denied {
            anyhow::ensure!(
                denied.kind == Kind::ProxyConfig,
                "{} may not be listed: {}",
                denied.kind.plural(),
                denied.why
            );
        }
        Ok(audit::findings(&world, &config))
    }

    /// The settings of the control plane, or those of the flags where it has none that may be read.
    fn config_of(&self, cluster: &Cluster) -> anyhow::Result<Config> {
        let name = match self.revision.as_str() {
            "" => "outrigger".to_owned(),
            revision => format!("outrigger-{revision}"),
        };
        let Some(data) = cluster.config_map(&name)? else {
            eprintln!(
                "no ConfigMap {name} in the control plane's namespace (--istio-namespace): taking the settings of the flags"
            );
            return self.settings.config();
        };
        let part = |key: &str| -> anyhow::Result<Value> {
            let text = data.get(key).map(String::as_str).unwrap_or_default();
            yaml::parse(text)
                .map_err(|error| anyhow::anyhow!("ConfigMap {name}: {key}: {}", error.problem))
        };
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let native = match cluster.wait(nodes.list(&ListParams::default())) {
            Ok(nodes) => nodes.items.iter().all(runs_native_sidecars),
            Err(error) => {
                eprintln!("cannot list nodes, so layouts are not compared: {error}");
                false
            }
        };
        let (config, _) = Config::from_json(&part("values")?, &part("mesh")?, native)
            .with_context(|| format!("ConfigMap {name}"))?;
        Ok(config)
    }
}

fn runs_native_sidecars(node: &Node) -> bool {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    info.is_some_and(|info| nodes::runs_native_sidecars(&info.kubelet_version))
}

/// Takes an object, or those of a list, into the World.
fn take(world: &mut World, mut object: Value) -> anyhow::Result<()> {
    if object.is_null() {
        return Ok(());
    }
    let is_list = object["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    if is_list && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
        return items.into_iter().try_for_each(|item| take(world, item));
    }
    if object["kind"] == "Pod" && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!("default");
    }
    world.apply(&object)?;
    Ok(())
}

fn print(output: Output, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Table => {
            if findings.is_empty() {
                eprintln!("Every pod that should have a proxy has the one that it would get now.");
                return Ok(());
            }
            let rows: Vec<[String; 5]> = findings.iter().map(row).collect();
            let header = ["NAMESPACE", "POD", "OWNER", "PROBLEM", "WHAT"].map(str::to_owned);
            let rows: Vec<&[String; 5]> = std::iter::once(&header).chain(&rows).collect();
            let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
            let widths: Vec<usize> = (0..4).filter_map(width).collect();
            for row in &rows {
                for (cell, width) in row.iter().zip(&widths) {
                    write!(out, "{cell:<width$}  ")?;
                }
                writeln!(out, "{}", row[4])?;
            }
        }
        Output::Json => {
            let list: Vec<Value> = findings.iter().map(as_json).collect();
            serde_json::to_writer_pretty(&mut out, &list)?;
            writeln!(out)?;
        }
        Output::Yaml => {
            let list: Vec<Value> = findings.iter().map(as_json).collect();
            write!(out, "{}", serde_saphyr::to_string(&list)?)?;
        }
    }
    Ok(())
}

fn row(found: &Finding) -> [String; 5] {
    let owner = found.controller.as_ref();
    [
        found.pod.namespace.to_string(),
        found.pod.name.to_string(),
        owner.map_or_else(
            || "-".to_owned(),
            |owner| format!("{}/{}", owner.kind, owner.name),
        ),
        found.problem.as_str().to_owned(),
        found.problem.to_string(),
    ]
}

fn as_json(found: &Finding) -> Value {
    let owner = found.controller.as_ref();
    json!({
        "namespace": &*found.pod.namespace,
        "pod": &*found.pod.name,
        "owner": owner.map(|owner| json!({ "kind": owner.kind, "name": owner.name })),
        "problem": found.problem.as_str(),
        "message": found.problem.to_string(),
        "rule": found.reason.as_str(),
    })
}
