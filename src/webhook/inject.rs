//! `/inject`: the mutating webhook for pods. Answers from memory alone; it makes no call.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::{
    analysis::Snapshot,
    audit,
    inject::{
        self, Config, Outcome, patch,
        pod::Pod,
        surprises::{Concern, Surprise},
        surroundings::Surroundings,
        workload::Workload,
    },
};

use super::review::{Review, ReviewError};

/// The path under which the webhook is registered; Istio's `/inject/…` parameters follow it.
pub const PATH: &str = "/inject";

/// Bodies larger than this (bytes) are worked on outside the tasks that serve connections.
const INLINE_BODY: usize = 256 << 10;

/// What the owner of a pod should hear, because the pod's author is a controller, which shows it to nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnerNotice {
    /// The namespace of pod and owner.
    pub namespace: String,
    /// The pod's name; empty or unfinished for a pod that a controller makes.
    pub pod: String,
    /// The workload whose name people know, as far as the pod alone tells.
    pub workload: Workload,
    /// The pod's controller, as `metadata.ownerReferences` has it; `null` for a pod of its own.
    pub controller: Value,
    /// What to say.
    pub surprises: Vec<Surprise>,
}

/// What the handler needs.
#[derive(Debug, Clone)]
pub struct Injector {
    config: watch::Receiver<Arc<Config>>,
    snapshots: Option<watch::Receiver<Arc<Snapshot>>>,
    notices: Option<mpsc::Sender<OwnerNotice>>,
    metrics: Arc<Metrics>,
}

impl Injector {
    /// The configuration may change at any time; calls in flight finish with the one they began with.
    pub fn new(config: watch::Receiver<Arc<Config>>, registry: &mut Registry) -> Self {
        Self {
            config,
            snapshots: None,
            notices: None,
            metrics: Arc::new(Metrics::register(registry)),
        }
    }

    /// Looks at namespaces and ProxyConfig objects as well.
    pub fn with_snapshots(mut self, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Tells what owners of pods should hear. Never waits: when the queue is full, the notice is dropped and counted.
    pub fn with_notices(mut self, notices: mpsc::Sender<OwnerNotice>) -> Self {
        self.notices = Some(notices);
        self
    }

    /// The routes of injection, to be merged with those of other webhooks.
    pub fn router(self) -> Router {
        Router::new()
            .route(PATH, post(handle))
            .route(&format!("{PATH}/"), post(handle))
            .route(&format!("{PATH}/{{*parameters}}"), post(handle))
            .with_state(self)
    }

    /// Answers one request, given its path, headers and whole body.
    pub fn answer(&self, path: &str, headers: &axum::http::HeaderMap, body: &[u8]) -> Response {
        let started = Instant::now();
        self.metrics.requests.inc();
        let response = match Review::read(headers, body) {
            Ok(review) => self.decide(&review, path),
            Err(error) => {
                self.metrics.fail("bad-request");
                tracing::warn!(%error, "not an admission review");
                ReviewError::into_response(error)
            }
        };
        self.metrics.time.observe(started.elapsed().as_secs_f64());
        response
    }

    fn decide(&self, review: &Review, path: &str) -> Response {
        let about_pods = matches!(review.inner_text("kind", "kind"), "Pod" | "")
            && review.inner_text("kind", "group").is_empty()
            && review.text("subResource").is_empty();
        let creates = matches!(review.text("operation"), "CREATE" | "");
        if !(about_pods && creates) {
            self.metrics.skip("not-a-new-pod");
            return review.allow(None, &[]);
        }
        let Some(pod) = review.object() else {
            self.metrics.fail("no-object");
            return review.deny("request.object: must be a pod", &[]);
        };
        let snapshot = self.snapshots.as_ref().map(|s| Arc::clone(&s.borrow()));
        let namespace = review.text("namespace");
        let surroundings = match &snapshot {
            Some(snapshot) => audit::surroundings(snapshot.world(), namespace),
            None => Surroundings::default(),
        };
        let env = parameters(path);
        let request = inject::Request {
            pod,
            namespace,
            workload: None,
            env: &env,
            surroundings: &surroundings,
        };
        let config = Arc::clone(&self.config.borrow());
        match inject::inject(&config, request) {
            Ok(Outcome::Skipped { reason, surprises }) => {
                self.metrics.skip(reason.as_str());
                log_decision(review, pod, "not injected", reason.as_str());
                self.tell(review, pod, &surprises);
                review.allow(None, &texts(&surprises))
            }
            Ok(Outcome::Injected {
                pod: injected,
                reason,
                surprises,
            }) => {
                self.metrics.succeed(reason.as_str());
                log_decision(review, pod, "injected", reason.as_str());
                self.tell(review, pod, &surprises);
                review.allow(Some(&patch::diff(pod, &injected)), &texts(&surprises))
            }
            Err(error) => {
                self.metrics.fail(error.as_str());
                tracing::info!(namespace, pod = name_of(pod), %error, "denied");
                let text = format!("the sidecar cannot be injected: {error}");
                let refusal = Surprise {
                    concern: Concern::Denied,
                    text: text.clone(),
                };
                self.tell(review, pod, &[refusal]);
                review.deny(&text, &[])
            }
        }
    }

    /// Hands surprises on; nothing happens in a dry run.
    fn tell(&self, review: &Review, pod: &Value, surprises: &[Surprise]) {
        let Some(notices) = self.notices.as_ref().filter(|_| !surprises.is_empty()) else {
            return;
        };
        let namespace = review.text("namespace");
        let Some(view) = Pod::new(pod, namespace)
            .ok()
            .filter(|_| !review.is_dry_run())
        else {
            return;
        };
        let notice = OwnerNotice {
            namespace: namespace.to_owned(),
            pod: name_of(pod).to_owned(),
            workload: Workload::of(pod, &view),
            controller: inject::workload::controller(pod)
                .cloned()
                .unwrap_or_default(),
            surprises: surprises.to_vec(),
        };
        if notices.try_send(notice).is_err() {
            self.metrics.notices_dropped.inc();
        }
    }
}

fn name_of(pod: &Value) -> &str {
    let metadata = |field| pod.get("metadata")?.get(field)?.as_str();
    metadata("name")
        .or_else(|| metadata("generateName"))
        .unwrap_or_default()
}

fn texts(surprises: &[Surprise]) -> Vec<String> {
    surprises
        .iter()
        .map(|surprise| surprise.text.clone())
        .collect()
}

fn log_decision(review: &Review, pod: &Value, decision: &str, reason: &str) {
    tracing::debug!(
        namespace = review.text("namespace"),
        pod = name_of(pod),
        reason,
        "{decision}"
    );
}

async fn handle(State(injector): State<Injector>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // The server has read the whole body already, within its limits.
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ReviewError::Undecodable(error.to_string()).into_response(),
    };
    let path = head.uri.path().to_owned();
    let work = move |body: Bytes| injector.answer(&path, &head.headers, &body);
    if body.len() <= INLINE_BODY {
        return work(body);
    }
    match tokio::task::spawn_blocking(move || work(body)).await {
        Ok(response) => response,
        Err(error) => ReviewError::Undecodable(error.to_string()).into_response(),
    }
}

