//! `outrigger explain injection`: whether a pod is injected, by which rule, and what would change it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace},
};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::api::{labels, metadata::Metadata, yaml};
use crate::cli::cluster::{Access, Cluster};
use crate::cli::inject::Settings;
use crate::inject::{
    Config,
    documents::{self, Found},
    explain::{self, ControlPlane, Explanation, Question, Registered, Verdict},
    webhooks::InjectionWebhook,
};

/// Arguments of `outrigger explain injection`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A pod of the cluster
    #[arg(value_name = "POD", required_unless_present = "filename")]
    pod: Option<String>,
    /// File with manifests of pods or workloads, their namespaces and webhook configurations, or `-`
    #[arg(short, long, value_name = "FILE", conflicts_with = "pod")]
    filename: Option<PathBuf>,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What is known around the pods that are explained.
struct Known {
    namespaces: BTreeMap<String, Metadata>,
    /// `None`: not known.
    webhooks: Option<Vec<InjectionWebhook>>,
    /// Settings by revision.
    configs: Vec<(String, Config)>,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let explained = match (&self.filename, &self.pod) {
            (Some(_), _) => self.of_file()?,
            (None, Some(pod)) => self.of_cluster(pod)?,
            (None, None) => bail!("name a pod, or a file with --filename"),
        };
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Text => {
                for (index, (shown, explanation)) in explained.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    write!(out, "{gap}{shown}: {explanation}")?;
                }
            }
            Output::Json => {
                let all: Vec<Value> = explained.iter().map(as_json).collect();
                writeln!(out, "{:#}", Value::Array(all))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn of_file(&self) -> anyhow::Result<Vec<(String, Explanation)>> {
        let path = self.filename.as_deref().unwrap_or("-".as_ref());
        let text = crate::cli::inject::read(path)?;
        let mut objects = Vec::new();
        for document in yaml::split(&text) {
            let value = yaml::parse(document.text).with_context(|| {
                format!("{}: document at line {}", path.display(), document.line)
            })?;
            objects.extend_from_slice(documents::objects(&value));
        }
        let known = Known {
            namespaces: namespaces(&objects),
            webhooks: webhooks(&objects)?,
            configs: vec![self.settings.by_revision()?],
        };
        let mut explained = Vec::new();
        for object in &objects {
            if let Some(found) = Found::of(object)? {
                let explanation = known.explain(found.pod, found.namespace);
                explained.push((found.shown.clone(), explanation.context(found.shown)?));
            }
        }
        if explained.is_empty() {
            bail!("{}: there is no pod and no workload in it", path.display());
        }
        Ok(explained)
    }

    fn of_cluster(&self, name: &str) -> anyhow::Result<Vec<(String, Explanation)>> {
        let cluster = self.access.connect()?;
        let pod = cluster.pod(name)?;
        let namespace = cluster.namespace.clone();
        let known = self.known_of(&cluster)?;
        let explanation = known.explain(&pod, &namespace)?;
        Ok(vec![(format!("Pod {namespace}/{name}"), explanation)])
    }

    /// Reads what lies around the pod. What may not be read is told, and taken as the chart makes it.
    fn known_of(&self, cluster: &Cluster) -> anyhow::Result<Known> {
        let name = &cluster.namespace;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let namespace = cluster
            .wait(namespaces.get(name))
            .with_context(|| format!("namespace {name:?}"))?;
        let metadata = Metadata::of(&serde_json::to_value(namespace)?);
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
        let listed = cluster.wait(configurations.list(&ListParams::default()));
        let webhooks = match listed {
            Ok(list) => {
                let objects: Result<Vec<Value>, _> =
                    list.items.iter().map(serde_json::to_value).collect();
                let mut webhooks = Vec::new();
                for object in &objects? {
                    webhooks.extend(InjectionWebhook::of(object)?);
                }
                Some(webhooks)
            }
            Err(error) => {
                eprintln!("cannot list webhook configurations, taking those of the chart: {error}");
                None
            }
        };
        let mut configs = Vec::new();
        for webhook in webhooks
            .iter()
            .flatten()
            .filter(|webhook| webhook.is_ours())
        {
            if configs.iter().all(|(known, _)| *known != webhook.revision) {
                configs.extend(settings_of(cluster, webhook)?);
            }
        }
        if configs.is_empty() {
            configs.push(self.settings.by_revision()?);
        }
        Ok(Known {
            namespaces: BTreeMap::from([(name.clone(), metadata)]),
            webhooks,
            configs,
        })
    }
}

