//! Injection: what pods say may change what is injected in the ways that are meant, and in no other.

use std::{collections::BTreeSet, str};

use outrigger::{
    agent::{self, ProxySettings, Role, Stack},
    api::yaml,
    inject::annotations::*,
};
use serde_json::{Value, json};

use super::{CONFIG, container, containers, environment, injected, injected_for_good, plain_pod};

/// The annotations that injection reads.
const READ: [&str; 34] = [
    TEMPLATES,
    INTERCEPTION_MODE,
    INCLUDE_OUTBOUND_IP_RANGES,
    EXCLUDE_OUTBOUND_IP_RANGES,
    INCLUDE_INBOUND_PORTS,
    EXCLUDE_INBOUND_PORTS,
    INCLUDE_OUTBOUND_PORTS,
    EXCLUDE_OUTBOUND_PORTS,
    EXCLUDE_INTERFACES,
    REROUTE_VIRTUAL_INTERFACES,
    KUBEVIRT_INTERFACES,
    STATUS_PORT,
    READINESS_INITIAL_DELAY,
    READINESS_PERIOD,
    READINESS_FAILURE_THRESHOLD,
    PROXY_CPU,
    PROXY_CPU_LIMIT,
    PROXY_MEMORY,
    PROXY_MEMORY_LIMIT,
    PROXY_IMAGE,
    PROXY_IMAGE_TYPE,
    LOG_LEVEL,
    COMPONENT_LOG_LEVEL,
    AGENT_LOG_LEVEL,
    NATIVE_SIDECAR,
    REWRITE_PROBES,
    BOOTSTRAP_OVERRIDE,
    USER_VOLUME,
    USER_VOLUME_MOUNT,
    CAP_NET_BIND_SERVICE,
    PROXY_CONFIG,
    MERGE_METRICS,
    SCRAPE_TARGETS,
    CNI_NETWORKS,
];

/// What an injection writes and the next one reads: it may stand in a pod that its author wrote as well.
const WRITTEN: [&str; 3] = [STATUS, OVERRIDES, INJECTED_BY];

/// Containers that injection may add.
const INJECTED: [&str; 2] = ["istio-init", "istio-proxy"];

/// Variables that annotations may add to those of the plain pod.
const ADDED: [&str; 2] = ["ISTIO_PROMETHEUS_ANNOTATIONS", "ISTIO_BOOTSTRAP_OVERRIDE"];

/// Fields of the spec that may differ from those of the plain pod; the first three are looked at one by one.
const CHANGED: [&str; 4] = ["containers", "initContainers", "volumes", "securityContext"];

/// What the injected containers may be allowed to do.
const CAPABILITIES: [&str; 3] = ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"];

/// The input is one or more annotations, separated by the byte 0xff: the name in the first line, the value in the
/// others. A line that is no name stands for one.
pub fn annotations(input: &[u8]) {
    let mut pod = plain_pod();
    let names: Vec<&str> = READ.into_iter().chain(WRITTEN).collect();
    for record in input.split(|byte| *byte == 0xff) {
        let Ok(record) = str::from_utf8(record) else {
            return;
        };
        let (first, value) = record.split_once('\n').unwrap_or((record, ""));
        let sum = first.bytes().map(usize::from).sum::<usize>();
        let known = names.iter().find(|name| **name == first);
        let name = known.unwrap_or(&names[sum % names.len()]);
        pod["metadata"]["annotations"][name] = json!(value);
    }
    let annotations = &pod["metadata"]["annotations"];
    if WRITTEN.iter().any(|name| annotations.get(*name).is_some()) {
        injected(&CONFIG, &pod);
    } else if let Some(injected) = injected_for_good(&CONFIG, &pod) {
        check(&injected, &pod);
    }
}

