//! The container `istio-proxy`: what a sidecar and a gateway have in common.

use serde_json::{Map, Value, json};

use crate::inject::{
    annotations as names,
    context::{Context, NETWORK_ENV, PROXY},
    pod::name_of,
};

/// The container so far as sidecar and gateway agree; `role` is the agent's subcommand.
pub(super) fn container(context: &Context<'_>, role: &str) -> Map<String, Value> {
    let values = &context.config.values;
    let mut container = Map::new();
    let mut set = |name: &str, value: Value| container.insert(name.to_owned(), value);
    set("name", json!(PROXY));
    set("image", json!(context.image(&values.global.proxy.image)));
    set(
        "ports",
        json!([{ "containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom" }]),
    );
    set("args", json!(arguments(context, role)));
    set("env", Value::Array(env(context)));
    context.set_pull_policy(&mut container);
    container
}

fn arguments(context: &Context<'_>, role: &str) -> Vec<String> {
    let global = &context.config.values.global;
    let proxy = &global.proxy;
    let mut arguments = vec![
        "proxy".to_owned(),
        role.to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", proxy.cluster_domain),
        format!(
            "--proxyLogLevel={}",
            context.setting(names::LOG_LEVEL, &proxy.log_level)
        ),
        format!(
            "--proxyComponentLogLevel={}",
            context.setting(names::COMPONENT_LOG_LEVEL, &proxy.component_log_level)
        ),
        format!(
            "--log_output_level={}",
            context.setting(names::AGENT_LOG_LEVEL, &global.logging.level)
        ),
    ];
    if !matches!(global.sts.service_port.as_str(), "" | "0") {
        arguments.push(format!("--stsPort={}", global.sts.service_port));
    }
    if global.log_as_json {
        arguments.push("--log_as_json".to_owned());
    }
    if !proxy.outlier_log_path.is_empty() {
        arguments.push(format!("--outlierLogPath={}", proxy.outlier_log_path));
    }
    arguments
}

/// The readiness probe of the proxy; the numbers have been checked to be numbers where a pod gave them.
pub(super) fn readiness_probe(context: &Context<'_>) -> Value {
    let proxy = &context.config.values.global.proxy;
    let number = |annotation: &str, or| -> Value {
        let text = context.setting(annotation, or);
        json!(text.parse::<u32>().unwrap_or_default())
    };
    let mut probe = health_check(
        number(names::READINESS_PERIOD, &proxy.readiness_period_seconds),
        number(
            names::READINESS_FAILURE_THRESHOLD,
            &proxy.readiness_failure_threshold,
        ),
    );
    let delay = number(
        names::READINESS_INITIAL_DELAY,
        &proxy.readiness_initial_delay_seconds,
    );
    // The API's own default; left out, so that what is added says only what matters.
    if delay != json!(0) {
        probe["initialDelaySeconds"] = delay;
    }
    probe
}

/// A probe of the agent's readiness.
pub(super) fn health_check(period: Value, failures: Value) -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": 15021 },
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// `proxyMetadata` as environment; the capture container has it as well.
pub(super) fn env_of_metadata(context: &Context<'_>) -> Vec<Value> {
    let metadata = &context.proxy.known.proxy_metadata;
    metadata
        .iter()
        .map(|(name, value)| env_value(name, value))
        .collect()
}

