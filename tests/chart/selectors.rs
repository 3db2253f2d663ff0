//! Which pods the injection webhooks are asked about, over every combination of the labels that have a say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object;

type Labels = BTreeMap<&'static str, &'static str>;

/// Whether a label selector matches, as the API server reads it.
fn matches(selector: &Value, labels: &Labels) -> bool {
    selector["matchExpressions"]
        .as_array()
        .unwrap()
        .iter()
        .all(|expression| {
            let value = labels.get(expression["key"].as_str().unwrap());
            let listed = || {
                expression["values"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|v| Some(v) == value.map(|v| Value::from(*v)).as_ref())
            };
            match expression["operator"].as_str().unwrap() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("operator {other}"),
            }
        })
}

/// Every choice of a value, or none, for each of these labels.
fn combinations(labels: &[(&'static str, &[&'static str])]) -> Vec<Labels> {
    labels
        .iter()
        .fold(vec![Labels::new()], |so_far, (name, values)| {
            let extended = |labels: &Labels, value: &&'static str| {
                labels
                    .clone()
                    .into_iter()
                    .chain([(*name, *value)])
                    .collect()
            };
            so_far
                .iter()
                .flat_map(|labels| {
                    std::iter::once(labels.clone())
                        .chain(values.iter().map(|value| extended(labels, value)))
                })
                .collect()
        })
}

fn namespaces() -> Vec<Labels> {
    combinations(&[
        ("istio-injection", &["enabled", "disabled", "other"]),
        ("injection", &["enabled", "disabled", "other"]),
        ("istio.io/rev", &["default", "canary", "prod"]),
    ])
}

fn pods() -> Vec<Labels> {
    combinations(&[
        ("sidecar.istio.io/inject", &["true", "false", "other"]),
        ("istio.io/rev", &["default", "canary", "prod"]),
    ])
}

/// Whether the control plane of `revision` is to be asked, in the words of Istio's documentation: the namespace's
/// injection label comes first, then its revision, then what the pod says.
fn is_asked(revision: &str, by_default: bool, namespace: &Labels, pod: &Labels) -> bool {
    let inject = pod.get("sidecar.istio.io/inject").copied();
    let rev = if revision.is_empty() {
        "default"
    } else {
        revision
    };
    let injection = [namespace.get("istio-injection"), namespace.get("injection")];
    if injection.iter().flatten().next().is_some() {
        let enabled = injection.iter().flatten().all(|value| **value == "enabled");
        return revision.is_empty() && enabled && inject != Some("false");
    }
    match (namespace.get("istio.io/rev"), pod.get("istio.io/rev")) {
        (Some(namespace), _) => *namespace == rev && inject != Some("false"),
        (None, Some(pod)) => *pod == rev && inject != Some("false"),
        (None, None) => {
            revision.is_empty() && (inject == Some("true") || by_default && inject.is_none())
        }
    }
}

fn assert_matrix(revision: &str, by_default: bool) {
    let values = [
        format!("revision={revision}"),
        format!("sidecarInjectorWebhook.enableNamespacesByDefault={by_default}"),
    ];
    let configuration = object(
        "MutatingWebhookConfiguration",
        &values.each_ref().map(String::as_str),
    );
    let webhooks = configuration["webhooks"].as_array().unwrap();
    for namespace in &namespaces() {
        for pod in &pods() {
            let asked = webhooks.iter().filter(|webhook| {
                matches(&webhook["namespaceSelector"], namespace)
                    && matches(&webhook["objectSelector"], pod)
            });
            let asked: Vec<_> = asked
                .map(|webhook| webhook["name"].as_str().unwrap())
                .collect();
            let expected = usize::from(is_asked(revision, by_default, namespace, pod));
            assert_eq!(
                asked.len(),
                expected,
                "revision {revision:?}, namespace {namespace:?}, pod {pod:?}: {asked:?}"
            );
        }
    }
}

#[test]
fn exactly_one_webhook_of_the_right_revision_is_asked_about_each_pod() {
    assert_matrix("", false);
    assert_matrix("canary", false);
}

#[test]
fn enabling_namespaces_by_default_adds_only_those_that_say_nothing() {
    assert_matrix("", true);
    assert_matrix("canary", true);
}

#[test]
fn pods_of_the_control_plane_and_of_the_cluster_itself_never_wait_for_a_webhook() {
    let configuration = object(
        "MutatingWebhookConfiguration",
        &["sidecarInjectorWebhook.enableNamespacesByDefault=true"],
    );
    for webhook in configuration["webhooks"].as_array().unwrap() {
        for name in [
            "kube-system",
            "kube-public",
            "kube-node-lease",
            super::NAMESPACE,
        ] {
            for mut namespace in namespaces() {
                namespace.insert("kubernetes.io/metadata.name", name);
                assert!(
                    !matches(&webhook["namespaceSelector"], &namespace),
                    "{} matches {namespace:?}",
                    webhook["name"]
                );
            }
        }
    }
}