/// The settings of the control plane that a webhook calls; `None`, and a remark, where they cannot be read.
fn settings_of(
    cluster: &Cluster,
    webhook: &InjectionWebhook,
) -> anyhow::Result<Option<(String, Config)>> {
    let name = match webhook.revision.as_str() {
        "default" => "outrigger".to_owned(),
        revision => format!("outrigger-{revision}"),
    };
    let place = format!("ConfigMap {}/{name}", webhook.control_plane);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &webhook.control_plane);
    let data = match cluster.wait(maps.get(&name)) {
        Ok(map) => map.data.unwrap_or_default(),
        Err(error) => {
            eprintln!("cannot read {place}: {error}");
            return Ok(None);
        }
    };
    let part = |key: &str| -> anyhow::Result<Value> {
        let text = data.get(key).map(String::as_str).unwrap_or_default();
        yaml::parse(text).with_context(|| format!("{place}: {key}"))
    };
    let (config, _) =
        Config::from_json(&part("values")?, &part("mesh")?, true).with_context(|| place.clone())?;
    Ok(Some((webhook.revision.clone(), config)))
}

impl Known {
    fn explain(&self, pod: &Value, namespace: &str) -> anyhow::Result<Explanation> {
        let own = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = own.unwrap_or(namespace);
        let named = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        // Without a Namespace among the files every namespace counts as enabled, as for `outrigger inject`.
        let (label, value) = match self.configs.first().map(|(revision, _)| revision.as_str()) {
            None | Some("default") => ("injection", "enabled"),
            Some(revision) => (labels::REVISION, revision),
        };
        let enabled = BTreeMap::from([(label.to_owned(), value.to_owned())]);
        let namespace_labels = self
            .namespaces
            .get(named)
            .map_or(&enabled, |metadata| &metadata.labels);
        let control_planes: Vec<_> = self
            .configs
            .iter()
            .map(|(revision, config)| ControlPlane { revision, config })
            .collect();
        let question = Question {
            pod,
            namespace,
            namespace_labels,
            control_planes: &control_planes,
            registered: match &self.webhooks {
                Some(webhooks) => Registered::Webhooks(webhooks),
                None => Registered::ByChart,
            },
        };
        Ok(explain::explain(&question)?)
    }
}

fn namespaces(objects: &[Value]) -> BTreeMap<String, Metadata> {
    objects
        .iter()
        .filter(|object| object["kind"] == "Namespace" && object["apiVersion"] == "v1")
        .map(Metadata::of)
        .map(|metadata| (metadata.name.clone(), metadata))
        .collect()
}

/// The injection webhooks among the objects; `None` where there is no configuration.
fn webhooks(objects: &[Value]) -> anyhow::Result<Option<Vec<InjectionWebhook>>> {
    let mut found = None;
    for object in objects {
        if object["kind"] == "MutatingWebhookConfiguration" {
            let webhooks = InjectionWebhook::of(object)?;
            found.get_or_insert_with(Vec::new).extend(webhooks);
        }
    }
    Ok(found)
}

fn as_json((shown, explanation): &(String, Explanation)) -> Value {
    let (revision, rule) = match &explanation.verdict {
        Verdict::Injected { revision, reason } | Verdict::LeftAlone { revision, reason } => {
            (json!(revision), json!(reason.as_str()))
        }
        Verdict::Refused { revision, .. } | Verdict::SomebodyElse { revision } => {
            (json!(revision), Value::Null)
        }
        Verdict::NotAsked | Verdict::Several => (Value::Null, Value::Null),
    };
    let seen: Vec<Value> = explanation
        .seen
        .iter()
        .map(|seen| json!({ "place": seen.place, "name": seen.name, "value": seen.value }))
        .collect();
    let webhooks: Vec<&str> = explanation
        .calls
        .iter()
        .map(|call| call.webhook.as_str())
        .collect();
    let changes: Vec<Value> = explanation
        .changes
        .iter()
        .map(|change| json!({ "do": change.what, "then": change.then.to_string() }))
        .collect();
    json!({
        "object": shown,
        "injected": explanation.is_injected(),
        "verdict": explanation.verdict.to_string(),
        "revision": revision,
        "rule": rule,
        "webhooks": webhooks,
        "seen": seen,
        "contradiction": explanation.contradiction,
        "changes": changes,
    })
}
