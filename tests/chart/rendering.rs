//! What the templates render.

use std::collections::BTreeSet;
use std::fs;

use outrigger::api::kind::Kind;
use serde_json::Value;

use super::{CHART, helm, object, objects, objects_of, template};

#[test]
fn chart_passes_helm_lint() {
    let report = helm(&["lint", "--strict", CHART]).unwrap();
    assert!(report.contains("0 chart(s) failed"), "{report}");
}

#[test]
fn webhooks_fail_closed_for_injection_and_open_for_validation_and_never_carry_a_ca_bundle() {
    for (kind, policy, path, side_effects) in [
        (
            "MutatingWebhookConfiguration",
            "Fail",
            "/inject",
            "NoneOnDryRun",
        ),
        (
            "ValidatingWebhookConfiguration",
            "Ignore",
            "/validate",
            "None",
        ),
    ] {
        let configuration = object(kind, &[]);
        for webhook in configuration["webhooks"].as_array().unwrap() {
            assert_eq!(webhook["failurePolicy"], policy);
            assert_eq!(webhook["sideEffects"], side_effects);
            let client = &webhook["clientConfig"];
            assert_eq!(client["service"]["path"], path);
            assert_eq!(
                client["service"]["name"],
                object("Service", &[])["metadata"]["name"]
            );
            assert!(client.get("caBundle").is_none(), "{client}");
            assert!((1..=30).contains(&webhook["timeoutSeconds"].as_i64().unwrap()));
        }
    }
}

#[test]
fn control_plane_runs_as_two_replicas_without_any_privilege() {
    let deployment = object("Deployment", &[]);
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
    assert!(container["resources"]["requests"]["cpu"].is_string());
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        assert_eq!(
            container[probe]["httpGet"]["port"], "http-monitoring",
            "{probe}"
        );
    }
}

#[test]
fn rights_are_spelled_out_and_secrets_are_its_own_only() {
    for (kind, namespaced) in [("ClusterRole", false), ("Role", true)] {
        let roles = objects_of(kind, &["gateways.credentialNamespaces={}"]);
        for rule in roles
            .iter()
            .flat_map(|role| role["rules"].as_array().unwrap())
        {
            let text = rule.to_string();
            assert!(!text.contains('*'), "{text}");
            let of_secrets = rule["resources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|resource| resource == "secrets");
            assert!(!of_secrets || namespaced, "{text}");
            let only_creates = rule["verbs"] == serde_json::json!(["create"]);
            assert!(
                !of_secrets || only_creates || rule["resourceNames"].is_array(),
                "{text}"
            );
        }
    }
}

#[test]
fn secrets_of_gateways_may_be_read_in_the_namespaces_that_are_named_and_in_no_other() {
    let granted = |values: &[&str]| -> Vec<String> {
        let mut roles = objects_of("Role", values);
        roles.retain(|role| role["metadata"]["name"] == "outriggerd-gateway-credentials");
        for role in &roles {
            let rule = serde_json::json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]);
            assert_eq!(role["rules"], rule);
        }
        let text = |role: &Value| role["metadata"]["namespace"].as_str().unwrap().to_owned();
        roles.iter().map(text).collect()
    };
    let watched = |values: &[&str]| -> Value {
        let deployment = object("Deployment", values);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().clone();
        let is_its = |argument: &Value| argument.to_string().contains("credential-namespaces");
        arguments.into_iter().find(is_its).unwrap()
    };
    let own = granted(&[]);
    assert_eq!(own.len(), 1);
    assert_eq!(watched(&[]), format!("--credential-namespaces={}", own[0]));
    let two = ["gateways.credentialNamespaces={edge,shop}"];
    assert_eq!(granted(&two), ["edge", "shop"]);
    assert_eq!(watched(&two), "--credential-namespaces=edge,shop");
    let none = ["gateways.credentialNamespaces={}"];
    assert_eq!(granted(&none), [""; 0]);
    assert_eq!(watched(&none), "--credential-namespaces=");
}

#[test]
fn every_kind_that_is_watched_may_be_and_every_status_that_is_written() {
    let rules: Vec<Value> = ["ClusterRole", "Role"]
        .iter()
        .flat_map(|role| objects_of(role, &[]))
        .flat_map(|role| role["rules"].as_array().unwrap().clone())
        .collect();
    let may = |verb: &str, group: &str, resource: &str| {
        rules.iter().any(|rule| {
            let has = |list: &str, wanted: &str| {
                let list = rule[list].as_array().unwrap();
                list.iter().any(|item| item == wanted)
            };
            has("apiGroups", group) && has("resources", resource) && has("verbs", verb)
        })
    };
    for kind in Kind::cluster_wide() {
        for verb in ["list", "watch"] {
            assert!(may(verb, kind.group(), kind.plural()), "{verb} {kind}");
        }
        let status = format!("{}/status", kind.plural());
        let may_write = may("patch", kind.group(), &status);
        assert_eq!(may_write, kind.has_status(), "status of {kind}");
    }
}

