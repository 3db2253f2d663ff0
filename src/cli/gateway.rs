//! `outrigger gateway`: what became of Gateways.

mod table;
mod tree;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

use super::cluster::Access;
use super::manifests;
use crate::analysis::conditions::{Condition, PORTS_EXPOSED, desired};
use crate::analysis::credentials::Outcome;
use crate::analysis::gateway_status::GatewayStatus;
use crate::analysis::{Message, Snapshot};
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

/// What became of Gateways: their ports, certificates and routes
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Servers, ports, certificates and routes of Gateways, and what is missing
    Status(Status),
}

/// Servers, ports, certificates and routes of Gateways, and what is missing
#[derive(Debug, clap::Args)]
struct Status {
    /// The Gateway, or NAMESPACE/NAME [default: all of the namespace]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Files and folders with manifests instead of a cluster; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    filenames: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table for each Gateway
    Table,
    /// A JSON array
    Json,
    /// The same as YAML
    Yaml,
}

impl Arguments {
    /// Prints.
    ///
    /// # Errors
    /// The cluster or a file cannot be read, or the Gateway that was named is not there.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Status(status) => status.run(),
        }
    }
}

/// A Gateway as it is shown.
struct Shown {
    status: GatewayStatus,
    conditions: Vec<Condition>,
    missing: Vec<Message>,
    /// What only the control plane knows, because it is the one that writes: its own condition about ports.
    told: Option<Condition>,
}

impl Status {
    fn run(self) -> anyhow::Result<ExitCode> {
        let now = Timestamp::now();
        let (snapshot, context) = if self.filenames.is_empty() {
            self.cluster(now)?
        } else {
            (Snapshot::new(self.files(now)?), "default".to_owned())
        };
        let shown: Vec<Shown> = self
            .selected(&snapshot, &context)?
            .iter()
            .filter_map(|key| Shown::of(&snapshot, key))
            .collect();
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Table => write!(out, "{}", table::of(&shown, now))?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, &tree::of(&shown, now))?;
                writeln!(out)?;
            }
            Output::Yaml => write!(out, "{}", serde_saphyr::to_string(&tree::of(&shown, now))?)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The keys of the Gateways that were asked for.
    fn selected(&self, snapshot: &Snapshot, context: &str) -> anyhow::Result<Vec<ObjectKey>> {
        let flag = self.access.namespace.as_deref();
        let Some(name) = &self.name else {
            let mut keys = snapshot.world().keys(Kind::Gateway);
            keys.retain(|key| flag.is_none_or(|namespace| *key.namespace == *namespace));
            if keys.is_empty() {
                let place = flag.map_or_else(String::new, |flag| format!(" in namespace {flag}"));
                eprintln!("No Gateways{place}.");
            }
            return Ok(keys);
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None => (flag.unwrap_or(context), name.as_str()),
        };
        let key = ObjectKey::new(Kind::Gateway, namespace, name);
        anyhow::ensure!(snapshot.world().contains(&key), "there is no {key}");
        Ok(vec![key])
    }

    /// A cluster, with the Secrets of the namespaces that the Gateways need.
    fn cluster(&self, now: Timestamp) -> anyhow::Result<(Snapshot, String)> {
        let cluster = self.access.connect()?;
        let (world, denied) = cluster.load(Kind::cluster_wide())?;
        for denied in denied {
            eprintln!(
                "outrigger: {} were left out: {}",
                denied.kind.plural(),
                denied.why
            );
        }
        let mut world = world.at(now);
        let before = Snapshot::new(world.clone());
        let namespaces: BTreeSet<Arc<str>> = self
            .selected(&before, &cluster.namespace)?
            .iter()
            .filter_map(|key| GatewayStatus::of(&before, key))
            .flat_map(|status| status.servers)
            .flat_map(|server| server.credentials)
            .filter(|credential| matches!(credential.outcome, Outcome::Unread(_)))
            .map(|credential| Arc::clone(&credential.secret.namespace))
            .collect();
        cluster.load_secrets(&mut world, &namespaces)?;
        Ok((Snapshot::new(world), cluster.namespace.clone()))
    }

    fn files(&self, now: Timestamp) -> anyhow::Result<World> {
        let mut world = World::default().at(now);
        let namespace = self.access.namespace.as_deref().unwrap_or("default");
        for document in manifests::read(&self.filenames)? {
            let place = |line: usize| format!("{}:{line}", document.file);
            let object = document
                .parse()
                .map_err(|error| anyhow::anyhow!("{}: {}", place(error.line), error.text))?;
            take(&mut world, object, namespace).with_context(|| place(document.line))?;
        }
        Ok(world)
    }
}

/// Takes an object, or the items of a list, into a World.
fn take(world: &mut World, mut object: Value, namespace: &str) -> anyhow::Result<()> {
    if object.is_null() {
        return Ok(());
    }
    if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
        return items
            .into_iter()
            .try_for_each(|item| take(world, item, namespace));
    }
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let is_namespaced = Kind::of(text("apiVersion"), text("kind")).is_some_and(Kind::is_namespaced);
    let metadata = &mut object["metadata"];
    if is_namespaced
        && metadata.is_object()
        && metadata["namespace"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
    {
        metadata["namespace"] = namespace.into();
    }
    world.apply(&object)?;
    Ok(())
}

impl Shown {
    fn of(snapshot: &Snapshot, key: &ObjectKey) -> Option<Shown> {
        let status = GatewayStatus::of(snapshot, key)?;
        let messages = snapshot.messages(key);
        let conditions = desired(messages, &snapshot.standing(key));
        let is_false = |condition: &Condition| condition.status == "False";
        let own = conditions
            .iter()
            .find(|condition| condition.kind == PORTS_EXPOSED);
        let told = Condition::read(snapshot.world().status(key).as_ref(), PORTS_EXPOSED)
            .filter(|told| is_false(told) && !own.is_some_and(is_false));
        Some(Shown {
            status,
            missing: messages.to_vec(),
            conditions,
            told,
        })
    }
}

#[cfg(test)]
mod tests;
