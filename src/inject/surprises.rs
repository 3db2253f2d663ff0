//! What will surprise the author of a pod, said when it is created.
//!
//! The text goes into the admission response, which the author sees who creates the pod directly, and to whoever
//! writes Events on owners, because the users of a Deployment never see the answers that its controller gets.

use serde_json::Value;

use super::{
    annotations as names,
    context::{Context, INIT, PROXY, VALIDATION},
    pod::{Pod, name_of},
    pod_security, policy, template,
};

/// What kind of surprise; the words are stable, so that an Event can be told from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// The label or annotation `sidecar.istio.io/inject` says neither yes nor no.
    UnclearInjectLabel,
    /// Another mesh's injection status is on the pod.
    ForeignInjection,
    /// An annotation has no effect.
    AnnotationIgnored,
    /// The namespace enforces a Pod Security level that refuses the injected containers.
    PodSecurity,
    /// A container runs as the user whose traffic is not captured.
    RunsAsProxy,
    /// The proxy keeps a Job from completing.
    JobWillNotComplete,
    /// An init container runs before traffic is captured.
    InitBeforeCapture,
    /// A probe names a port that its container does not declare.
    UnknownProbePort,
    /// The pod should be injected and cannot be: it is not created.
    Denied,
}

impl Concern {
    /// The word for Events (their reason) and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnclearInjectLabel => "UnclearInjectLabel",
            Self::ForeignInjection => "ForeignInjection",
            Self::AnnotationIgnored => "AnnotationIgnored",
            Self::PodSecurity => "PodSecurityRefusesSidecar",
            Self::RunsAsProxy => "RunsAsProxyUser",
            Self::JobWillNotComplete => "JobWillNotComplete",
            Self::InitBeforeCapture => "InitBeforeCapture",
            Self::UnknownProbePort => "UnknownProbePort",
            Self::Denied => "InjectionDenied",
        }
    }
}

/// One surprise, with a text for people: what will happen, why, and what to do. It names no single pod, so all pods of
/// an owner have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Surprise {
    /// What kind.
    pub concern: Concern,
    /// For the person whose pod it is.
    pub text: String,
}

impl Surprise {
    pub(super) fn new(concern: Concern, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { concern, text }
    }
}

/// A wish that is neither yes nor no.
pub(super) fn unclear_wish(pod: &Pod<'_>) -> Option<Surprise> {
    let label = pod.label(policy::INJECT);
    let wish = label.or_else(|| pod.annotation(policy::INJECT));
    match wish {
        None | Some("true" | "false" | "") => None,
        Some(other) => Some(Surprise::new(
            Concern::UnclearInjectLabel,
            format!(
                "{}: {:?} is neither \"true\" nor \"false\" and has no effect",
                policy::INJECT,
                names::excerpt(other)
            ),
        )),
    }
}

/// The pod was injected by another mesh and is left alone.
pub(super) fn foreign_injection() -> Surprise {
    Surprise::new(
        Concern::ForeignInjection,
        format!(
            "left alone: the annotation {} was written by another mesh; remove it, and what it lists, to have the pod \
             injected by Outrigger",
            names::STATUS
        ),
    )
}

/// User volumes that are no JSON object of objects.
pub(super) fn unusable_user_volumes(pod: &Pod<'_>) -> impl Iterator<Item = Surprise> {
    [names::USER_VOLUME, names::USER_VOLUME_MOUNT]
        .into_iter()
        .filter(|name| {
            pod.annotation(name)
                .is_some_and(|text| template::user_entries(text).is_none())
        })
        .map(|name| {
            let text = format!(
                "{name}: must be a JSON object of objects, by the volume's name; it has no effect"
            );
            Surprise::new(Concern::AnnotationIgnored, text)
        })
}

/// What will surprise about the containers that were put into the pod.
pub(super) fn of_containers<'v>(
    context: &Context<'_>,
    injected: impl Iterator<Item = &'v Value>,
) -> Option<Surprise> {
    let labels = &context.surroundings.namespace?.labels;
    let enforced = labels.get(pod_security::ENFORCE)?;
    pod_security::refusal(enforced, context.pod.security_context(), injected)
}

type Find = fn(&Context<'_>) -> Option<Surprise>;

const FINDS: [Find; 3] = [
    runs_as_the_proxy,
    job_that_never_ends,
    starts_before_capture,
];

/// What will surprise about the pod that is being injected.
pub(super) fn of_pod(context: &Context<'_>) -> Vec<Surprise> {
    FINDS.iter().filter_map(|find| find(context)).collect()
}

/// Traffic of the proxy's user is not captured, or the proxy would capture itself.
fn runs_as_the_proxy(context: &Context<'_>) -> Option<Surprise> {
    let (proxy, _) = context.user_ids();
    let user_of = |of: Option<&Value>| of?.get("runAsUser")?.as_u64();
    let pod = user_of(context.pod.security_context());
    let names: Vec<&str> = context
        .pod
        .containers()
        .iter()
        .filter(|container| name_of(container) != PROXY)
        .filter(|container| user_of(container.get("securityContext")).or(pod) == Some(proxy))
        .map(name_of)
        .collect();
    (!names.is_empty()).then(|| {
        let text = format!(
            "container {} runs as user {proxy}, which is the proxy's: its traffic is not captured; give it another \
             runAsUser",
            names.join(", ")
        );
        Surprise::new(Concern::RunsAsProxy, text)
    })
}

/// The proxy of the classic layout goes on when the Job's own container has ended.
fn job_that_never_ends(context: &Context<'_>) -> Option<Surprise> {
    let is_job = matches!(context.workload.kind.as_str(), "Job" | "CronJob");
    (is_job && !context.native).then(|| {
        let text = format!(
            "the proxy keeps this {} from completing, because it is no native sidecar here: let the container end \
             with a POST to http://127.0.0.1:{}/quitquitquit",
            context.workload.kind,
            context.agent_port()
        );
        Surprise::new(Concern::JobWillNotComplete, text)
    })
}

/// In the classic layout capture is programmed after the author's init containers have run.
fn starts_before_capture(context: &Context<'_>) -> Option<Surprise> {
    let names: Vec<&str> = context
        .pod
        .init_containers()
        .iter()
        .map(name_of)
        .filter(|name| ![INIT, VALIDATION, PROXY].contains(name))
        .collect();
    (!context.native && !names.is_empty()).then(|| {
        let text = format!(
            "init container {} runs before traffic is captured: it talks past the mesh",
            names.join(", ")
        );
        Surprise::new(Concern::InitBeforeCapture, text)
    })
}
