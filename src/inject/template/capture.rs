//! The init container that programs traffic capture, or with a CNI plugin checks it.

use serde_json::{Map, Value, json};

use crate::inject::{
    annotations as names,
    context::{Context, INIT, VALIDATION},
};

use super::proxy::env_of_metadata;

/// Ports of the proxy itself that are never captured: Prometheus and health.
const OWN_PORTS: &str = "15090,15021";

/// The container, or none where nothing is captured.
pub(super) fn container(context: &Context<'_>) -> Option<Value> {
    if context.interception_mode() == "NONE" {
        return None;
    }
    let values = &context.config.values;
    let name = if values.pilot.cni.enabled {
        VALIDATION
    } else {
        INIT
    };
    let mut container = Map::new();
    container.insert("name".into(), json!(name));
    container.insert(
        "image".into(),
        json!(context.image(&values.global.proxy_init.image)),
    );
    container.insert("args".into(), json!(arguments(context)));
    context.set_pull_policy(&mut container);
    let env = env_of_metadata(context);
    if !env.is_empty() {
        container.insert("env".into(), Value::Array(env));
    }
    container.insert("resources".into(), Value::Object(context.resources()));
    container.insert("securityContext".into(), security_context(context));
    Some(Value::Object(container))
}

fn arguments(context: &Context<'_>) -> Vec<String> {
    let values = &context.config.values;
    let mut arguments = vec!["istio-iptables".to_owned()];
    for (flag, value) in flags(context) {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value]);
        }
    }
    let level = context.setting(names::AGENT_LOG_LEVEL, &values.global.logging.level);
    arguments.push(format!("--log_output_level={level}"));
    let cni = values.pilot.cni.enabled;
    let switches = [
        (values.global.log_as_json, "--log_as_json"),
        (cni, "--run-validation"),
        (cni, "--skip-rule-apply"),
        (
            !cni && values.global.proxy_init.force_apply_iptables,
            "--force-apply",
        ),
        (values.global.native_nftables, "--native-nftables"),
    ];
    let on = switches.into_iter().filter(|(on, _)| *on);
    arguments.extend(on.map(|(_, switch)| switch.to_owned()));
    arguments
}

/// The flags with a value, in Istio's order; those without one are left out.
fn flags(context: &Context<'_>) -> [(&'static str, Option<String>); 12] {
    let proxy = &context.config.values.global.proxy;
    let mesh = &context.config.mesh;
    let port = |port: Option<u16>, default: u16| {
        let port = port.filter(|port| *port != 0).unwrap_or(default);
        Some(port.to_string())
    };
    let setting = |name, or| Some(context.setting(name, or).to_owned());
    let optional = |name, or| context.optional_setting(name, or).map(str::to_owned);
    let annotation = |name| context.pod.annotation(name).map(str::to_owned);
    let excluded = match context.excluded_inbound_ports() {
        ports if ports.is_empty() => OWN_PORTS.to_owned(),
        ports => format!("{OWN_PORTS},{ports}"),
    };
    let rerouted = annotation(names::REROUTE_VIRTUAL_INTERFACES)
        .or_else(|| annotation(names::KUBEVIRT_INTERFACES));
    [
        ("-p", port(mesh.proxy_listen_port, 15001)),
        ("-z", port(mesh.proxy_inbound_listen_port, 15006)),
        ("-u", Some(context.user_ids().0.to_string())),
        ("-m", Some(context.interception_mode().to_owned())),
        (
            "-i",
            setting(names::INCLUDE_OUTBOUND_IP_RANGES, &proxy.include_ip_ranges),
        ),
        (
            "-x",
            setting(names::EXCLUDE_OUTBOUND_IP_RANGES, &proxy.exclude_ip_ranges),
        ),
        (
            "-b",
            setting(names::INCLUDE_INBOUND_PORTS, &proxy.include_inbound_ports),
        ),
        ("-d", Some(excluded)),
        (
            "-q",
            optional(names::INCLUDE_OUTBOUND_PORTS, &proxy.include_outbound_ports),
        ),
        (
            "-o",
            optional(names::EXCLUDE_OUTBOUND_PORTS, &proxy.exclude_outbound_ports),
        ),
        ("-k", rerouted),
        ("-c", annotation(names::EXCLUDE_INTERFACES)),
    ]
}

fn security_context(context: &Context<'_>) -> Value {
    let values = &context.config.values;
    let privileged = values.global.proxy.privileged;
    let mut security = if values.pilot.cni.enabled {
        let (user, group) = context.user_ids();
        json!({
            "allowPrivilegeEscalation": privileged,
            "capabilities": { "drop": ["ALL"] },
            "privileged": privileged,
            "readOnlyRootFilesystem": true,
            "runAsGroup": group,
            "runAsNonRoot": true,
            "runAsUser": user,
        })
    } else {
        json!({
            "allowPrivilegeEscalation": privileged,
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
            "privileged": privileged,
            // iptables keeps its lock in /run.
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        })
    };
    let seccomp = &values.global.proxy.seccomp_profile;
    if !seccomp.is_empty() {
        security["seccompProfile"] = Value::Object(seccomp.clone());
    }
    security
}
