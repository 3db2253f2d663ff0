//! Offline injection: a file with manifests goes in, the same file with sidecars comes out.
//!
//! What is not injected keeps its bytes. In what is injected the order of keys stays; comments and styles do not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{
    kind::Kind,
    metadata::Metadata,
    networking::{self, ProxyConfigSpec},
    yaml,
};

use super::{
    Config, Error, Outcome, Request,
    namespace::{self, Install, Match},
    pod::Pod,
    policy::Reason,
    surroundings::{ProxyConfigs, Surroundings},
    workload::Workload,
};

/// A kind that has pods: the groups it may be of, and where its pod template is.
struct WorkloadKind {
    kind: &'static str,
    groups: &'static [&'static str],
    template: &'static str,
}

const TEMPLATE: &str = "/spec/template";

/// The kinds that are injected.
const KINDS: [WorkloadKind; 9] = [
    WorkloadKind {
        kind: "Pod",
        groups: &[""],
        template: "",
    },
    WorkloadKind {
        kind: "ReplicationController",
        groups: &[""],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "Deployment",
        groups: &["apps", "extensions"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "ReplicaSet",
        groups: &["apps", "extensions"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "DaemonSet",
        groups: &["apps", "extensions"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "StatefulSet",
        groups: &["apps"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "Job",
        groups: &["batch"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "CronJob",
        groups: &["batch"],
        template: "/spec/jobTemplate/spec/template",
    },
    WorkloadKind {
        kind: "DeploymentConfig",
        groups: &["", "apps.openshift.io"],
        template: TEMPLATE,
    },
];

/// A file cannot be injected.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text is no YAML.
    #[error("document {index} (line {line}): {problem}")]
    Yaml {
        /// Number of the document, from 1.
        index: usize,
        /// Line of the file, from 1.
        line: usize,
        /// The parser's words.
        problem: String,
    },
    /// A workload without a pod template.
    #[error("{object}: {path} is required")]
    NoTemplate {
        /// Kind and name.
        object: String,
        /// Where the template should be.
        path: String,
    },
    /// A workload that cannot be injected.
    #[error("{object}: {error}")]
    Inject {
        /// Kind and name.
        object: String,
        /// Why.
        error: Error,
    },
    /// The result cannot be written.
    #[error("{0}")]
    Write(#[from] serde_saphyr::SerializeError),
}

/// A file after injection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Injected {
    /// The manifests.
    pub text: String,
    /// For the person who asked: what was left alone and why, and warnings.
    pub remarks: Vec<String>,
}

/// Injects every workload of a text with one or more YAML documents.
///
/// # Errors
/// The first document that cannot be read or injected; nothing is returned for the others then.
pub fn inject(config: &Config, text: &str) -> Result<Injected, DocumentError> {
    let documents = yaml::split(text);
    let mut parsed = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let value = yaml::parse(document.text).map_err(|error| DocumentError::Yaml {
            index: index + 1,
            line: document.line + error.line - 1,
            problem: error.problem,
        })?;
        parsed.push(value);
    }
    let declared = Declared::of(&parsed);
    let mut run = Run {
        config,
        declared: &declared,
        remarks: Vec::new(),
    };
    let mut text = String::new();
    for (document, value) in documents.iter().zip(parsed) {
        match run.object(value)? {
            Some(injected) => {
                if document.text.starts_with(yaml::MARKER) {
                    text.push_str("---\n");
                }
                text.push_str(&yaml::write(&injected)?);
            }
            None => text.push_str(document.text),
        }
    }
    Ok(Injected {
        text,
        remarks: run.remarks,
    })
}

/// What the file itself declares of the surroundings of its pods.
#[derive(Debug, Default)]
struct Declared {
    namespaces: BTreeMap<String, Metadata>,
    proxy_configs: Vec<(Metadata, ProxyConfigSpec)>,
}

impl Declared {
    fn of(documents: &[Value]) -> Self {
        let mut declared = Self::default();
        for object in documents.iter().flat_map(objects) {
            match Kind::of(text_at(object, "/apiVersion"), text_at(object, "/kind")) {
                Some(Kind::Namespace) => {
                    let metadata = Metadata::of(object);
                    declared.namespaces.insert(metadata.name.clone(), metadata);
                }
                // One that cannot be read has no effect here, as in a cluster.
                Some(Kind::ProxyConfig) => {
                    if let Ok(spec) = networking::decode::<ProxyConfigSpec>(object) {
                        declared.proxy_configs.push((Metadata::of(object), spec));
                    }
                }
                _ => {}
            }
        }
        declared
    }

    fn surroundings(&self, root_namespace: &str, namespace: &str) -> Surroundings<'_> {
        let within = |wanted: &str| {
            let wanted = or_default(wanted).to_owned();
            self.proxy_configs
                .iter()
                .filter(move |(metadata, _)| or_default(&metadata.namespace) == wanted)
                .map(|(metadata, spec)| (metadata, spec))
        };
        Surroundings {
            namespace: self.namespaces.get(namespace),
            proxy_configs: ProxyConfigs::new(within(root_namespace), within(namespace)),
        }
    }
}

/// An object without a namespace is in `default`.
fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

fn items(object: &Value) -> Option<&Vec<Value>> {
    let is_list = text_at(object, "/kind") == "List" && text_at(object, "/apiVersion") == "v1";
    object.get("items")?.as_array().filter(|_| is_list)
}

fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

struct Run<'a> {
    config: &'a Config,
    declared: &'a Declared,
    remarks: Vec<String>,
}

impl Run<'_> {
    /// The object after injection; `None`: it stays as it is.
    fn object(&mut self, mut object: Value) -> Result<Option<Value>, DocumentError> {
        if items(&object).is_some() {
            return self.list(object);
        }
        let Some(found) = Found::of(&object)? else {
            return Ok(None);
        };
        let (path, shown) = (found.path, found.shown.clone());
        let injected = self.pod(&found).map_err(|error| DocumentError::Inject {
            object: shown,
            error,
        })?;
        Ok(injected.map(|pod| {
            if let Some(template) = object.pointer_mut(path) {
                *template = pod;
            }
            object
        }))
    }

    fn list(&mut self, mut list: Value) -> Result<Option<Value>, DocumentError> {
        let mut changed = false;
        if let Some(Value::Array(items)) = list.get_mut("items") {
            for item in items {
                if let Some(injected) = self.object(item.clone())? {
                    *item = injected;
                    changed = true;
                }
            }
        }
        Ok(changed.then_some(list))
    }

    fn pod(&mut self, found: &Found<'_>) -> Result<Option<Value>, Error> {
        let Found {
            shown,
            namespace,
            pod,
            ..
        } = found;
        if self.not_asked(pod, namespace)? {
            self.skipped(shown, Reason::NamespaceDisabled);
            return Ok(None);
        }
        let root = self.config.mesh.root_namespace();
        let request = Request {
            pod,
            namespace,
            workload: Some(&found.workload),
            env: &[],
            surroundings: &self.declared.surroundings(root, namespace),
        };
        let (injected, surprises) = match super::inject(self.config, request)? {
            Outcome::Skipped { reason, surprises } => {
                self.skipped(shown, reason);
                (None, surprises)
            }
            Outcome::Injected { pod, surprises, .. } => (Some(pod), surprises),
        };
        self.remarks.extend(
            surprises
                .into_iter()
                .map(|surprise| format!("{shown}: {}", surprise.text)),
        );
        Ok(injected)
    }

    /// Whether the API server would not even ask, by the labels of a namespace that the file declares.
    fn not_asked(&self, pod: &Value, namespace: &str) -> Result<bool, Error> {
        let Some(declared) = self.declared.namespaces.get(namespace) else {
            return Ok(false);
        };
        let install = Install {
            revision: &self.config.values.revision,
            by_default: self
                .config
                .values
                .sidecar_injector_webhook
                .enable_namespaces_by_default,
        };
        let pod = Pod::new(pod, namespace)?.labels_owned();
        Ok(namespace::called(install, &declared.labels, &pod) == Match::No)
    }

    fn skipped(&mut self, shown: &str, reason: Reason) {
        self.remarks
            .push(format!("{shown}: not injected: {reason}"));
    }
}

