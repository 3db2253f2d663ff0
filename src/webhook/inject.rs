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
        self, Config, Outcome, expectation,
        namespace::Match,
        patch,
        pod::Pod,
        surprises::{Concern, Surprise},
        surroundings::Surroundings,
        workload::Workload,
    },
};

use super::review::{Review, ReviewError, beginning};

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
            return review.allow(&[], &[]);
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
                review.allow(&[], &texts(&surprises))
            }
            Ok(Outcome::Injected {
                pod: injected,
                reason,
                surprises,
            }) => {
                self.metrics.succeed(reason.as_str());
                log_decision(review, pod, "injected", reason.as_str());
                self.tell(review, pod, &surprises);
                review.allow(&patch::diff(pod, &injected), &texts(&surprises))
            }
            Err(error) => {
                self.metrics.fail(error.as_str());
                let namespace = beginning(namespace);
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
        let controller = inject::workload::controller(pod);
        let owner = controller.map(|controller| controller.get("name").and_then(Value::as_str));
        if !is_name(namespace) || owner.is_some_and(|name| !name.is_some_and(is_name)) {
            return;
        }
        if !self.is_asked_about(&view, namespace) {
            return;
        }
        let notice = OwnerNotice {
            namespace: namespace.to_owned(),
            pod: name_of(pod).to_owned(),
            workload: Workload::of(pod, &view),
            controller: controller.cloned().unwrap_or_default(),
            surprises: surprises.to_vec(),
        };
        if notices.try_send(notice).is_err() {
            self.metrics.notices_dropped.inc();
        }
    }

    /// Whether the API server asks about such a pod. Whoever else asks shall not be able to have anything said in
    /// namespaces that are no business of injection, or that are not known to exist.
    fn is_asked_about(&self, pod: &Pod<'_>, namespace: &str) -> bool {
        let Some(snapshots) = &self.snapshots else {
            return true;
        };
        let snapshot = Arc::clone(&snapshots.borrow());
        let surroundings = audit::surroundings(snapshot.world(), namespace);
        surroundings.namespace.is_some()
            && expectation::called(&self.config.borrow(), pod, namespace, &surroundings)
                != Match::No
    }
}

/// Longest name of an object.
const NAME_LIMIT: usize = 253;

/// The pod's name for people and logs; no longer than names are, whoever calls.
fn name_of(pod: &Value) -> &str {
    let metadata = |field| pod.get("metadata")?.get(field)?.as_str();
    let name = metadata("name")
        .or_else(|| metadata("generateName"))
        .unwrap_or_default();
    &name[..name.floor_char_boundary(NAME_LIMIT)]
}

/// Whether the text can name a namespace or an owner. What is told of goes into the paths of calls to the API server,
/// and whoever reaches the webhook's port can ask it: `a/../b?c` must not get there.
fn is_name(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| letters(byte) || matches!(byte, b'-' | b'.');
    text.len() <= NAME_LIMIT && text.bytes().all(inner) && text.bytes().next().is_some_and(letters)
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
mod tests;
