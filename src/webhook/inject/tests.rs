//! The webhook as a function of bytes: any body is answered, and no answer says too much.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use futures::FutureExt as _;
use k8s_openapi::ByteString;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{api::mesh::MeshConfig, inject::values::Values, world::World};

fn injector() -> Injector {
    let values = Values::over_defaults(&Value::Null).unwrap();
    let (config, _) = Config::new(values, MeshConfig::default(), true);
    // The last configuration stays readable when its sender is gone.
    let (_, config) = watch::channel(Arc::new(config));
    Injector::new(config, &mut Registry::default())
}

fn question(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "operation": "CREATE", "namespace": "shop", "object": pod },
    })
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "web", "labels": { "app": "web" }, "annotations": { "a": "b" } },
        "spec": { "containers": [{ "name": "app", "image": "x",
            "readinessProbe": { "httpGet": { "port": 80 } }, "env": [{ "name": "A", "value": "1" }] }] },
    })
}

#[test]
fn owners_are_told_only_where_namespace_and_owner_have_names_that_objects_can_have() {
    let told = |namespace: &str, owner: Value| {
        let (sender, mut notices) = mpsc::channel(1);
        let injector = injector().with_notices(sender);
        let mut pod = pod();
        pod["spec"]["securityContext"] = json!({ "runAsUser": 1337 });
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true,
        }]);
        let mut question = question(&pod);
        question["request"]["namespace"] = json!(namespace);
        let (status, _) = ask(&injector, question.to_string().as_bytes());
        assert_eq!(status, StatusCode::OK);
        notices.try_recv().is_ok()
    };
    assert!(told("shop", json!("web-1.2")));
    for namespace in ["a/../b", "a?b", "..", "", "A"] {
        assert!(!told(namespace, json!("web")), "{namespace}");
    }
    for owner in [
        json!("../secrets/x"),
        json!("x?watch"),
        json!("%2e"),
        json!(""),
        json!(7),
    ] {
        assert!(!told("shop", owner.clone()), "{owner}");
    }
    assert!(!told("shop", json!("x".repeat(254))));
}

#[test]
fn owners_are_told_only_where_the_api_server_asks_about_such_pods() {
    let mut world = World::default();
    for (name, labels) in [
        ("shop", json!({ "istio-injection": "enabled" })),
        ("plain", json!({})),
        ("off", json!({ "istio-injection": "disabled" })),
    ] {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels },
        });
        world.apply(&namespace).unwrap();
    }
    let snapshots = watch::Sender::new(Arc::new(Snapshot::new(world))).subscribe();
    let told = |namespace: &str| {
        let (sender, mut notices) = mpsc::channel(1);
        let injector = injector()
            .with_snapshots(snapshots.clone())
            .with_notices(sender);
        let mut pod = pod();
        pod["spec"]["securityContext"] = json!({ "runAsUser": 1337 });
        let mut question = question(&pod);
        question["request"]["namespace"] = json!(namespace);
        ask(&injector, question.to_string().as_bytes());
        notices.try_recv().is_ok()
    };
    let known = ["shop", "plain", "off", "invented"].map(told);
    assert_eq!(known, [true, false, false, false]);
}

#[test]
fn what_a_caller_says_of_itself_is_repeated_in_part() {
    let body = json!({ "kind": "x".repeat(1 << 20), "apiVersion": "y" }).to_string();
    let (_, answer) = ask(&injector(), body.as_bytes());
    let message = answer.unwrap()["response"]["status"]["message"].to_string();
    assert!(
        message.contains("xxx") && message.len() < 400,
        "{}",
        message.len()
    );
}

/// The answer's status and, if it is a review, what it says.
fn ask(injector: &Injector, body: &[u8]) -> (StatusCode, Option<Value>) {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let response = injector.answer(PATH, &headers, body);
    let status = response.status();
    let body = response.into_body().collect().now_or_never();
    let body = body.unwrap().unwrap().to_bytes();
    (status, serde_json::from_slice(&body).ok())
}

/// What every answer must be: an error of HTTP, or a review that says yes or says why not.
fn check(injector: &Injector, body: &[u8], pod: Option<&Value>) -> Result<(), TestCaseError> {
    let (status, answer) = ask(injector, body);
    if status != StatusCode::OK {
        prop_assert!(status.is_client_error(), "{status}");
        return Ok(());
    }
    let response = &answer.unwrap()["response"];
    if response["allowed"] == false {
        let message = response["status"]["message"].as_str().unwrap();
        prop_assert!(!message.is_empty());
    } else if let (Some(pod), Some(patch)) = (pod, response.get("patch")) {
        let ByteString(patch) = serde_json::from_value(patch.clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_the_webhook_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&injector(), &body, None)?;
    }

    #[test]
    fn no_damage_to_a_review_makes_the_webhook_panic(
        at in any::<prop::sample::Index>(),
        length in 0..40_usize,
        instead in "[\\[\\]{}\",:a-z0-9\\\\u0]{0,12}",
    ) {
        let text = question(&pod()).to_string();
        let at = at.index(text.len());
        let end = (at + length).min(text.len());
        let damaged = [&text[..at], &instead, &text[end..]].concat();
        check(&injector(), damaged.as_bytes(), None)?;
    }

    #[test]
    fn any_annotation_is_answered_with_a_patch_that_applies_or_a_reason(
        name in prop::sample::select(vec![
            "sidecar.istio.io/status", "proxy.istio.io/overrides", "proxy.istio.io/config", "inject.istio.io/templates",
            "sidecar.istio.io/userVolume", "sidecar.istio.io/proxyCPU", "status.sidecar.istio.io/port", "outrigger.dev/injection",
            "prometheus.istio.io/scrape-targets", "prometheus.io/port", "sidecar.istio.io/interceptionMode",
        ]),
        text in prop_oneof![any::<String>(), "[\\[{]\"[a-z]{0,9}\"[:,]\\{?\"?[a-z0-9]{0,5}\"?[}\\]]{0,3}", "[0-9a-zA-Z.,:/*-]{0,20}"],
    ) {
        let mut pod = pod();
        pod["metadata"]["annotations"][name] = json!(text);
        check(&injector(), question(&pod).to_string().as_bytes(), Some(&pod))?;
    }
}

#[test]
fn path_parameters_become_environment() {
    let env = |path: &str| -> String {
        let pairs = parameters(path);
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(" ")
    };
    for (path, want) in [
        ("/", ""),
        ("/inject", ""),
        ("/inject/", ""),
        ("/inject/cluster/c1", "ISTIO_META_CLUSTER_ID=c1"),
        (
            "/inject/cluster/c1/net/n1/",
            "ISTIO_META_CLUSTER_ID=c1 ISTIO_META_NETWORK=n1",
        ),
        ("/inject/cluster/c--slash--1", "ISTIO_META_CLUSTER_ID=c/1"),
        (
            "/inject/cluster/c1/custom_env/foo",
            "ISTIO_META_CLUSTER_ID=c1 CUSTOM_ENV=foo",
        ),
        ("/inject/cluster", ""),
        (
            "/inject/:ENV:cluster=c2:ENV:rootpage=/foo/bar",
            "ISTIO_META_CLUSTER_ID=c2 ROOTPAGE=/foo/bar",
        ),
        ("/inject/a/v/b/:ENV:x=y", "A=v B=:ENV:x=y"),
        ("/inject/:ENV:a=efgh:ENV:=abb:ENV:=", "A=efgh"),
    ] {
        assert_eq!(env(path), want, "{path}");
    }
}
