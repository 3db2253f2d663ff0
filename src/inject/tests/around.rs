//! What the pod's namespace and ProxyConfig objects change.

use super::*;
use crate::api::{metadata::Metadata, networking::ProxyConfigSpec};
use crate::inject::surroundings::ProxyConfigs;

fn pod() -> Value {
    json!({
        "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}

fn within<'a>(pod: &'a Value, surroundings: &'a Surroundings<'a>) -> Request<'a> {
    Request {
        surroundings,
        ..request(pod)
    }
}

fn injected_within(
    config: &Config,
    pod: &Value,
    surroundings: &Surroundings<'_>,
) -> (Value, Vec<Surprise>) {
    match inject(config, within(pod, surroundings)).unwrap() {
        Outcome::Injected { pod, surprises, .. } => (pod, surprises),
        Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
    }
}

fn namespace(labels: Value, annotations: Value) -> Metadata {
    Metadata::of(
        &json!({ "metadata": { "name": "default", "labels": labels, "annotations": annotations } }),
    )
}

/// A ProxyConfig that sets variables to its own name.
fn proxy_config(
    name: &str,
    created: &str,
    selector: Value,
    variables: &[&str],
) -> (Metadata, ProxyConfigSpec) {
    let metadata = json!({ "metadata": { "name": name, "creationTimestamp": created } });
    let variables: Value = variables
        .iter()
        .map(|variable| ((*variable).to_owned(), json!(name)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let spec = json!({ "spec": { "selector": selector, "environmentVariables": variables } });
    let spec = crate::api::networking::decode(&spec).unwrap();
    (Metadata::of(&metadata), spec)
}

fn env(pod: &Value, name: &str) -> String {
    let env = pod["spec"]["initContainers"][1]["env"].as_array().unwrap();
    let entry = pod::find(env, name);
    entry.map_or_else(String::new, |entry| {
        entry["value"].as_str().unwrap().to_owned()
    })
}

#[test]
fn proxy_configs_count_in_istio_s_order() {
    let mesh = json!({ "defaultConfig": { "proxyMetadata": { "A": "mesh", "B": "mesh", "C": "mesh", "D": "mesh", "E": "mesh" } } });
    let config = config_of(Value::Null, mesh, true);
    let date = "2026-01-01T00:00:00Z";
    let root = [
        proxy_config("root", date, Value::Null, &["B", "C", "D", "E"]),
        // Of the root namespace's workloads only.
        proxy_config(
            "root-selective",
            date,
            json!({ "matchLabels": { "app": "web" } }),
            &["B", "E"],
        ),
    ];
    let selective = json!({ "matchLabels": { "app": "web" } });
    let own = [
        proxy_config("younger", "2026-02-01T00:00:00Z", Value::Null, &["C"]),
        proxy_config("namespace", date, Value::Null, &["C", "D", "E"]),
        proxy_config(
            "other",
            date,
            json!({ "matchLabels": { "app": "other" } }),
            &["E"],
        ),
        proxy_config("workload", date, selective, &["E"]),
    ];
    let objects = |list: &'static str| {
        let list = if list == "root" { &root[..] } else { &own[..] };
        list.iter().map(|(metadata, spec)| (metadata, spec))
    };
    let surroundings = Surroundings {
        namespace: None,
        proxy_configs: ProxyConfigs::new(objects("root"), objects("own")),
    };
    let mut pod = pod();
    pod["metadata"]["annotations"] =
        json!({ annotations::PROXY_CONFIG: "proxyMetadata: {D: annotation, E: annotation}" });
    let (injected, _) = injected_within(&config, &pod, &surroundings);
    let all: Vec<String> = ["A", "B", "C", "D", "E"]
        .iter()
        .map(|name| env(&injected, name))
        .collect();
    assert_eq!(all, ["mesh", "root", "namespace", "annotation", "workload"]);
}

#[test]
fn a_proxy_config_that_cannot_work_denies_the_pod() {
    let mut pod = pod();
    for (written, why) in [
        ("concurrency: -1", "concurrency: -1 must be 0 or more"),
        (
            "drainDuration: soon",
            "drainDuration: \"soon\" is not a duration",
        ),
        ("configPath: ''", "configPath: must not be empty"),
        ("proxyMetadata: [1]", "proxyMetadata"),
        ("- a", "must be a YAML map"),
    ] {
        pod["metadata"]["annotations"] = json!({ annotations::PROXY_CONFIG: written });
        let error = inject(&config(), request(&pod)).unwrap_err().to_string();
        assert!(error.contains(annotations::PROXY_CONFIG), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn on_openshift_the_namespace_assigns_the_proxy_s_user() {
    let values = json!({ "global": { "platform": "openshift" } });
    let openshift = config_of(values, Value::Null, true);
    let namespace = namespace(
        json!({}),
        json!({ "openshift.io/sa.scc.uid-range": "1000620000/10000" }),
    );
    let surroundings = Surroundings {
        namespace: Some(&namespace),
        ..Surroundings::default()
    };
    let mut pod = pod();
    // As OpenShift's own admission leaves it.
    let security = json!({ "runAsUser": 1_000_620_000 });
    pod["spec"]["containers"][0]["securityContext"] = security.clone();
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "istio-proxy", "image": "auto", "securityContext": security }));
    let ids = |config: &Config| {
        let (injected, _) = injected_within(config, &pod, &surroundings);
        let security = injected["spec"]["initContainers"][1]["securityContext"].clone();
        let argument = injected["spec"]["initContainers"][0]["args"][6].clone();
        (
            argument,
            security["runAsUser"].clone(),
            security["runAsGroup"].clone(),
        )
    };
    let last = 1_000_629_999;
    assert_eq!(
        ids(&openshift),
        (json!(last.to_string()), json!(last), json!(last))
    );
    let elsewhere = ids(&config());
    assert_eq!(elsewhere.1, 1_000_620_000, "the author's wish");
}

#[test]
fn a_namespace_that_refuses_what_capture_needs_is_told_before_the_pod_is_refused() {
    let refused = |level: &str, annotations: Value| {
        let namespace = namespace(
            json!({ "pod-security.kubernetes.io/enforce": level }),
            json!({}),
        );
        let surroundings = Surroundings {
            namespace: Some(&namespace),
            ..Surroundings::default()
        };
        let mut pod = pod();
        pod["metadata"]["annotations"] = annotations;
        let (_, surprises) = injected_within(&config(), &pod, &surroundings);
        texts(&surprises).join("\n")
    };
    insta::assert_snapshot!(refused("baseline", json!({})), @r#"no pod will be created: the namespace enforces Pod Security level "baseline", which forbids what is injected (istio-init: capability NET_ADMIN and NET_RAW); label the namespace pod-security.kubernetes.io/enforce=privileged, or let this workload do without capture (annotation sidecar.istio.io/interceptionMode: NONE) or without sidecar (label sidecar.istio.io/inject: "false")"#);
    insta::assert_snapshot!(refused("restricted", json!({})), @r#"no pod will be created: the namespace enforces Pod Security level "restricted", which forbids what is injected (istio-init: capability NET_ADMIN and NET_RAW, runs as root, no seccomp profile (value global.proxy.seccompProfile); istio-proxy: no seccomp profile (value global.proxy.seccompProfile)); label the namespace pod-security.kubernetes.io/enforce=privileged, or let this workload do without capture (annotation sidecar.istio.io/interceptionMode: NONE) or without sidecar (label sidecar.istio.io/inject: "false")"#);
    assert_eq!(refused("privileged", json!({})), "");
    assert_eq!(
        refused(
            "baseline",
            json!({ annotations::INTERCEPTION_MODE: "NONE" })
        ),
        ""
    );
}

#[test]
fn the_mesh_s_variant_is_the_image_s_unless_somebody_says_another() {
    let image = |variant: &str, annotations: Value| {
        let values = json!({ "global": { "hub": "h", "tag": "1", "variant": variant } });
        let mut pod = pod();
        pod["metadata"]["annotations"] = annotations;
        let config = config_of(values, Value::Null, true);
        injected(&config, &pod)["spec"]["initContainers"][1]["image"].clone()
    };
    assert_eq!(image("distroless", json!({})), "h/proxyv2:1-distroless");
    assert_eq!(
        image(
            "distroless",
            json!({ annotations::PROXY_IMAGE_TYPE: "debug" })
        ),
        "h/proxyv2:1-debug"
    );
    assert_eq!(image("", json!({})), "h/proxyv2:1");
}
