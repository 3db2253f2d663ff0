//! Which pods should have a proxy and have none, or an old one; and which of them may be evicted to be made again.
//!
//! Pure: a World and the settings of injection go in, findings come out. The leader reports and heals by them, and
//! `outrigger check injection` prints them. Whether a pod should have a proxy is decided by the functions that the
//! webhook uses ([`crate::inject::expectation`]).

pub mod eviction;
pub mod namespaces;
pub mod notes;

use std::fmt;

use serde_json::{Value, json};

use crate::{
    api::{kind::Kind, networking::ProxyConfigSpec},
    inject::{
        Config,
        expectation::{self, Expectation, Injected, PROXY_CONTAINER},
        namespace::Match,
        policy::Reason,
        surroundings::{ProxyConfigs, Surroundings},
    },
    world::{Controller, NamespaceSpec, Object, ObjectKey, PodSpec, World},
};

/// The controller of static pods: the kubelet runs them from files, whatever the API server is told.
const NODE: &str = "Node";
/// The image that stands for the injected one; no kubelet finds it.
const AUTO_IMAGE: &str = "auto";

/// A pod whose proxy is not the one that it should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// What made it; `None` for a bare pod.
    pub controller: Option<Controller>,
    /// What is wrong.
    pub problem: Problem,
    /// Why the API server would ask about it; never [`Match::No`].
    pub called: Match,
    /// Why it would be given a proxy then.
    pub reason: Reason,
}

/// What is wrong with a pod's proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is none.
    Missing,
    /// It is not what the pod would get now.
    Outdated(Vec<Difference>),
    /// Another mesh injected it.
    Foreign,
}

/// In what an old proxy differs from the one that the pod would get now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The revision of the control plane that injected it.
    Revision {
        /// The one that did.
        has: String,
        /// The one that is in charge now.
        gets: String,
    },
    /// The image of an injected container.
    Image {
        /// The container's name.
        container: &'static str,
        /// Its image.
        has: String,
        /// The image now.
        gets: String,
    },
    /// The proxy is an ordinary container and would be a native sidecar. The other way round is no difference: what
    /// runs as a native sidecar does so rightly.
    Layout,
}

impl Problem {
    /// A stable word for metrics and output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Outdated(_) => "outdated",
            Self::Foreign => "foreign",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no proxy"),
            Self::Foreign => f.write_str("the proxy of another mesh"),
            Self::Outdated(differences) => {
                let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join("; "))
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision { has, gets } => write!(f, "revision {has}, would be {gets}"),
            Self::Image {
                container,
                has,
                gets,
            } => write!(f, "{container} has image {has}, would have {gets}"),
            Self::Layout => f.write_str("ordinary container, would be a native sidecar"),
        }
    }
}

/// All pods whose proxy is not the one that they should have, by namespace and name. Pods that have ended or are being
/// deleted don't count.
pub fn findings(world: &World, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut around: Option<(&str, Surroundings<'_>)> = None;
    for (key, pod) in world.all::<PodSpec>() {
        let (_, surroundings) = match around.take() {
            Some(same) if *same.0 == *key.namespace => around.insert(same),
            _ => around.insert((&key.namespace, surroundings(world, &key.namespace))),
        };
        findings.extend(finding(config, key, pod, surroundings));
    }
    findings
}

/// What the World knows around the pods of a namespace.
pub fn surroundings<'w>(world: &'w World, namespace: &str) -> Surroundings<'w> {
    let key = ObjectKey::new(Kind::Namespace, "", namespace);
    let proxy_configs = |namespace: &str| {
        world
            .in_namespace::<ProxyConfigSpec>(namespace)
            .filter_map(|(_, object)| Some((&object.meta, object.spec()?)))
    };
    Surroundings {
        namespace: world
            .get::<NamespaceSpec>(&key)
            .map(|namespace| &namespace.meta),
        proxy_configs: ProxyConfigs::new(
            proxy_configs(&world.settings().root_namespace),
            proxy_configs(namespace),
        ),
    }
}

fn finding(
    config: &Config,
    key: &ObjectKey,
    pod: &Object<PodSpec>,
    surroundings: &Surroundings<'_>,
) -> Option<Finding> {
    let spec = pod.spec()?;
    let controller = spec.controller.as_ref();
    let is_static = controller.is_some_and(|controller| controller.kind == NODE);
    if spec.has_ended() || pod.meta.deleting || is_static {
        return None;
    }
    let asked = as_asked(pod, spec);
    let expected = expectation::expect(config, &asked, &key.namespace, surroundings)?;
    let annotation = |name: &str| pod.meta.annotations.get(name).map(String::as_str);
    let problem = match expectation::injected(annotation) {
        Injected::No => missing(spec).then_some(Problem::Missing),
        Injected::ByAnother => Some(Problem::Foreign),
        Injected::ByUs { revision, native } => {
            let differences = differences(config, spec, &expected, &revision, native);
            (!differences.is_empty()).then_some(Problem::Outdated(differences))
        }
    }?;
    Some(Finding {
        pod: key.clone(),
        uid: pod.meta.uid.clone(),
        controller: controller.cloned(),
        problem,
        called: expected.called,
        reason: expected.decision.reason,
    })
}

/// What of the pod decides whether it is injected.
fn as_asked(pod: &Object<PodSpec>, spec: &PodSpec) -> Value {
    json!({
        "metadata": { "labels": pod.meta.labels, "annotations": pod.meta.annotations },
        "spec": { "hostNetwork": spec.host_network },
    })
}

/// Whether there is no proxy. A container of that name which no injection has seen is its author's own; with the image
/// that stands for the injected one it waits for an injection that did not come.
fn missing(spec: &PodSpec) -> bool {
    let proxy = spec
        .all_containers()
        .find(|container| container.name == PROXY_CONTAINER);
    proxy.is_none_or(|proxy| proxy.image == AUTO_IMAGE)
}

fn differences(
    config: &Config,
    spec: &PodSpec,
    expected: &Expectation,
    revision: &str,
    native: Option<bool>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if revision != config.revision() {
        found.push(Difference::Revision {
            has: revision.to_owned(),
            gets: config.revision().to_owned(),
        });
    }
    for (name, gets) in &expected.images {
        let container = spec
            .all_containers()
            .find(|container| container.name == *name);
        if let Some(container) = container.filter(|container| container.image != *gets) {
            found.push(Difference::Image {
                container: name,
                has: container.image.clone(),
                gets: gets.clone(),
            });
        }
    }
    if native == Some(false) && expected.native {
        found.push(Difference::Layout);
    }
    found
}

#[cfg(test)]
mod tests;
