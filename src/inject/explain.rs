//! Why a pod is injected or not, in words: what the API server and the webhook look at, which rule decides, and which
//! single change would make it otherwise.
//!
//! The decision is asked of the code that takes it, also for every change that is proposed.

mod words;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::labels;

use super::{
    Config, Request, annotations,
    namespace::{self, Install, Match},
    pod::{Pod, ShapeError},
    policy::{self, Decision, IGNORED_NAMESPACES, Reason, Ruling},
    surroundings::Surroundings,
    webhooks::{InjectionWebhook, NAMESPACE_NAME},
};

/// A control plane of the mesh, with its settings.
#[derive(Debug, Clone, Copy)]
pub struct ControlPlane<'a> {
    /// Its revision, `default` for the one without a name.
    pub revision: &'a str,
    /// Its settings.
    pub config: &'a Config,
}

/// Who would be asked about a new pod.
#[derive(Debug, Clone, Copy)]
pub enum Registered<'a> {
    /// These webhooks are registered.
    Webhooks(&'a [InjectionWebhook]),
    /// What is registered is not known; the control plane is taken to be installed by its chart.
    ByChart,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The pod, or a pod template.
    pub pod: &'a Value,
    /// Its namespace, where the pod itself does not say.
    pub namespace: &'a str,
    /// The labels of the namespace.
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// The control planes whose settings are known, the default one first.
    pub control_planes: &'a [ControlPlane<'a>],
    /// The webhooks.
    pub registered: Registered<'a>,
}

/// A label, annotation or field that has a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub place: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its value; `None` where it is not set.
    pub value: Option<String>,
}

/// A webhook that the API server calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The webhook, with its configuration where that is known.
    pub webhook: String,
    /// The revision that answers.
    pub revision: String,
    /// Whether it is Outrigger's.
    pub ours: bool,
}

/// How it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pod gets a proxy.
    Injected {
        /// From this revision.
        revision: String,
        /// By this rule.
        reason: Reason,
    },
    /// A webhook is called that should inject the pod and cannot: the pod is refused.
    Refused {
        /// This revision's.
        revision: String,
        /// What is wrong with the pod.
        why: String,
    },
    /// A webhook is called and leaves the pod alone.
    LeftAlone {
        /// This revision's.
        revision: String,
        /// By this rule.
        reason: Reason,
    },
    /// No webhook is called.
    NotAsked,
    /// A webhook is called whose settings are not known: another mesh's, or another revision's.
    SomebodyElse {
        /// Its revision.
        revision: String,
    },
    /// Several webhooks are called, which must not be.
    Several,
}

/// A single change, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub what: String,
    /// How it ends then.
    pub then: Verdict,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What was looked at.
    pub seen: Vec<Seen>,
    /// The labels of the namespace contradict each other.
    pub contradiction: Option<String>,
    /// The webhooks that the API server calls.
    pub calls: Vec<Call>,
    /// What each rule of the webhook says, in order, up to the one that decides; empty where no webhook of ours is called.
    pub rules: Vec<Ruling>,
    /// How it ends.
    pub verdict: Verdict,
    /// What would change it.
    pub changes: Vec<Change>,
    /// What the pod's annotation says about the injection that was done, where it is an injected pod.
    pub done: Option<String>,
}

impl Explanation {
    /// Whether the pod gets a proxy of Outrigger's.
    pub fn is_injected(&self) -> bool {
        matches!(self.verdict, Verdict::Injected { .. })
    }
}

/// Explains what happens to a pod.
///
/// # Errors
/// The pod is no pod.
pub fn explain(question: &Question<'_>) -> Result<Explanation, ShapeError> {
    let situation = Situation::of(question)?;
    let calls = question.calls(&situation);
    let (verdict, rules) = question.judge(&situation, &calls)?;
    let changes = changes(question, &situation, &verdict)?;
    Ok(Explanation {
        seen: situation.seen()?,
        contradiction: namespace::contradiction(&situation.namespace),
        rules,
        calls,
        verdict,
        changes,
        done: situation.done()?,
    })
}