/// A pod, or the template of pods, in an object.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// Kind, namespace and name of the object.
    pub shown: String,
    /// Its namespace; empty where it does not say.
    pub namespace: &'a str,
    /// The workload that the pod belongs to.
    pub workload: Workload,
    /// The pod or pod template.
    pub pod: &'a Value,
    path: &'static str,
}

impl<'a> Found<'a> {
    /// The pod of an object; `None` for an object of another kind than those that have pods.
    ///
    /// # Errors
    /// The object is of such a kind and lacks its pod template.
    pub fn of(object: &'a Value) -> Result<Option<Self>, DocumentError> {
        let Some(kind) = KINDS.iter().find(|kind| kind.is(object)) else {
            return Ok(None);
        };
        let name = match text_at(object, "/metadata/name") {
            "" => text_at(object, "/metadata/generateName"),
            name => name,
        };
        let namespace = text_at(object, "/metadata/namespace");
        let shown = match namespace {
            "" => format!("{} {name}", kind.kind),
            namespace => format!("{} {namespace}/{name}", kind.kind),
        };
        let Some(pod) = object.pointer(kind.template) else {
            let path = kind.template.trim_start_matches('/').replace('/', ".");
            return Err(DocumentError::NoTemplate {
                object: shown,
                path,
            });
        };
        Ok(Some(Self {
            shown,
            namespace,
            workload: Workload {
                api_version: text_at(object, "/apiVersion").to_owned(),
                kind: kind.kind.to_owned(),
                name: name.to_owned(),
            },
            pod,
            path: kind.template,
        }))
    }
}

/// The objects of a document: those of a `v1` List one by one.
pub fn objects(document: &Value) -> &[Value] {
    match items(document) {
        Some(items) => items,
        None => std::slice::from_ref(document),
    }
}

impl WorkloadKind {
    fn is(&self, object: &Value) -> bool {
        let api_version = text_at(object, "/apiVersion");
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        text_at(object, "/kind") == self.kind && self.groups.contains(&group)
    }
}
