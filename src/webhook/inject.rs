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
use tokio::sync::watch;

use crate::inject::{self, Config, Outcome, patch};

use super::review::{Review, ReviewError};

/// The path under which the webhook is registered; Istio's `/inject/…` parameters follow it.
pub const PATH: &str = "/inject";

/// Bodies larger than this (bytes) are worked on outside the tasks that serve connections.
const INLINE_BODY: usize = 256 << 10;

/// What the handler needs.
#[derive(Debug, Clone)]
pub struct Injector {
    config: watch::Receiver<Arc<Config>>,
    metrics: Arc<Metrics>,
}

impl Injector {
    /// The configuration may change at any time; calls in flight finish with the one they began with.
    pub fn new(config: watch::Receiver<Arc<Config>>, registry: &mut Registry) -> Self {
        Self {
            config,
            metrics: Arc::new(Metrics::register(registry)),
        }
    }

    /// The routes of injection, to be merged with those of other webhooks.
    pub fn router(self) -> Router {
        Router::new()
            .route(PATH, post(handle))
            .route(&format!("{PATH}/"), post(handle))
            .route(&format!("{PATH}/{{*parameters}}"), post(handle))
            .with_state(self)
    }

    fn answer(&self, path: &str, headers: &axum::http::HeaderMap, body: &[u8]) -> Response {
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
        let env = parameters(path);
        let request = inject::Request {
            pod,
            namespace: review.text("namespace"),
            workload: None,
            env: &env,
        };
        let config = Arc::clone(&self.config.borrow());
        let named = || {
            let metadata = |field| pod.pointer(&format!("/metadata/{field}"))?.as_str();
            let name = metadata("name").or_else(|| metadata("generateName"));
            name.unwrap_or_default().to_owned()
        };
        match inject::inject(&config, request) {
            Ok(Outcome::Skipped { reason, warnings }) => {
                self.metrics.skip(reason.as_str());
                for warning in &warnings {
                    tracing::warn!(
                        namespace = review.text("namespace"),
                        pod = named(),
                        "{warning}"
                    );
                }
                tracing::debug!(
                    namespace = review.text("namespace"),
                    pod = named(),
                    reason = reason.as_str(),
                    "not injected"
                );
                review.allow(None, &warnings)
            }
            Ok(Outcome::Injected {
                pod: injected,
                reason,
                warnings,
            }) => {
                self.metrics.success.inc();
                tracing::debug!(
                    namespace = review.text("namespace"),
                    pod = named(),
                    reason = reason.as_str(),
                    "injected"
                );
                review.allow(Some(&patch::diff(pod, &injected)), &warnings)
            }
            Err(error) => {
                self.metrics.fail(error.as_str());
                tracing::info!(namespace = review.text("namespace"), pod = named(), %error, "denied");
                review.deny(&format!("the sidecar cannot be injected: {error}"), &[])
            }
        }
    }
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
    success: Counter,
    failure: Family<ReasonLabel, Counter>,
    skip: Family<ReasonLabel, Counter>,
    time: Histogram,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Counter::default(),
            success: Counter::default(),
            failure: Family::default(),
            skip: Family::default(),
            // 50 µs to 0.8 s.
            time: Histogram::new(exponential_buckets(0.000_05, 2.0, 15)),
        };
        registry.register(
            "sidecar_injection_requests",
            "Injection requests",
            metrics.requests.clone(),
        );
        registry.register(
            "sidecar_injection_success",
            "Pods that were given a proxy",
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

    fn skip(&self, reason: &str) {
        let label = ReasonLabel {
            reason: reason.to_owned(),
        };
        self.skip.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
