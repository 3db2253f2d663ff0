//! What will surprise the author of an injected pod, said when it is created.

use serde_json::Value;

use super::{
    annotations::INTERCEPTION_MODE,
    context::{Context, INIT, PROXY, VALIDATION},
    pod::name_of,
};

type Find = fn(&Context<'_>) -> Option<String>;

const SURPRISES: [Find; 4] = [
    captures_in_a_way_not_built_yet,
    runs_as_the_proxy,
    job_that_never_ends,
    starts_before_capture,
];

/// Everything that will surprise.
pub(super) fn of(context: &Context<'_>) -> Vec<String> {
    SURPRISES.iter().filter_map(|find| find(context)).collect()
}

/// The agent applies REDIRECT; it refuses TPROXY, so the pod would not start and only its log would say why.
fn captures_in_a_way_not_built_yet(context: &Context<'_>) -> Option<String> {
    context.transparent().then(|| {
        format!(
            "the pod will not start: {INIT} can't capture in TPROXY mode yet; set annotation {INTERCEPTION_MODE} to REDIRECT"
        )
    })
}

/// Traffic of the proxy's user is not captured, or the proxy would capture itself.
fn runs_as_the_proxy(context: &Context<'_>) -> Option<String> {
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
        format!(
            "container {} runs as user {proxy}, which is the proxy's: its traffic is not captured; give it another \
             runAsUser",
            names.join(", ")
        )
    })
}

/// The proxy of the classic layout goes on when the Job's own container has ended.
fn job_that_never_ends(context: &Context<'_>) -> Option<String> {
    let is_job = matches!(context.workload.kind.as_str(), "Job" | "CronJob");
    (is_job && !context.native).then(|| {
        format!(
            "the proxy keeps this {} from completing, because it is no native sidecar here: let the container end \
             with a POST to http://127.0.0.1:{}/quitquitquit",
            context.workload.kind,
            context.agent_port()
        )
    })
}

/// In the classic layout capture is programmed after the author's init containers have run.
fn starts_before_capture(context: &Context<'_>) -> Option<String> {
    let names: Vec<&str> = context
        .pod
        .init_containers()
        .iter()
        .map(name_of)
        .filter(|name| ![INIT, VALIDATION, PROXY].contains(name))
        .collect();
    (!context.native && !names.is_empty()).then(|| {
        format!(
            "init container {} runs before traffic is captured: it talks past the mesh",
            names.join(", ")
        )
    })
}
