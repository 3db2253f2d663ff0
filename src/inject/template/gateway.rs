//! The template `gateway`: a pod whose only container is the proxy, which takes traffic in instead of capturing it.

use serde_json::{Map, Value, json};

use crate::api::labels;
use crate::inject::{annotations as names, context::Context};

use super::{image_pull_secrets, non_empty, object, proxy, volumes::volumes_and_mounts};

pub(super) fn render(context: &Context<'_>) -> Map<String, Value> {
    let values = &context.config.values;
    let (volumes, mounts) = volumes_and_mounts(context);
    let (user, group) = context.user_ids();
    let mut container = proxy::container(context, "router");
    let mut set = |name: &str, value: Value| container.insert(name.to_owned(), value);
    if !values.global.proxy.lifecycle.is_empty() {
        set(
            "lifecycle",
            Value::Object(values.global.proxy.lifecycle.clone()),
        );
    }
    set("readinessProbe", proxy::readiness_probe(context));
    set(
        "securityContext",
        json!({ "runAsUser": user, "runAsGroup": group }),
    );
    set("volumeMounts", Value::Array(mounts));
    let spec = object([
        // Gateways listen on 80 and 443 without being root.
        (
            "securityContext",
            Some(
                json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }] }),
            ),
        ),
        ("containers", Some(json!([container]))),
        ("volumes", non_empty(volumes)),
        ("imagePullSecrets", image_pull_secrets(context)),
    ]);
    let metadata = json!({
        "labels": {
            (labels::CANONICAL_NAME): context.canonical_name(),
            (labels::CANONICAL_REVISION): context.canonical_revision(),
        },
        "annotations": { (names::REVISION): context.revision() },
    });
    object([
        ("metadata", Some(metadata)),
        ("spec", Some(Value::Object(spec))),
    ])
}
