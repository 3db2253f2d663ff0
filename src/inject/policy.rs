//! Who is injected: a table of rules, the first that applies decides.
//!
//! Order and meaning are Istio's (`injectRequired` of `pkg/kube/inject`). Which pods the API server asks about at
//! all is decided before, by the selectors of the webhook configuration.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use super::pod::Pod;

/// Namespaces in which nothing is ever injected: a proxy there could keep the cluster from starting.
pub const IGNORED_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

pub use crate::api::labels::INJECT;

/// What happens to a pod that nothing else decides about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fallback {
    /// It is injected.
    #[default]
    Enabled,
    /// It is left alone.
    Disabled,
}

/// The configured part of the decision.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `None`: the configured text is neither `enabled` nor `disabled`, and nobody is injected.
    pub default: Option<Fallback>,
    /// Pods that match one of these and do not decide for themselves are left alone.
    pub never: Vec<Selector>,
    /// Pods that match one of these and do not decide for themselves are injected.
    pub always: Vec<Selector>,
}

/// Why a pod is injected or left alone. [`fmt::Display`] says it to people, [`Reason::as_str`] to metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `spec.hostNetwork`: capture would hit the whole node.
    HostNetwork,
    /// One of [`IGNORED_NAMESPACES`].
    IgnoredNamespace,
    /// The configured policy is not a known word.
    UnknownPolicy,
    /// The pod's label or annotation says yes.
    PodOptedIn,
    /// The pod's label or annotation says no.
    PodOptedOut,
    /// A selector of `neverInjectSelector` matches.
    NeverSelector,
    /// A selector of `alwaysInjectSelector` matches.
    AlwaysSelector,
    /// The policy `enabled` decides.
    PolicyEnabled,
    /// The policy `disabled` decides.
    PolicyDisabled,
    /// The namespace's label says no (offline only: in a cluster the API server does not ask then).
    NamespaceDisabled,
    /// The pod carries the injection status of another mesh.
    ForeignStatus,
}

impl Reason {
    /// A stable word for metrics and annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "host-network",
            Self::IgnoredNamespace => "ignored-namespace",
            Self::UnknownPolicy => "unknown-policy",
            Self::PodOptedIn => "pod-opted-in",
            Self::PodOptedOut => "pod-opted-out",
            Self::NeverSelector => "never-inject-selector",
            Self::AlwaysSelector => "always-inject-selector",
            Self::PolicyEnabled => "policy-enabled",
            Self::PolicyDisabled => "policy-disabled",
            Self::NamespaceDisabled => "namespace-disabled",
            Self::ForeignStatus => "foreign-status",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "spec.hostNetwork is true, and capture would hit the whole node",
            Self::IgnoredNamespace => "nothing is injected in the cluster's own namespaces",
            Self::UnknownPolicy => "the configured policy is neither `enabled` nor `disabled`",
            Self::PodOptedIn => "its sidecar.istio.io/inject is \"true\"",
            Self::PodOptedOut => "its sidecar.istio.io/inject is \"false\"",
            Self::NeverSelector => "a selector of neverInjectSelector matches its labels",
            Self::AlwaysSelector => "a selector of alwaysInjectSelector matches its labels",
            Self::PolicyEnabled => "the policy is `enabled`",
            Self::PolicyDisabled => "the policy is `disabled`",
            Self::NamespaceDisabled => "its namespace's labels do not ask for injection",
            Self::ForeignStatus => {
                "its annotation sidecar.istio.io/status was written by another mesh"
            }
        })
    }
}

/// The outcome for one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the pod gets a proxy.
    pub inject: bool,
    /// The rule that decided.
    pub reason: Reason,
}

/// What the rules look at.
struct Question<'a> {
    policy: &'a Policy,
    pod: &'a Pod<'a>,
    labels: BTreeMap<String, String>,
}