/// Istio's path parameters as environment of the proxy: `/inject/KEY/VALUE/…`, where `cluster` and `net` stand for
/// the cluster's and the network's name and `--slash--` for a slash; and the older `/inject/:ENV:KEY=VALUE:ENV:…`.
fn parameters(path: &str) -> Vec<(String, String)> {
    let Some(rest) = path
        .strip_prefix(PATH)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return Vec::new();
    };
    let named = |key: &str, value: &str| {
        let name = match key {
            "cluster" => "ISTIO_META_CLUSTER_ID".to_owned(),
            "net" => "ISTIO_META_NETWORK".to_owned(),
            other => other.to_uppercase(),
        };
        (name, value.replace("--slash--", "/"))
    };
    if let Some(list) = rest.strip_prefix(":ENV:") {
        return list
            .split(":ENV:")
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| named(key, value))
            .collect();
    }
    let words: Vec<&str> = rest.split('/').collect();
    words
        .chunks_exact(2)
        .filter(|pair| !pair[0].is_empty() && !pair[1].is_empty())
        .map(|pair| named(pair[0], pair[1]))
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// Counters under Istio's names; every request ends in exactly one of success, skip and failure.
#[derive(Debug)]
struct Metrics {
    requests: Counter,
    success: Family<ReasonLabel, Counter>,
    failure: Family<ReasonLabel, Counter>,
    skip: Family<ReasonLabel, Counter>,
    time: Histogram,
    notices_dropped: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Counter::default(),
            success: Family::default(),
            failure: Family::default(),
            skip: Family::default(),
            // 50 µs to 0.8 s.
            time: Histogram::new(exponential_buckets(0.000_05, 2.0, 15)),
            notices_dropped: Counter::default(),
        };
        registry.register(
            "sidecar_injection_notices_dropped",
            "Pods whose owners were not told of a surprise, because too many notices waited",
            metrics.notices_dropped.clone(),
        );
        registry.register(
            "sidecar_injection_requests",
            "Injection requests",
            metrics.requests.clone(),
        );
        registry.register(
            "sidecar_injection_success",
            "Pods that were given a proxy, by reason",
            metrics.success.clone(),
        );
        registry.register(
            "sidecar_injection_failure",
            "Requests denied or not understood, by reason",
            metrics.failure.clone(),
        );
        registry.register(
            "sidecar_injection_skip",
            "Pods left alone, by reason",
            metrics.skip.clone(),
        );
        registry.register(
            "sidecar_injection_time_seconds",
            "Time to answer a request",
            metrics.time.clone(),
        );
        metrics
    }

    /// Reasons are words of the code, never of a request, so the labels stay few.
    fn fail(&self, reason: &str) {
        let label = ReasonLabel {
            reason: reason.to_owned(),
        };
        self.failure.get_or_create(&label).inc();
    }

    fn succeed(&self, reason: &str) {
        let label = ReasonLabel {
            reason: reason.to_owned(),
        };
        self.success.get_or_create(&label).inc();
    }

    fn skip(&self, reason: &str) {
        let label = ReasonLabel {
            reason: reason.to_owned(),
        };
        self.skip.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
    use futures::FutureExt as _;
    use k8s_openapi::ByteString;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{api::mesh::MeshConfig, inject::values::Values};

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
}
