//! What is said about findings, to the owners of the pods: one note for all pods of a controller.

use std::collections::BTreeMap;

use super::{Finding, Problem};
use crate::{
    inject::namespace::Match,
    world::{Controller, ObjectKey},
};

/// How many pods a note names.
const NAMED: usize = 3;

/// What is said about the pods of one controller, or about a bare pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The first of the pods.
    pub pod: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// What made them; `None`: the note is about a bare pod.
    pub controller: Option<Controller>,
    /// The reason of the Event: a stable word.
    pub reason: &'static str,
    /// The text, without what to do about it.
    pub text: String,
}

/// One note for each controller (or bare pod) and kind of problem.
pub fn notes(findings: &[Finding]) -> Vec<Note> {
    let mut groups: BTreeMap<(&str, &'static str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let owner = finding
            .controller
            .as_ref()
            .map_or(&finding.uid, |owner| &owner.uid);
        let group = (owner.as_str(), reason(&finding.problem));
        groups.entry(group).or_default().push(finding);
    }
    let mut notes: Vec<Note> = groups
        .into_iter()
        .filter_map(|((_, reason), group)| {
            let first = *group.first()?;
            Some(Note {
                pod: first.pod.clone(),
                uid: first.uid.clone(),
                controller: first.controller.clone(),
                reason,
                text: text(&group),
            })
        })
        .collect();
    notes.sort_by(|a, b| a.pod.cmp(&b.pod));
    notes
}

fn reason(problem: &Problem) -> &'static str {
    match problem {
        Problem::Missing => "ProxyMissing",
        Problem::Outdated(_) => "ProxyOutdated",
        Problem::Foreign => "ProxyOfAnotherMesh",
    }
}

fn text(group: &[&Finding]) -> String {
    let Some(first) = group.first() else {
        return String::new();
    };
    let who = if first.controller.is_none() {
        "this pod".to_owned()
    } else {
        let names: Vec<&str> = group
            .iter()
            .take(NAMED)
            .map(|finding| &*finding.pod.name)
            .collect();
        let names = names.join(", ");
        match group.len() {
            1 => format!("pod {names}"),
            few if few <= NAMED => format!("pods {names}"),
            many => format!("pods {names} and {} more", many - NAMED),
        }
    };
    match &first.problem {
        Problem::Missing => format!(
            "no proxy in {who}, where one should be ({}, and {}): made while the injection webhook was not asked, or \
             before injection was switched on",
            asked(first.called),
            first.reason
        ),
        Problem::Outdated(_) => format!("an old proxy in {who}: {}", first.problem),
        Problem::Foreign => {
            format!("the proxy of another mesh in {who}, where Outrigger's would be now")
        }
    }
}

/// Why the API server would ask about a pod.
fn asked(called: Match) -> &'static str {
    match called {
        Match::Namespace => "its namespace is switched on",
        Match::NamespaceRevision => "its namespace chooses this revision",
        Match::Pod => "it opts in",
        Match::PodRevision => "it chooses this revision",
        Match::Default => "pods are injected where nothing says otherwise",
        Match::No => "nothing asks about it",
    }
}

/// What to do about it, for an owner of this kind.
pub fn advice(kind: &str, namespace: &str, name: &str) -> String {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" => format!(
            "; make its pods anew: kubectl rollout restart {}/{name} -n {namespace}",
            kind.to_lowercase()
        ),
        "Pod" => "; nothing makes it again: delete it and create it anew".to_owned(),
        _ => "; delete the pod, its controller makes it anew".to_owned(),
    }
}