impl Question<'_> {
    fn calls(&self, situation: &Situation) -> Vec<Call> {
        match self.registered {
            Registered::Webhooks(webhooks) => webhooks
                .iter()
                .filter(|webhook| webhook.is_called(&situation.namespace, &situation.labels))
                .map(|webhook| Call {
                    webhook: format!("{} of {}", webhook.name, webhook.configuration),
                    revision: webhook.revision.clone(),
                    ours: webhook.is_ours(),
                })
                .collect(),
            Registered::ByChart => self
                .control_planes
                .iter()
                .filter_map(|plane| situation.call_by_chart(plane))
                .collect(),
        }
    }

    fn judge(
        &self,
        situation: &Situation,
        calls: &[Call],
    ) -> Result<(Verdict, Vec<Ruling>), ShapeError> {
        let call = match calls {
            [] => return Ok((Verdict::NotAsked, Vec::new())),
            [call] => call,
            _ => return Ok((Verdict::Several, Vec::new())),
        };
        let revision = call.revision.clone();
        let plane = self
            .control_planes
            .iter()
            .find(|plane| call.ours && plane.revision == revision);
        let Some(plane) = plane else {
            return Ok((Verdict::SomebodyElse { revision }, Vec::new()));
        };
        let pod = situation.view()?;
        let Decision { inject, reason } = plane.config.decide(&pod);
        let request = Request {
            pod: &situation.pod,
            namespace: &situation.namespace_name,
            workload: None,
            env: &[],
            surroundings: &Surroundings::default(),
        };
        let verdict = match super::inject(plane.config, request) {
            Err(error) => Verdict::Refused {
                revision,
                why: error.to_string(),
            },
            Ok(_) if inject => Verdict::Injected { revision, reason },
            Ok(_) => Verdict::LeftAlone { revision, reason },
        };
        Ok((verdict, plane.config.rulings(&pod)))
    }
}

/// Everything that has a say, which changes can be tried on.
#[derive(Debug, Clone)]
struct Situation {
    pod: Value,
    namespace_name: String,
    namespace: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Situation {
    fn of(question: &Question<'_>) -> Result<Self, ShapeError> {
        let view = Pod::new(question.pod, question.namespace)?;
        let name = match view.namespace() {
            "" => "default",
            name => name,
        };
        let mut namespace = question.namespace_labels.clone();
        namespace.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
        Ok(Self {
            pod: question.pod.clone(),
            namespace_name: name.to_owned(),
            namespace,
            labels: view.labels_owned(),
        })
    }

    fn view(&self) -> Result<Pod<'_>, ShapeError> {
        Pod::new(&self.pod, &self.namespace_name)
    }

    /// The webhook that the chart would have registered for this, if any.
    fn call_by_chart(&self, plane: &ControlPlane<'_>) -> Option<Call> {
        let values = &plane.config.values;
        let name = self.namespace_name.as_str();
        if name == values.global.istio_namespace || IGNORED_NAMESPACES.contains(&name) {
            return None;
        }
        let install = Install {
            revision: &values.revision,
            by_default: values.sidecar_injector_webhook.enable_namespaces_by_default,
        };
        match namespace::called(install, &self.namespace, &self.labels) {
            Match::No => None,
            called => Some(Call {
                webhook: called.to_string(),
                revision: plane.revision.to_owned(),
                ours: true,
            }),
        }
    }

    fn seen(&self) -> Result<Vec<Seen>, ShapeError> {
        let pod = self.view()?;
        let [one, other] = namespace::SWITCHES;
        let seen = |place, name, value: Option<&str>| Seen {
            place,
            name,
            value: value.map(str::to_owned),
        };
        let of_namespace = |name| {
            seen(
                "namespace label",
                name,
                self.namespace.get(name).map(String::as_str),
            )
        };
        let host_network = pod.spec_bool("hostNetwork").then_some("true");
        Ok(vec![
            of_namespace(one),
            of_namespace(other),
            of_namespace(labels::REVISION),
            seen("pod label", policy::INJECT, pod.label(policy::INJECT)),
            seen(
                "pod annotation",
                policy::INJECT,
                pod.annotation(policy::INJECT),
            ),
            seen("pod label", labels::REVISION, pod.label(labels::REVISION)),
            seen("pod field", "spec.hostNetwork", host_network),
            seen(
                "pod annotation",
                annotations::STATUS,
                pod.annotation(annotations::STATUS),
            ),
        ])
    }

    fn done(&self) -> Result<Option<String>, ShapeError> {
        let pod = self.view()?;
        Ok(pod.annotation(annotations::INJECTED_BY).map(str::to_owned))
    }

    fn set_namespace_label(&mut self, name: &str, value: Option<&str>) {
        set(&mut self.namespace, name, value);
    }

    fn set_pod_label(&mut self, name: &str, value: Option<&str>) {
        set(&mut self.labels, name, value);
        let labels = json!(self.labels);
        self.set_metadata("labels", labels);
    }

    fn set_pod_annotation(&mut self, name: &str, value: Option<&str>) {
        let mut annotations = self
            .pod
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        match value {
            Some(value) => annotations.insert(name.to_owned(), json!(value)),
            None => annotations.shift_remove(name),
        };
        self.set_metadata("annotations", Value::Object(annotations));
    }

