//! The webhooks: bytes in, answer out.

use std::sync::{Arc, LazyLock};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use json_patch::Patch;
use k8s_openapi::ByteString;
use outrigger::{
    analysis::{Snapshot, examples},
    api::yaml,
    webhook::{inject::Injector, validate::Validator},
};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;

use super::CONFIG;

/// Objects to run into.
const KNOWN: &str = include_str!("known.yaml");

static INJECTOR: LazyLock<Injector> = LazyLock::new(|| {
    let config = watch::Sender::new(Arc::new(CONFIG.clone())).subscribe();
    Injector::new(config, &mut Registry::default()).with_snapshots(snapshots())
});

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| Validator::new(snapshots(), Arc::new(|| true), &mut Registry::default()));

/// A receiver keeps the last value when its sender is gone.
fn snapshots() -> watch::Receiver<Arc<Snapshot>> {
    let mut world = examples::world();
    for document in yaml::split(KNOWN) {
        let object = yaml::parse(document.text).expect("known.yaml is YAML");
        world.apply(&object).expect("known.yaml has objects");
    }
    watch::Sender::new(Arc::new(Snapshot::new(world))).subscribe()
}

/// The input is the body of a call.
pub fn admission_review(input: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let asked: Value = serde_json::from_slice(input).unwrap_or_default();
    check(VALIDATOR.answer(&headers, input), &asked);
    check(
        INJECTOR.answer("/inject/:ENV:cluster=a:ENV:net=b", &headers, input),
        &asked,
    );
    let Some(injected) = check(INJECTOR.answer("/inject", &headers, input), &asked) else {
        return;
    };
    let mut again = asked;
    again["request"]["object"] = injected.clone();
    let body = again.to_string();
    let twice = check(
        INJECTOR.answer("/inject", &headers, body.as_bytes()),
        &again,
    );
    assert!(
        twice.is_none_or(|twice| twice == injected),
        "injected again, the pod is another"
    );
}

/// An answer that the API server can use; the object after its patch, if there is one.
fn check(response: Response, asked: &Value) -> Option<Value> {
    let status = response.status();
    let body = response.into_body().collect().now_or_never();
    let body = body.expect("the body is there").expect("the body is whole");
    if status != StatusCode::OK {
        assert!(status.is_client_error(), "{status}");
        return None;
    }
    let review: Value = serde_json::from_slice(&body.to_bytes()).expect("the answer is JSON");
    assert_eq!(review["kind"], "AdmissionReview");
    let answer = &review["response"];
    let allowed = answer["allowed"].as_bool().expect("allowed is said");
    let message = answer["status"]["message"].as_str().unwrap_or_default();
    assert!(allowed || !message.is_empty(), "refused without a word");
    if !answer["uid"].as_str().expect("a uid").is_empty() {
        assert_eq!(answer["uid"], asked["request"]["uid"]);
        assert_eq!(review["apiVersion"], asked["apiVersion"]);
    }
    let patch: ByteString = serde_json::from_value(answer.get("patch")?.clone()).expect("base64");
    assert!(allowed && answer["patchType"] == "JSONPatch");
    let patch: Patch = serde_json::from_slice(&patch.0).expect("a JSON patch");
    let mut object = asked["request"]["object"].clone();
    json_patch::patch(&mut object, &patch).expect("the patch applies");
    Some(object)
}
