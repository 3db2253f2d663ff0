//! Whether the API server would ask about a pod at all: what the selectors of the webhook configuration say, for
//! those who have only the labels (offline injection, explanations).

use std::{collections::BTreeMap, fmt};

use super::policy::INJECT;

pub use crate::api::labels::{INJECTION_SWITCHES as SWITCHES, REVISION};

/// Which part of the webhook configuration would match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The namespace is switched on.
    Namespace,
    /// The namespace chooses the revision.
    NamespaceRevision,
    /// The pod opts in, in a namespace that says nothing.
    Pod,
    /// The pod chooses the revision, in a namespace that says nothing.
    PodRevision,
    /// Nobody says anything, and the mesh injects by default.
    Default,
    /// None.
    No,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "the one for namespaces that are switched on",
            Self::NamespaceRevision => "the one for namespaces that choose its revision",
            Self::Pod => "the one for pods that opt in",
            Self::PodRevision => "the one for pods that choose its revision",
            Self::Default => "the one for namespaces that say nothing",
            Self::No => "none",
        })
    }
}

/// What of the mesh the selectors are made from.
#[derive(Debug, Clone, Copy)]
pub struct Install<'a> {
    /// The revision; empty for the default one.
    pub revision: &'a str,
    /// `enableNamespacesByDefault`.
    pub by_default: bool,
}

/// The namespace's labels contradict each other; `disabled` (or any other value) wins over `enabled`.
pub fn contradiction(labels: &BTreeMap<String, String>) -> Option<String> {
    let [(one, says), (other, too)] = SWITCHES.map(|label| (label, labels.get(label)));
    let (says, too) = (says?, too?);
    (says != too).then(|| {
        let enabled = if says == "enabled" { one } else { other };
        let hint = match (says == "enabled") || (too == "enabled") {
            true => format!("remove the label {enabled}, or set both to the same"),
            false => "set both to \"enabled\" or to \"disabled\"".to_owned(),
        };
        format!(
            "no pod is injected, because the labels {one}={says} and {other}={too} contradict each other, and what is not \
             enabled wins: {hint}"
        )
    })
}

/// Which webhook of this installation the API server would call for a pod with these labels.
pub fn called(
    install: Install<'_>,
    namespace: &BTreeMap<String, String>,
    pod: &BTreeMap<String, String>,
) -> Match {
    let default = install.revision.is_empty();
    let revision = if default { "default" } else { install.revision };
    let switches: Vec<&str> = SWITCHES
        .iter()
        .filter_map(|label| namespace.get(*label).map(String::as_str))
        .collect();
    let wish = pod.get(INJECT).map(String::as_str);
    if wish == Some("false") {
        return Match::No;
    }
    if !switches.is_empty() {
        let on = switches.iter().all(|value| *value == "enabled");
        return if default && on {
            Match::Namespace
        } else {
            Match::No
        };
    }
    if let Some(chosen) = namespace.get(REVISION) {
        return if chosen == revision {
            Match::NamespaceRevision
        } else {
            Match::No
        };
    }
    match (pod.get(REVISION), wish) {
        (Some(chosen), _) if chosen == revision => Match::PodRevision,
        (None, Some("true")) if default => Match::Pod,
        (None, None) if default && install.by_default => Match::Default,
        _ => Match::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_differ_contradict_each_other() {
        let of = |labels: &[(&str, &str)]| {
            let labels = labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            contradiction(&labels.collect())
        };
        assert_eq!(of(&[("injection", "enabled")]), None);
        assert_eq!(
            of(&[("injection", "enabled"), ("istio-injection", "enabled")]),
            None
        );
        let text = of(&[("injection", "disabled"), ("istio-injection", "enabled")]).unwrap();
        assert!(text.contains("remove the label istio-injection"), "{text}");
    }
}