fn env_value(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn env_field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

/// The environment by which the agent learns who it is.
fn env(context: &Context<'_>) -> Vec<Value> {
    let config = context.config;
    let global = &config.values.global;
    let mut env = vec![
        env_field("POD_NAME", "metadata.name"),
        env_field("POD_NAMESPACE", "metadata.namespace"),
        env_field("INSTANCE_IP", "status.podIP"),
        env_field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        env_field("HOST_IP", "status.hostIP"),
        json!({ "name": "ISTIO_CPU_LIMIT",
            "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": "1" } } }),
        env_value(
            "PROXY_CONFIG",
            &Value::Object(context.told_config()).to_string(),
        ),
        env_value("ISTIO_META_POD_PORTS", &pod_ports(context)),
        env_value(
            "ISTIO_META_APP_CONTAINERS",
            &context.app_containers().collect::<Vec<_>>().join(","),
        ),
        env_value(
            "ISTIO_META_CLUSTER_ID",
            or(&global.multi_cluster.cluster_name, "Kubernetes"),
        ),
        env_field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        env_value("ISTIO_META_INTERCEPTION_MODE", context.interception_mode()),
    ];
    let mode = config.mesh.inbound_traffic_policy.as_ref();
    if mode.is_some_and(|policy| policy.mode.eq_ignore_ascii_case("LOCALHOST")) {
        env.push(env_value(
            "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION",
            "true",
        ));
    }
    let trust_domain = config.mesh.trust_domain.as_deref().unwrap_or_default();
    let trust_domain = or(trust_domain, or(&global.trust_domain, "cluster.local"));
    let optional = [
        ("CA_ADDR", global.ca_address.as_str()),
        (NETWORK_ENV, context.network()),
        ("ISTIO_META_WORKLOAD_NAME", &context.workload.name),
        ("ISTIO_META_OWNER", &owner(context)),
        ("ISTIO_META_MESH_ID", or(&global.mesh_id, trust_domain)),
        ("TRUST_DOMAIN", trust_domain),
        ("OTEL_RESOURCE_ATTRIBUTES", &otel_attributes(context)),
    ];
    env.extend(
        optional
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| env_value(name, value)),
    );
    if context.pod.annotation(names::BOOTSTRAP_OVERRIDE).is_some() {
        let path = "/etc/istio/custom-bootstrap/custom_bootstrap.json";
        env.push(env_value("ISTIO_BOOTSTRAP_OVERRIDE", path));
    }
    env.extend(env_of_metadata(context));
    for (name, value) in context.env.iter().filter(|(name, _)| name != NETWORK_ENV) {
        env.retain(|entry| name_of(entry) != name);
        env.push(env_value(name, value));
    }
    env
}

fn or<'t>(text: &'t str, default: &'t str) -> &'t str {
    if text.is_empty() { default } else { text }
}

/// The ports that the application's containers declare, as the agent's JSON.
fn pod_ports(context: &Context<'_>) -> String {
    let ports: Vec<&Value> = context
        .pod
        .containers()
        .iter()
        .filter(|container| name_of(container) != PROXY)
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten()
        .collect();
    json!(ports).to_string()
}

fn owner(context: &Context<'_>) -> String {
    let workload = context.workload;
    if workload.api_version.is_empty() || workload.name.is_empty() {
        return String::new();
    }
    format!(
        "kubernetes://apis/{}/namespaces/{}/{}s/{}",
        workload.api_version,
        or(context.pod.namespace(), "default"),
        workload.kind.to_lowercase(),
        workload.name
    )
}

/// Resource attributes by OpenTelemetry's conventions, where a collector of the mesh asks for them.
fn otel_attributes(context: &Context<'_>) -> String {
    let wanted = context
        .config
        .mesh
        .extension_providers
        .iter()
        .any(|provider| {
            provider.opentelemetry.as_ref().is_some_and(|otel| {
                otel.service_attribute_enrichment == "OTEL_SEMANTIC_CONVENTIONS"
            })
        });
    if !wanted {
        return String::new();
    }
    let namespace = or(context.pod.namespace(), "default");
    let label = |name: &str| context.pod.label(name).filter(|value| !value.is_empty());
    let version = label("app.kubernetes.io/version").or_else(|| label("version"));
    let container = context.app_containers().next().unwrap_or_default();
    let attributes = [
        Some(format!("service.namespace={namespace}")),
        version.map(|version| format!("service.version={version}")),
        Some(format!(
            "service.instance.id={namespace}.$(POD_NAME).{container}"
        )),
    ];
    attributes
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(",")
}
