//! Injection of the sidecar: a pod as JSON goes in, the pod with its proxy comes out.
//!
//! Everything works on the JSON itself and never on a typed copy, so fields of a newer Kubernetes survive. The steps
//! and their order are Istio's: decide ([`policy`]), check the pod's annotations, render the templates from the pod
//! as its author wrote it, merge them in, lay the author's own containers on top, then what spans containers
//! (metrics, probes, order) and a note of what was done. Injecting twice changes nothing.

pub mod annotations;
mod cni;
mod config;
mod context;
pub mod documents;
pub mod expectation;
pub mod explain;
mod injection;
mod merge;
pub mod namespace;
pub mod nodes;
mod openshift;
mod order;
mod overrides;
pub mod patch;
pub mod pod;
mod pod_security;
pub mod policy;
mod probes;
mod prometheus;
mod proxy_config;
mod status;
pub mod surprises;
pub mod surroundings;
mod template;
pub mod values;
pub mod webhooks;
pub mod workload;

use std::borrow::Cow;

use serde_json::Value;

use crate::api::mesh::ProxyConfig;

pub use self::config::{Config, ConfigError};
use self::{
    annotations::InvalidAnnotation,
    context::Context,
    injection::Injection,
    pod::{Pod, ShapeError},
    policy::{Decision, Reason},
    status::Status,
    surprises::Surprise,
    surroundings::Surroundings,
    workload::Workload,
};

/// A pod to be injected.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The pod, or a pod template.
    pub pod: &'a Value,
    /// Its namespace, where the pod itself does not say.
    pub namespace: &'a str,
    /// The workload it belongs to; `None`: found from the pod's owner.
    pub workload: Option<&'a Workload>,
    /// More environment for the proxy (Istio's path parameters: cluster, network).
    pub env: &'a [(String, String)],
    /// What lies around the pod.
    pub surroundings: &'a Surroundings<'a>,
}

/// What became of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is left alone.
    Skipped {
        /// Why.
        reason: Reason,
        /// For the person whose pod it is.
        surprises: Vec<Surprise>,
    },
    /// It has a proxy.
    Injected {
        /// The whole pod.
        pod: Value,
        /// Why it was injected.
        reason: Reason,
        /// For the person whose pod it is.
        surprises: Vec<Surprise>,
    },
}

/// Why a pod that should be injected cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The pod is no pod.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Annotations with values that cannot be used; all of them.
    #[error("{}", list(.0))]
    Annotations(Vec<InvalidAnnotation>),
    /// The annotation, or the mesh's setting, names a template that does not exist.
    #[error("{}: {}", annotations::TEMPLATES, .0)]
    UnknownTemplate(#[from] template::UnknownTemplate),
    /// A template of the installation's own cannot be used for this pod.
    #[error(transparent)]
    Template(#[from] template::TemplateError),
    /// What the templates made of the pod is no pod.
    #[error("after templates {templates}: {error}")]
    Templated {
        /// The templates that were run.
        templates: String,
        /// What is wrong with the pod.
        error: ShapeError,
    },
    /// Templates that cannot be run together.
    #[error(
        "templates {templates}: one puts the container {container:?} into containers and another into initContainers, \
         choose one of them"
    )]
    InBothLists {
        /// The templates that were run.
        templates: String,
        /// The container.
        container: String,
    },
    /// The saved overrides cannot be read.
    #[error("{}", .0)]
    Overrides(String),
}

impl Error {
    /// A stable word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Shape(_) => "malformed-pod",
            Self::Annotations(_) => "invalid-annotation",
            Self::UnknownTemplate(_) => "unknown-template",
            Self::Template(_) | Self::Templated { .. } | Self::InBothLists { .. } => {
                "invalid-template"
            }
            Self::Overrides(_) => "invalid-overrides",
        }
    }
}

fn list(problems: &[InvalidAnnotation]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// Injects the sidecar into a pod, or says why not.
///
/// # Errors
/// The pod should be injected and cannot be: the text is for its author.
pub fn inject(config: &Config, request: Request<'_>) -> Result<Outcome, Error> {
    let pod = Pod::new(request.pod, request.namespace)?;
    let mut surprises = Vec::from_iter(surprises::unclear_wish(&pod));
    let Decision { inject, reason } = config.decide(&pod);
    if !inject {
        surprises.extend((reason == Reason::ForeignStatus).then(surprises::foreign_injection));
        return Ok(Outcome::Skipped { reason, surprises });
    }
    let before = pod.annotation(annotations::STATUS).map(Status::parse);
    let proxy = check(config, &pod, request.surroundings)?;
    let saved = pod
        .annotation(annotations::OVERRIDES)
        .filter(|_| before.is_some());
    let saved = overrides::saved(saved).map_err(Error::Overrides)?;

    let original = if config.values.is_openshift() {
        let mut pod = request.pod.clone();
        openshift::without_borrowed_ids(&mut pod);
        Cow::Owned(pod)
    } else {
        Cow::Borrowed(request.pod)
    };
    let authored = overrides::without_injected(&original, before.as_ref(), &saved);
    let authored_view = Pod::new(&authored, request.namespace)?;
    let own_workload;
    let workload = match request.workload {
        Some(workload) => workload,
        None => {
            own_workload = Workload::of(&authored, &authored_view);
            &own_workload
        }
    };
    let context = Context {
        config,
        pod: &authored_view,
        workload,
        proxy: &proxy,
        native: wants_native(config, &pod),
        env: request.env,
        surroundings: request.surroundings,
    };
    surprises.extend(surprises::unusable_user_volumes(&pod));
    surprises.extend(surprises::of_pod(&context));
    let injection = Injection {
        context: &context,
        authored: &authored,
        before,
        saved,
        reason,
    };
    let pod = injection.run(&original, &mut surprises)?;
    Ok(Outcome::Injected {
        pod,
        reason,
        surprises,
    })
}

/// The layout: the pod's own wish, which any text but "false" affirms, else what the kubelets can do.
fn wants_native(config: &Config, pod: &Pod<'_>) -> bool {
    pod.annotation(annotations::NATIVE_SIDECAR)
        .map_or(config.native_sidecars, |wish| wish != "false")
}

/// Checks the annotations and reads the proxy's configuration, with all problems in one error.
fn check<'c>(
    config: &'c Config,
    pod: &Pod<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Cow<'c, ProxyConfig>, Error> {
    let mut problems = annotations::check(pod);
    match proxy_config::effective(config, pod, surroundings) {
        Ok(proxy) if problems.is_empty() => return Ok(proxy),
        Ok(_) => {}
        Err(problem) => problems.push(problem),
    }
    Err(Error::Annotations(problems))
}

#[cfg(test)]
mod tests;
