//! `charts/outrigger`: what it renders, and what installing, upgrading and removing it does to a real API server.

mod lifecycle;
mod rendering;
mod selectors;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use outrigger_e2e::command::{self, CommandError};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::tools;
use serde_json::Value;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/outrigger");
const NAMESPACE: &str = "outrigger-system";

/// Runs helm away from any cluster.
fn helm(arguments: &[&str]) -> Result<String, CommandError> {
    let helm = tools::named(&["helm"], &Lines).unwrap().path("helm");
    let nowhere = Path::new("/nonexistent");
    command::output(
        Command::new(helm)
            .args(arguments)
            .env("HOME", nowhere)
            .env("KUBECONFIG", nowhere),
    )
}

/// What `helm template` prints, with these `--set` values.
fn template(values: &[&str]) -> Result<String, CommandError> {
    let mut arguments = vec![
        "template",
        "outrigger",
        CHART,
        "--namespace",
        NAMESPACE,
        "--set",
        "crds.install=false",
    ];
    for value in values {
        arguments.extend(["--set", value]);
    }
    helm(&arguments)
}

/// What one template renders.
pub fn template_of(name: &str, values: &[&str]) -> Result<String, CommandError> {
    let documents = template(values)?;
    let source = format!("# Source: outrigger/templates/{name}.yaml\n");
    let found = documents
        .split("\n---\n")
        .filter(|document| document.contains(&source));
    Ok(found.collect::<Vec<_>>().join("\n---\n"))
}

/// The rendered objects, without the CRDs.
fn objects(values: &[&str]) -> Vec<Value> {
    let text = template(values).unwrap();
    let documents = text
        .split("\n---\n")
        .filter(|document| document.contains("kind:"));
    documents
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

/// The rendered objects of a kind.
fn objects_of(kind: &str, values: &[&str]) -> Vec<Value> {
    let mut found = objects(values);
    found.retain(|object| object["kind"] == kind);
    found
}

/// The one rendered object of a kind.
pub fn object(kind: &str, values: &[&str]) -> Value {
    let mut found = objects_of(kind, values);
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

/// The health scripts that the chart offers to Argo CD, by `GROUP_KIND`.
pub fn health_scripts() -> BTreeMap<String, String> {
    let mut found = objects(&["argocd.healthScripts=true"]);
    found.retain(|object| object["metadata"]["name"] == "outrigger-argocd-health");
    let data = found.remove(0)["data"].take();
    let entries: BTreeMap<String, String> = serde_json::from_value(data).unwrap();
    let kind = |key: &str| {
        key.strip_prefix("resource.customizations.health.")
            .map(str::to_owned)
    };
    entries
        .into_iter()
        .map(|(key, script)| (kind(&key).unwrap(), script))
        .collect()
}
