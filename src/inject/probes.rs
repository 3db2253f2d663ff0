//! Probes and hooks of the application are sent to the agent, which carries them out from inside the pod.
//!
//! The kubelet is no member of the mesh: a probe of its own would be refused where mutual TLS is required, and a
//! TCP probe of a captured port always succeeds, because the proxy accepts it. The originals travel in
//! `ISTIO_KUBE_APP_PROBERS` on the proxy.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    context::PROXY,
    pod::{find, name_of},
    surprises::{Concern, Surprise},
};

/// The environment variable by which the agent learns the originals: JSON, path to handler.
pub(super) const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";

/// Where a probe stands in a container, and the path it gets: (field, name in the path).
const PROBES: [(&str, &str); 3] = [
    ("readinessProbe", "readyz"),
    ("livenessProbe", "livez"),
    ("startupProbe", "startupz"),
];
const HOOKS: [(&str, &str); 2] = [("preStop", "prestopz"), ("postStart", "poststartz")];

/// What was found besides the rewriting.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The originals, by the path that stands for them.
    pub probers: BTreeMap<String, Value>,
    /// For people: probes that cannot work.
    pub surprises: Vec<Surprise>,
}

/// Rewrites every probe and hook of the application's containers to `port` of the agent.
pub(super) fn rewrite(spec: &mut Map<String, Value>, port: u16) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for list in super::overrides::LISTS {
        let Some(Value::Array(containers)) = spec.get_mut(list) else {
            continue;
        };
        for container in containers {
            if let Value::Object(container) = container {
                rewrite_container(container, port, &mut rewritten);
            }
        }
    }
    rewritten
}

fn rewrite_container(container: &mut Map<String, Value>, port: u16, rewritten: &mut Rewritten) {
    let name = container
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if name == PROXY {
        return;
    }
    let named_ports = container.get("ports").cloned().unwrap_or_default();
    let mut visit = |handler: &mut Value, path: String, is_probe: bool| {
        let timeout = handler.get("timeoutSeconds").filter(|_| is_probe).cloned();
        if let Value::Object(handler) = handler {
            rewrite_handler(handler, path, &named_ports, timeout, port, rewritten);
        }
    };
    for (field, word) in PROBES {
        if let Some(probe) = container.get_mut(field) {
            visit(probe, format!("/app-health/{name}/{word}"), true);
        }
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for (field, word) in HOOKS {
            if let Some(hook) = lifecycle.get_mut(field) {
                visit(hook, format!("/app-lifecycle/{name}/{word}"), false);
            }
        }
    }
}

fn rewrite_handler(
    handler: &mut Map<String, Value>,
    path: String,
    named_ports: &Value,
    timeout: Option<Value>,
    port: u16,
    rewritten: &mut Rewritten,
) {
    let grpc = if path.starts_with("/app-health/") {
        "grpc"
    } else {
        ""
    };
    let Some(kind) = ["httpGet", "tcpSocket", grpc]
        .into_iter()
        .find(|kind| handler.get(*kind).is_some_and(Value::is_object))
    else {
        return;
    };
    let Some(original) = handler.get(kind).cloned() else {
        return;
    };
    let resolved = resolve_port(&original, named_ports);
    match &resolved {
        // Rewritten already.
        Some(number) if *number == u64::from(port) => return,
        Some(number) => {
            let mut original = original.clone();
            original["port"] = json!(number);
            let mut entry = Map::new();
            entry.insert(kind.to_owned(), original);
            if let Some(timeout) = timeout.filter(|timeout| *timeout != json!(0)) {
                entry.insert("timeoutSeconds".to_owned(), timeout);
            }
            rewritten.probers.insert(path.clone(), Value::Object(entry));
        }
        None => rewritten.surprises.push(Surprise::new(
            Concern::UnknownProbePort,
            format!(
                "{path}: the port {} is not among the ports of the container, the probe cannot succeed",
                original.get("port").unwrap_or(&Value::Null)
            ),
        )),
    }
    let mut get = match (kind, original) {
        ("httpGet", Value::Object(get)) => get,
        _ => Map::new(),
    };
    if get.get("scheme").and_then(Value::as_str) == Some("HTTPS") {
        get.insert("scheme".to_owned(), json!("HTTP"));
    }
    get.insert("path".to_owned(), json!(path));
    get.insert("port".to_owned(), json!(port));
    if kind == "httpGet" {
        handler.insert(kind.to_owned(), Value::Object(get));
    } else {
        handler.shift_remove(kind);
        handler.insert("httpGet".to_owned(), Value::Object(get));
    }
}

fn resolve_port(handler: &Value, named_ports: &Value) -> Option<u64> {
    match handler.get("port")? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            if let Ok(number) = text.parse() {
                return Some(number);
            }
            find(named_ports.as_array()?, text)?
                .get("containerPort")?
                .as_u64()
        }
        _ => None,
    }
}

/// Tells the agent the originals. Entries of an earlier injection win: only it saw the probes as they were.
pub(super) fn set_probers(spec: &mut Map<String, Value>, mut probers: BTreeMap<String, Value>) {
    let Some(env) = proxy_env(spec) else { return };
    let slot = env.iter_mut().find(|entry| name_of(entry) == PROBERS);
    if let Some(Value::Object(entry)) = slot {
        let before = entry
            .get("value")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let Ok(before) = serde_json::from_str::<BTreeMap<String, Value>>(before) {
            probers.extend(before);
        }
        entry.insert("value".to_owned(), json!(json!(probers).to_string()));
    } else if !probers.is_empty() {
        env.push(json!({ "name": PROBERS, "value": json!(probers).to_string() }));
    }
}

/// The environment of the proxy, wherever it stands.
pub(super) fn proxy_env(spec: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    let list = super::overrides::LISTS.into_iter().find(|list| {
        spec.get(*list)
            .and_then(Value::as_array)
            .is_some_and(|items| find(items, PROXY).is_some())
    })?;
    let proxy = spec
        .get_mut(list)?
        .as_array_mut()?
        .iter_mut()
        .find(|item| name_of(item) == PROXY)?
        .as_object_mut()?;
    let env = proxy.entry("env").or_insert_with(|| json!([]));
    if env.is_null() {
        *env = json!([]);
    }
    env.as_array_mut()
}