type Applies = fn(&Question<'_>) -> bool;

/// The first rule that applies decides.
const RULES: [(Reason, bool, Applies); 9] = [
    (Reason::HostNetwork, false, |q| {
        q.pod.spec_bool("hostNetwork")
    }),
    (Reason::IgnoredNamespace, false, |q| {
        IGNORED_NAMESPACES.contains(&q.pod.namespace())
    }),
    (Reason::UnknownPolicy, false, |q| q.policy.default.is_none()),
    (Reason::PodOptedIn, true, |q| q.wish() == Some(true)),
    (Reason::PodOptedOut, false, |q| q.wish() == Some(false)),
    (Reason::NeverSelector, false, |q| {
        q.matches_any(&q.policy.never)
    }),
    (Reason::AlwaysSelector, true, |q| {
        q.matches_any(&q.policy.always)
    }),
    (Reason::PolicyEnabled, true, |q| {
        q.policy.default == Some(Fallback::Enabled)
    }),
    (Reason::PolicyDisabled, false, |_| true),
];

impl Question<'_> {
    /// The label hides the annotation even where it says neither yes nor no.
    fn wish(&self) -> Option<bool> {
        match self
            .pod
            .label(INJECT)
            .or_else(|| self.pod.annotation(INJECT))?
        {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn matches_any(&self, selectors: &[Selector]) -> bool {
        selectors
            .iter()
            .any(|selector| selector.matches(&self.labels))
    }
}

impl Policy {
    /// Decides about one pod.
    pub fn decide(&self, pod: &Pod<'_>) -> Decision {
        let question = Question {
            policy: self,
            pod,
            labels: pod.labels_owned(),
        };
        RULES
            .iter()
            .find(|(_, _, applies)| applies(&question))
            .map_or(
                Decision {
                    inject: false,
                    reason: Reason::PolicyDisabled,
                },
                |&(reason, inject, _)| Decision { inject, reason },
            )
    }
}

/// What one rule says about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// The rule.
    pub reason: Reason,
    /// Whether pods to which it applies are injected.
    pub injects: bool,
    /// Whether it applies to this pod.
    pub applies: bool,
}

impl Policy {
    /// What the rules say about one pod, in order, up to the one that decides.
    pub fn rulings(&self, pod: &Pod<'_>) -> Vec<Ruling> {
        let question = Question {
            policy: self,
            pod,
            labels: pod.labels_owned(),
        };
        let mut rulings = Vec::new();
        for &(reason, injects, applies) in &RULES {
            let applies = applies(&question);
            rulings.push(Ruling {
                reason,
                injects,
                applies,
            });
            if applies {
                break;
            }
        }
        rulings
    }
}

/// Reads a list of label selectors. Invalid ones and empty ones (which never match here, unlike elsewhere in
/// Kubernetes) are left out; what was wrong is returned beside.
pub fn selectors(field: &str, written: Vec<LabelSelector>) -> (Vec<Selector>, Vec<String>) {
    let mut good = Vec::new();
    let mut problems = Vec::new();
    for (index, selector) in written.into_iter().enumerate() {
        let empty = selector
            .match_labels
            .as_ref()
            .is_none_or(BTreeMap::is_empty)
            && selector
                .match_expressions
                .as_ref()
                .is_none_or(Vec::is_empty);
        if empty {
            problems.push(format!("{field}[{index}]: an empty selector never matches"));
            continue;
        }
        if let Some(problem) = wrong_values(&selector) {
            problems.push(format!("{field}[{index}]: {problem}"));
            continue;
        }
        match Selector::try_from(selector) {
            Ok(selector) => good.push(selector),
            Err(error) => problems.push(format!("{field}[{index}]: {error}")),
        }
    }
    (good, problems)
}

/// The API server's rule for the values of a requirement, which kube's conversion does not check.
fn wrong_values(selector: &LabelSelector) -> Option<String> {
    selector
        .match_expressions
        .iter()
        .flatten()
        .find_map(|requirement| {
            let wants = matches!(requirement.operator.as_str(), "In" | "NotIn");
            let has = requirement
                .values
                .as_ref()
                .is_some_and(|values| !values.is_empty());
            (wants != has).then(|| {
                let must = if wants {
                    "must have values"
                } else {
                    "must have no values"
                };
                format!("operator {} {must}", requirement.operator)
            })
        })
}