/// Compares with the same pod without its annotations, injected.
fn check(injected: &Value, pod: &Value) {
    let annotations = &pod["metadata"]["annotations"];
    let plain = injected_plain();
    assert_eq!(
        container(injected, "app"),
        container(pod, "app"),
        "the application's container"
    );
    let mut seen = BTreeSet::new();
    for container in containers(injected) {
        let name = container["name"].as_str().expect("a name");
        assert!(seen.insert(name), "container {name:?} twice");
        if name != "app" {
            check_container(
                name,
                container,
                &allowed_environment(&plain, name, annotations),
            );
        }
    }
    let volumes = annotations[USER_VOLUME].as_str().unwrap_or_default();
    let volumes: Value = serde_json::from_str(volumes).unwrap_or_default();
    let bootstrap = annotations.get(BOOTSTRAP_OVERRIDE).is_some();
    let list = |pod: &Value| {
        pod["spec"]["volumes"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    for volume in list(injected) {
        let name = volume["name"].as_str().expect("a name");
        let asked_for =
            volumes.get(name).is_some() || bootstrap && name == "custom-bootstrap-volume";
        assert!(
            asked_for || list(&plain).contains(&volume),
            "volume {volume}"
        );
    }
    for (field, value) in injected["spec"].as_object().expect("a spec") {
        if !CHANGED.contains(&field.as_str()) {
            assert_eq!(plain["spec"].get(field), Some(value), "{field}");
        }
    }
}

fn check_container(name: &str, container: &Value, allowed: &BTreeSet<String>) {
    assert!(INJECTED.contains(&name), "container {name:?}");
    assert_eq!(container.get("command"), None, "{name}: a command");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for entry in list(&container["env"]) {
        let variable = entry["name"].as_str().expect("a name");
        assert!(allowed.contains(variable), "{name}: variable {variable:?}");
    }
    let context = &container["securityContext"];
    assert_ne!(context["privileged"], true, "{name}");
    for capability in list(&context["capabilities"]["add"]) {
        let capability = capability.as_str().expect("a name");
        assert!(CAPABILITIES.contains(&capability), "{name}: {capability:?}");
    }
}

fn injected_plain() -> Value {
    injected(&CONFIG, &plain_pod()).expect("a plain pod is injected")
}

/// Names of variables that the container of this name may have.
fn allowed_environment(plain: &Value, name: &str, annotations: &Value) -> BTreeSet<String> {
    let plain = container(plain, name).into_iter();
    let plain = plain.flat_map(|container| container["env"].as_array().into_iter().flatten());
    let plain = plain.filter_map(|entry| entry["name"].as_str());
    let config = annotations[PROXY_CONFIG].as_str().unwrap_or_default();
    let config = yaml::parse_map(config).unwrap_or_default();
    let metadata = ["proxyMetadata", "proxy_metadata"]
        .into_iter()
        .filter_map(|field| config.get(field)?.as_object());
    let metadata = metadata.flat_map(|metadata| metadata.keys().map(String::as_str));
    plain
        .chain(ADDED)
        .chain(metadata)
        .map(str::to_owned)
        .collect()
}

/// The input is the JSON of fields of a container: probes, hooks, ports.
pub fn probes(input: &[u8]) {
    let Ok(Value::Object(fields)) = serde_json::from_slice(input) else {
        return;
    };
    let mut pod = plain_pod();
    let app = pod["spec"]["containers"][0]
        .as_object_mut()
        .expect("a container");
    app.extend(fields);
    app.insert("name".to_owned(), json!("app"));
    let Some(injected) = injected_for_good(&CONFIG, &pod) else {
        return;
    };
    let proxy = container(&injected, "istio-proxy").expect("a proxy");
    let probers = environment(proxy).find(|(name, _)| *name == "ISTIO_KUBE_APP_PROBERS");
    let probers = probers.map_or("{}", |(_, value)| value);
    let originals: Value = serde_json::from_str(probers).expect("probes are JSON");
    let unreadable = agent::unreadable_probes(probers).expect("the agent reads them");
    let (before, after) = (container(&pod, "app"), container(&injected, "app"));
    let (Some(before), Some(after)) = (before, after) else {
        panic!("the application's container is gone");
    };
    for pointer in [
        "/readinessProbe",
        "/livenessProbe",
        "/startupProbe",
        "/lifecycle/preStop",
        "/lifecycle/postStart",
    ] {
        let (Some(before), Some(after)) = (before.pointer(pointer), after.pointer(pointer)) else {
            continue;
        };
        if before == after {
            continue;
        }
        let path = after["httpGet"]["path"]
            .as_str()
            .expect("it is asked of the agent");
        assert_eq!(after["httpGet"]["port"], 15020);
        for field in [
            "timeoutSeconds",
            "periodSeconds",
            "terminationGracePeriodSeconds",
        ] {
            assert_eq!(after.get(field), before.get(field), "{field}");
        }
        // What has no entry, or one that cannot be read, was no probe that the API server would take.
        if originals.get(path).is_some() && well_formed(before) {
            let why = unreadable.iter().find(|(of, _)| of == path);
            assert_eq!(why, None, "{before}");
        }
    }
}

/// Whether the API server would take the handler, as far as the agent reads it.
fn well_formed(handler: &Value) -> bool {
    let is_text = |value: Option<&Value>| value.is_none_or(Value::is_string);
    let (get, tcp, grpc) = (&handler["httpGet"], &handler["tcpSocket"], &handler["grpc"]);
    let one = [get, tcp, grpc].iter().filter(|one| !one.is_null()).count() == 1;
    let handler_port = [get, tcp, grpc]
        .into_iter()
        .find(|one| !one.is_null())
        .map(|one| &one["port"]);
    let in_range = |port: &Value| port.as_u64().is_some_and(|port| (1..65536).contains(&port));
    let headers = get["httpHeaders"].as_array();
    let mut headers_are = headers.into_iter().flatten();
    one && handler_port.is_some_and(in_range)
        && is_text(get.get("path"))
        && matches!(
            get.get("scheme").map(Value::as_str),
            None | Some(Some("HTTP" | "HTTPS"))
        )
        && get.get("httpHeaders").is_none_or(Value::is_array)
        && headers_are.all(|header| header["name"].is_string() && header["value"].is_string())
        && is_text(grpc.get("service"))
        && handler.get("timeoutSeconds").is_none_or(|time| {
            time.as_i64()
                .is_some_and(|time| (1..=i64::from(i32::MAX)).contains(&time))
        })
}

/// The input is the annotation `proxy.istio.io/config`. What injection lets pass, the agent can read.
pub fn proxy_config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let mut pod = plain_pod();
    pod["metadata"]["annotations"][PROXY_CONFIG] = json!(text);
    let Some(injected) = injected_for_good(&CONFIG, &pod) else {
        return;
    };
    check(&injected, &pod);
    let proxy = container(&injected, "istio-proxy").expect("a proxy");
    let env = |name: &str| {
        let found = environment(proxy).find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.to_owned())
    };
    let all = environment(proxy).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = ProxySettings::read(Role::Sidecar, &|_| None, &env, all, false);
    match settings {
        Ok(settings) => assert!(agent::bootstrap(&settings, Stack::Dual).is_object()),
        // Variables are people's own words.
        Err(error) => assert!(!error.to_string().starts_with("PROXY_CONFIG"), "{error}"),
    }
}