    fn set_metadata(&mut self, field: &str, value: Value) {
        if let Value::Object(pod) = &mut self.pod {
            let metadata = pod.entry("metadata").or_insert_with(|| json!({}));
            if metadata.is_null() {
                *metadata = json!({});
            }
            if let Value::Object(metadata) = metadata {
                metadata.insert(field.to_owned(), value);
            }
        }
    }

    fn leave_host_network(&mut self) {
        if let Some(Value::Object(spec)) = self.pod.get_mut("spec") {
            spec.shift_remove("hostNetwork");
        }
    }
}

fn set(labels: &mut BTreeMap<String, String>, name: &str, value: Option<&str>) {
    match value {
        Some(value) => labels.insert(name.to_owned(), value.to_owned()),
        None => labels.remove(name),
    };
}

type Try = Box<dyn Fn(&mut Situation)>;

/// The single changes that people can make; each is tried.
fn proposals(question: &Question<'_>, situation: &Situation) -> Vec<(String, Try)> {
    let mut proposals: Vec<(String, Try)> = Vec::new();
    let mut propose = |what: String, change: Try| proposals.push((what, change));
    for label in namespace::SWITCHES {
        for value in ["enabled", "disabled"] {
            let what = format!("label the namespace {label}={value}");
            propose(
                what,
                Box::new(move |s| s.set_namespace_label(label, Some(value))),
            );
        }
        if situation.namespace.contains_key(label) {
            let what = format!("remove the namespace's label {label}");
            propose(what, Box::new(move |s| s.set_namespace_label(label, None)));
        }
    }
    for plane in question.control_planes {
        let revision = plane.revision.to_owned();
        let what = format!("label the namespace {}={revision}", labels::REVISION);
        let wanted = revision.clone();
        let in_namespace =
            move |s: &mut Situation| s.set_namespace_label(labels::REVISION, Some(&wanted));
        propose(what, Box::new(in_namespace));
        let what = format!("label the pod {}={revision}", labels::REVISION);
        propose(
            what,
            Box::new(move |s| s.set_pod_label(labels::REVISION, Some(&revision))),
        );
    }
    if situation.namespace.contains_key(labels::REVISION) {
        let what = format!("remove the namespace's label {}", labels::REVISION);
        propose(
            what,
            Box::new(|s| s.set_namespace_label(labels::REVISION, None)),
        );
    }
    if situation.labels.contains_key(labels::REVISION) {
        let what = format!("remove the pod's label {}", labels::REVISION);
        propose(what, Box::new(|s| s.set_pod_label(labels::REVISION, None)));
    }
    for value in ["true", "false"] {
        let what = format!("label the pod {}={value:?}", policy::INJECT);
        propose(
            what,
            Box::new(move |s| s.set_pod_label(policy::INJECT, Some(value))),
        );
    }
    if situation.labels.contains_key(policy::INJECT) {
        let what = format!("remove the pod's label {}", policy::INJECT);
        propose(what, Box::new(|s| s.set_pod_label(policy::INJECT, None)));
    }
    for name in [policy::INJECT, annotations::STATUS] {
        let what = format!("remove the pod's annotation {name}");
        propose(what, Box::new(move |s| s.set_pod_annotation(name, None)));
    }
    propose(
        "let the pod have a network of its own (no spec.hostNetwork)".to_owned(),
        Box::new(Situation::leave_host_network),
    );
    proposals
}

/// The proposals after which the pod is injected (or refused) and was not, or the other way round, or by another
/// revision.
fn changes(
    question: &Question<'_>,
    situation: &Situation,
    now: &Verdict,
) -> Result<Vec<Change>, ShapeError> {
    let mut changes = Vec::new();
    for (what, change) in proposals(question, situation) {
        let mut changed = situation.clone();
        change(&mut changed);
        let (then, _) = question.judge(&changed, &question.calls(&changed))?;
        if by_whom(&then) != by_whom(now) {
            changes.push(Change { what, then });
        }
    }
    Ok(changes)
}

/// The revision whose proxy the pod gets, or should get and is refused for; none without a proxy.
fn by_whom(verdict: &Verdict) -> Option<(bool, &str)> {
    match verdict {
        Verdict::Injected { revision, .. } | Verdict::SomebodyElse { revision } => {
            Some((true, revision))
        }
        Verdict::Refused { revision, .. } => Some((false, revision)),
        Verdict::LeftAlone { .. } | Verdict::NotAsked | Verdict::Several => None,
    }
}
