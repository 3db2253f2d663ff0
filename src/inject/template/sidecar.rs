//! The template `sidecar`: capture and a proxy beside the application.

use serde_json::{Map, Value, json};

use crate::api::labels;
use crate::inject::{annotations as names, cni, context::Context};

use super::{capture, image_pull_secrets, non_empty, object, proxy, volumes::volumes_and_mounts};

pub(super) fn render(context: &Context<'_>) -> Map<String, Value> {
    let (volumes, mounts) = volumes_and_mounts(context);
    let mut proxy = proxy_container(context);
    proxy.insert("volumeMounts".to_owned(), Value::Array(mounts));
    let proxy = Value::Object(proxy);
    let mut init: Vec<Value> = capture::container(context).into_iter().collect();
    let mut containers = Vec::new();
    if context.native {
        init.push(proxy);
    } else {
        containers.push(proxy);
    }
    let spec = object([
        ("initContainers", non_empty(init)),
        ("containers", non_empty(containers)),
        ("volumes", non_empty(volumes)),
        ("imagePullSecrets", image_pull_secrets(context)),
    ]);
    object([
        (
            "metadata",
            Some(json!({ "labels": labels(context), "annotations": annotations(context) })),
        ),
        ("spec", Some(Value::Object(spec))),
    ])
}

fn labels(context: &Context<'_>) -> Map<String, Value> {
    let own = |name: &str, default: &str| json!(context.pod.label(name).unwrap_or(default));
    let metadata = &context.proxy.known.proxy_metadata;
    let tunnel = metadata
        .get("ISTIO_META_ENABLE_HBONE")
        .is_some_and(|value| value == "true");
    let tunnel_label = "networking.istio.io/tunnel";
    object([
        (labels::TLS_MODE, Some(own(labels::TLS_MODE, "istio"))),
        (
            labels::CANONICAL_NAME,
            Some(json!(context.canonical_name())),
        ),
        (
            labels::CANONICAL_REVISION,
            Some(json!(context.canonical_revision())),
        ),
        (
            labels::NETWORK,
            Some(context.network())
                .filter(|network| !network.is_empty())
                .map(|network| json!(network)),
        ),
        (tunnel_label, tunnel.then(|| own(tunnel_label, "http"))),
    ])
}

fn annotations(context: &Context<'_>) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert(names::REVISION.to_owned(), json!(context.revision()));
    if let Some(first) = context.app_containers().next() {
        for name in [names::DEFAULT_CONTAINER, names::DEFAULT_LOGS_CONTAINER] {
            if context.pod.annotation(name).is_none() {
                annotations.insert(name.to_owned(), json!(first));
            }
        }
    }
    if context.config.values.pilot.cni.enabled {
        annotations.extend(cni::annotations(context));
    }
    annotations
}

fn proxy_container(context: &Context<'_>) -> Map<String, Value> {
    let settings = &context.config.values.global.proxy;
    let mut container = proxy::container(context, "sidecar");
    let mut set = |name: &str, value: Value| container.insert(name.to_owned(), value);
    if context.native {
        set("restartPolicy", json!("Always"));
    }
    if let Some(lifecycle) = lifecycle(context) {
        set("lifecycle", lifecycle);
    }
    if context.status_port() != "0" {
        if settings.startup_probe.enabled {
            let failures = json!(settings.startup_probe.failure_threshold);
            set("startupProbe", proxy::health_check(json!(1), failures));
        }
        set("readinessProbe", proxy::readiness_probe(context));
    }
    set("resources", Value::Object(context.resources()));
    set("securityContext", security_context(context));
    container
}

/// Hooks of the proxy: the mesh's own, else what the layout needs.
fn lifecycle(context: &Context<'_>) -> Option<Value> {
    let settings = &context.config.values.global.proxy;
    if !settings.lifecycle.is_empty() {
        return Some(Value::Object(settings.lifecycle.clone()));
    }
    let hook =
        |when: &str, command: Value| Some(json!({ when: { "exec": { "command": command } } }));
    if context.native {
        // A native sidecar ends after the application; it begins to drain when the pod does.
        let port = format!("--debug-port={}", context.status_port());
        hook(
            "preStop",
            json!(["pilot-agent", "request", port, "POST", "drain"]),
        )
    } else if context.holds_application() {
        hook("postStart", json!(["pilot-agent", "wait"]))
    } else {
        None
    }
}

fn security_context(context: &Context<'_>) -> Value {
    let settings = &context.config.values.global.proxy;
    let (user, group) = context.user_ids();
    let bind =
        context.setting(names::CAP_NET_BIND_SERVICE, &settings.cap_net_bind_service) == "true";
    let added: Vec<&str> = [
        (context.transparent(), "NET_ADMIN"),
        (bind, "NET_BIND_SERVICE"),
    ]
    .into_iter()
    .filter_map(|(on, capability)| on.then_some(capability))
    .collect();
    // Capabilities that are added reach a process of another user only through the ambient set, which Kubernetes
    // does not offer.
    let root = !added.is_empty();
    let mut capabilities = json!({ "drop": ["ALL"] });
    if root {
        capabilities["add"] = json!(added);
    }
    let mut security = json!({
        "allowPrivilegeEscalation": settings.privileged,
        "capabilities": capabilities,
        "privileged": settings.privileged,
        "readOnlyRootFilesystem": true,
        "runAsGroup": group,
        "runAsNonRoot": !root,
        "runAsUser": if root { 0 } else { user },
    });
    if !settings.seccomp_profile.is_empty() {
        security["seccompProfile"] = Value::Object(settings.seccomp_profile.clone());
    }
    security
}