#[test]
fn the_validating_webhook_is_asked_about_every_kind_that_has_rules_of_its_own() {
    let configuration = object("ValidatingWebhookConfiguration", &[]);
    let groups: BTreeSet<&str> = Kind::with_status().map(Kind::group).collect();
    for webhook in configuration["webhooks"].as_array().unwrap() {
        let asked = webhook["rules"][0]["apiGroups"].as_array().unwrap();
        let asked: BTreeSet<&str> = asked.iter().map(|group| group.as_str().unwrap()).collect();
        assert_eq!(asked, groups);
    }
}

#[test]
fn only_the_default_revision_may_write_into_namespaces_of_users() {
    let writes = |values: &[&str]| -> Vec<String> {
        let role = object("ClusterRole", values);
        let rules = role["rules"].as_array().unwrap().clone().into_iter();
        let writing = rules.filter(|rule| {
            rule["verbs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|verb| verb == "patch")
        });
        writing
            .map(|rule| rule["apiGroups"][0].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(writes(&[]).contains(&"networking.istio.io".to_owned()));
    let canary: BTreeSet<_> = writes(&["revision=canary"]).into_iter().collect();
    assert_eq!(
        canary,
        BTreeSet::from(["admissionregistration.k8s.io".to_owned()])
    );
}

#[test]
fn pods_may_be_evicted_only_where_the_values_say_so() {
    let may = |values: &[&str]| {
        object("ClusterRole", values)
            .to_string()
            .contains("pods/eviction")
    };
    let does = |values: &[&str]| {
        object("Deployment", values)
            .to_string()
            .contains("--evict-without-proxy")
    };
    for (values, wanted) in [(vec![], false), (vec!["healer.evict=true"], true)] {
        assert_eq!(
            (may(&values), does(&values)),
            (wanted, wanted),
            "{values:?}"
        );
    }
}

#[test]
fn names_of_two_revisions_do_not_collide() {
    let names = |values: &[&str]| -> BTreeSet<String> {
        objects(values)
            .iter()
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect()
    };
    let both: Vec<_> = names(&[])
        .intersection(&names(&["revision=canary"]))
        .cloned()
        .collect();
    assert_eq!(both, Vec::<String>::new());
    let selector =
        |values: &[&str]| object("Deployment", values)["spec"]["selector"]["matchLabels"].clone();
    assert_ne!(selector(&[]), selector(&["revision=canary"]));
    for kind in ["Service", "PodDisruptionBudget"] {
        let object = object(kind, &["revision=canary"]);
        let chosen = object["spec"]["selector"]
            .get("matchLabels")
            .unwrap_or(&object["spec"]["selector"]);
        assert_eq!(*chosen, selector(&["revision=canary"]), "{kind}");
    }
}

#[test]
fn settings_under_pilot_count_as_those_at_the_top() {
    let container = |values: &[&str]| {
        object("Deployment", values)["spec"]["template"]["spec"]["containers"][0].clone()
    };
    for prefix in ["", "pilot."] {
        let values = [
            format!("{prefix}replicaCount=3"),
            format!("{prefix}env.A=b"),
            format!("{prefix}tag=7"),
        ];
        let values = values.each_ref().map(String::as_str);
        assert_eq!(object("Deployment", &values)["spec"]["replicas"], 3);
        assert_eq!(
            container(&values)["image"],
            "ghcr.io/outrigger/outriggerd:7"
        );
        let env = container(&values)["env"].as_array().unwrap().clone();
        assert!(
            env.iter()
                .any(|variable| variable["name"] == "A" && variable["value"] == "b"),
            "{env:?}"
        );
    }
    assert_eq!(
        container(&["image=example.org/a/b:1"])["image"],
        "example.org/a/b:1"
    );
}

#[test]
fn wrong_types_are_errors_that_name_the_value_and_unknown_keys_are_none() {
    for (value, path) in [
        ("replicaCount=two", "/replicaCount"),
        ("pilot.replicaCount=two", "/pilot/replicaCount"),
        ("global.proxy.statusPort=70000", "/global/proxy/statusPort"),
        ("global.proxy.logLevel=loud", "/global/proxy/logLevel"),
        (
            "sidecarInjectorWebhook.reinvocationPolicy=Often",
            "/sidecarInjectorWebhook/reinvocationPolicy",
        ),
        ("revision=Not_A_Label", "/revision"),
    ] {
        let error = template(&[value]).unwrap_err();
        assert!(error.stderr().contains(path), "{value}: {}", error.stderr());
    }
    template(&["gateways.x=1", "pilot.autoscaleMin=2", "traceSampling=1"]).unwrap();
}

#[test]
fn capture_that_would_keep_every_pod_from_starting_is_refused() {
    for value in ["cni.enabled=true", "pilot.cni.enabled=true"] {
        let error = template(&[value]).unwrap_err();
        let path = value
            .split_once('=')
            .unwrap()
            .0
            .trim_start_matches("pilot.");
        let reason = error.stderr();
        assert!(
            reason.contains(path) && reason.contains("not supported yet"),
            "{value}: {reason}"
        );
    }
    template(&[
        "meshConfig.defaultConfig.interceptionMode=TPROXY",
        "global.nativeNftables=true",
    ])
    .unwrap();
}

#[test]
fn custom_templates_reach_the_injector_with_their_expressions_as_they_are() {
    let template = "sidecarInjectorWebhook.templates.extra=spec: {nodeName: \"{{ Values.a }}\"}";
    let values = &object("ConfigMap", &[template])["data"]["values"];
    let values: Value = serde_saphyr::from_str(values.as_str().unwrap()).unwrap();
    assert_eq!(
        values["sidecarInjectorWebhook"]["templates"]["extra"],
        "spec: {nodeName: \"{{ Values.a }}\"}"
    );
}

#[test]
fn annotations_of_the_service_account_may_be_under_pilot_as_other_settings() {
    for value in [
        "serviceAccountAnnotations.a=b",
        "pilot.serviceAccountAnnotations.a=b",
    ] {
        let account = object("ServiceAccount", &[value]);
        assert_eq!(account["metadata"]["annotations"]["a"], "b", "{value}");
    }
}

#[test]
fn injector_gets_the_mesh_config_and_the_values_it_shares_with_istio() {
    let values = [
        "meshConfig.accessLogFile=/dev/stdout",
        "global.proxy.statusPort=0",
        "global.istioNamespace=elsewhere",
    ];
    let data = object("ConfigMap", &values)["data"].clone();
    let read =
        |key: &str| -> Value { serde_saphyr::from_str(data[key].as_str().unwrap()).unwrap() };
    assert_eq!(read("mesh")["accessLogFile"], "/dev/stdout");
    assert_eq!(read("mesh")["rootNamespace"], super::NAMESPACE);
    assert_eq!(read("values")["global"]["proxy"]["statusPort"], 0);
    assert_eq!(read("values")["global"]["istioNamespace"], super::NAMESPACE);
}

#[test]
fn injector_hears_of_resources_that_were_taken_away() {
    let resources = |values: &[&str]| {
        let text = object("ConfigMap", values)["data"]["values"]
            .as_str()
            .unwrap()
            .to_owned();
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        values["global"]["proxy"]["resources"].clone()
    };
    let without_limits = resources(&["global.proxy.resources.limits=null"]);
    assert_eq!(
        without_limits["limits"],
        serde_json::json!({"cpu": null, "memory": null})
    );
    assert_eq!(without_limits["requests"]["cpu"], "100m");
    let without_any = resources(&["global.proxy.resources=null"]);
    assert_eq!(
        without_any["requests"],
        serde_json::json!({"cpu": null, "memory": null})
    );
}

#[test]
fn every_value_of_the_chart_is_known_to_its_notes() {
    let read = |name: &str| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(format!("{CHART}/{name}")).unwrap()).unwrap()
    };
    let known = read("files/known-values.yaml");
    let paths = ["top", "controlPlane"]
        .map(|list| known[list].as_array().unwrap().clone())
        .concat();
    let known: BTreeSet<_> = paths
        .iter()
        .map(|path| path.as_str().unwrap().to_owned())
        .collect();
    let mut leaves = BTreeSet::new();
    collect_known(&read("values.yaml"), "", &known, &mut leaves);
    assert_eq!(leaves, known);
}

/// The paths below `value` down to known ones, or to leaves.
fn collect_known(
    value: &Value,
    path: &str,
    known: &BTreeSet<String>,
    found: &mut BTreeSet<String>,
) {
    match value
        .as_object()
        .filter(|map| !known.contains(path) && !map.is_empty())
    {
        Some(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                collect_known(value, &path, known, found);
            }
        }
        None => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn before_the_default_revision_goes_a_job_of_a_minute_at_most_removes_its_status() {
    const VALUES: &[&str] = &["nodeSelector.disk=ssd", "env.HTTPS_PROXY=proxy"];
    let job = object("Job", VALUES);
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/hook"], "pre-delete");
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 60);
    let deployment = object("Deployment", VALUES);
    let (pod, own) = (
        &job["spec"]["template"],
        &deployment["spec"]["template"]["spec"],
    );
    // The same program with the same rights, and as little else.
    for field in ["serviceAccountName", "securityContext", "nodeSelector"] {
        assert_eq!(pod["spec"][field], own[field], "{field}");
    }
    let (container, daemon) = (&pod["spec"]["containers"][0], &own["containers"][0]);
    for field in ["image", "securityContext", "env"] {
        assert_eq!(container[field], daemon[field], "{field}");
    }
    let arguments: Vec<&str> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap())
        .collect();
    assert!(arguments.ends_with(&["uninstall-status", "--best-effort", "--timeout=30"]));
    let program = std::iter::once("outriggerd").chain(arguments);
    <outrigger::runtime::args::Args as clap::Parser>::try_parse_from(program).unwrap();
    // The Service and the Deployment must not take it for one of theirs.
    let selector = deployment["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap();
    let labels = &pod["metadata"]["labels"];
    assert!(selector.iter().any(|(key, value)| labels[key] != *value));

    assert_eq!(objects_of("Job", &["revision=canary"]), [] as [Value; 0]);
    assert_eq!(
        objects_of("Job", &["status.removeOnUninstall=false"]),
        [] as [Value; 0]
    );
}
