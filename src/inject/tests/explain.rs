//! Explanations in words.

use std::collections::BTreeMap;

use super::*;
use crate::inject::explain::{ControlPlane, Explanation, Question, Registered, Verdict, explain};

fn explained(namespace: &[(&str, &str)], pod: &Value) -> Explanation {
    let config = config();
    let labels: BTreeMap<String, String> = namespace
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    explain(&Question {
        pod,
        namespace: "shop",
        namespace_labels: &labels,
        control_planes: &[ControlPlane {
            revision: "default",
            config: &config,
        }],
        registered: Registered::ByChart,
    })
    .unwrap()
}

fn pod(metadata: Value) -> Value {
    json!({ "metadata": metadata, "spec": { "containers": [{ "name": "app", "image": "x" }] } })
}

#[test]
fn the_table_says_what_was_seen_who_decided_and_what_would_change_it() {
    let explanation = explained(&[("injection", "enabled")], &pod(json!({ "name": "web" })));
    insta::assert_snapshot!(explanation.to_string(), @r#"
    injected by revision default: the policy is `enabled`

    seen
      namespace label  injection                 enabled
      namespace label  istio-injection           (not set)
      namespace label  istio.io/rev              (not set)
      pod label        sidecar.istio.io/inject   (not set)
      pod annotation   sidecar.istio.io/inject   (not set)
      pod label        istio.io/rev              (not set)
      pod field        spec.hostNetwork          (not set)
      pod annotation   sidecar.istio.io/status   (not set)

    webhook
      the one for namespaces that are switched on (revision default)

    rules of the webhook, the first that applies decides
      host-network            does not apply
      ignored-namespace       does not apply
      unknown-policy          does not apply
      pod-opted-in            does not apply
      pod-opted-out           does not apply
      never-inject-selector   does not apply
      always-inject-selector  does not apply
      policy-enabled          inject

    what would change it
      label the namespace injection=disabled
        → not injected: no webhook is called
      remove the namespace's label injection
        → not injected: no webhook is called
      label the namespace istio-injection=disabled
        → not injected: no webhook is called
      label the pod sidecar.istio.io/inject="false"
        → not injected: no webhook is called
    "#);
}

#[test]
fn contradicting_labels_are_told() {
    let labels = [("injection", "disabled"), ("istio-injection", "enabled")];
    let explanation = explained(&labels, &pod(json!({ "name": "web" })));
    insta::assert_snapshot!(explanation.to_string(), @r#"
    not injected: no webhook is called

    seen
      namespace label  injection                 disabled
      namespace label  istio-injection           enabled
      namespace label  istio.io/rev              (not set)
      pod label        sidecar.istio.io/inject   (not set)
      pod annotation   sidecar.istio.io/inject   (not set)
      pod label        istio.io/rev              (not set)
      pod field        spec.hostNetwork          (not set)
      pod annotation   sidecar.istio.io/status   (not set)
      no pod is injected, because the labels injection=disabled and istio-injection=enabled contradict each other, and what is not enabled wins: remove the label istio-injection, or set both to the same

    webhook
      none matches these labels

    what would change it
      label the namespace injection=enabled
        → injected by revision default: the policy is `enabled`
      remove the namespace's label injection
        → injected by revision default: the policy is `enabled`
    "#);
}

#[test]
fn the_rule_of_the_webhook_is_told_where_it_is_asked_and_says_no() {
    let mut host = pod(json!({ "labels": { policy::INJECT: "true" } }));
    host["spec"]["hostNetwork"] = json!(true);
    let explanation = explained(&[], &host);
    assert_eq!(
        explanation.verdict,
        Verdict::LeftAlone {
            revision: "default".to_owned(),
            reason: Reason::HostNetwork
        }
    );
    let whats: Vec<&str> = explanation
        .changes
        .iter()
        .map(|change| change.what.as_str())
        .collect();
    assert_eq!(
        whats,
        ["let the pod have a network of its own (no spec.hostNetwork)"]
    );
}

#[test]
fn a_pod_of_another_mesh_is_told_its_annotation() {
    let foreign = pod(json!({ "annotations": { annotations::STATUS: "{}" } }));
    let explanation = explained(&[("injection", "enabled")], &foreign);
    assert!(!explanation.is_injected());
    let removal = format!("remove the pod's annotation {}", annotations::STATUS);
    assert!(
        explanation
            .changes
            .iter()
            .any(|change| change.what == removal),
        "{explanation}"
    );
}

#[test]
fn a_pod_that_the_webhook_would_refuse_is_said_to_be_refused_and_why() {
    let bad = pod(json!({ "annotations": { annotations::PROXY_CPU: "much" } }));
    let explanation = explained(&[("injection", "enabled")], &bad);
    assert!(!explanation.is_injected());
    insta::assert_snapshot!(
        explanation.verdict,
        @r#"refused: revision default should inject it and cannot: invalid value "much" for annotation "sidecar.istio.io/proxyCPU": must be a quantity such as 100m, 0.5, 128Mi"#
    );
    let whats: Vec<&str> = explanation
        .changes
        .iter()
        .map(|change| change.what.as_str())
        .collect();
    assert!(
        whats.contains(&"label the pod sidecar.istio.io/inject=\"false\""),
        "{explanation}"
    );
    let asleep = explained(&[], &bad);
    assert!(
        asleep
            .changes
            .iter()
            .any(|change| matches!(change.then, Verdict::Refused { .. })),
        "{asleep}"
    );
}
