//! `/stats/prometheus`: the metrics of the agent, of Envoy and of the application in one answer.
//!
//! Whoever scrapes the pod sees one port and one path. What one side does not give is missing from the answer and
//! counted in it, and takes nothing away from the others.

mod exposition;
mod own;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::exposition::{Format, Merged, OPEN_METRICS};
pub(super) use self::own::{Own, Source};
use self::target::Target;
use super::application::Application;
use super::client::{Answer, Endpoint, Reading};
use super::redirect;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// What Prometheus says of its patience; part of it is left for the way back.
const TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// Prometheus' own default, and the most that is taken from the header.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// The application's metrics, all targets together.
const LARGEST: usize = 32 * 1024 * 1024;
/// Scrapes at the same time; a pair of Prometheus servers is usual.
const AT_ONCE: usize = 2;

/// What is scraped, and from where.
#[derive(Debug)]
pub(super) struct Metrics {
    envoy: Endpoint,
    application: Application,
    targets: Vec<Target>,
    own: Arc<Own>,
    turns: Semaphore,
    /// The application's metrics were missing when they were last asked for.
    missing: AtomicBool,
}

/// One side's metrics.
struct Part {
    text: String,
    content_type: Option<HeaderValue>,
    format: Format,
}

/// Why a side's metrics are missing.
type Problem = String;

impl Metrics {
    /// `annotations` are the `ISTIO_PROMETHEUS_ANNOTATIONS`, if there are. Where they can't be used, the application's
    /// metrics are missing, which is counted and logged.
    pub(super) fn new(
        envoy: Endpoint,
        application: Application,
        annotations: Option<&str>,
        status_port: u16,
        own: Arc<Own>,
    ) -> Self {
        let targets = annotations.map_or(Ok(Vec::new()), |text| target::read(text, status_port));
        let targets = targets.unwrap_or_else(|problem| {
            warn!(
                "ISTIO_PROMETHEUS_ANNOTATIONS: {problem}: the application's metrics are not merged"
            );
            own.scrape_failed(Source::Application);
            Vec::new()
        });
        Self {
            envoy,
            application,
            targets,
            own,
            turns: Semaphore::new(AT_ONCE),
            missing: AtomicBool::new(false),
        }
    }

    /// Scrapes all sides within the time that the scraper has: the answer's content type and its body. `query` goes to
    /// Envoy, `headers` are the scraper's.
    pub(super) async fn scrape(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(HeaderValue, Bytes), StatusCode> {
        self.own.scraped();
        let end = Instant::now() + limit(headers);
        let turn = tokio::time::timeout_at(end, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        let (envoy, applications) =
            tokio::join!(self.of_envoy(query, end), self.of_application(headers, end));
        let failed = applications.iter().find_map(|part| part.as_ref().err());
        let failed = failed.cloned();
        let envoy = self.or_count(envoy, Source::Envoy);
        let parts = applications.into_iter();
        let parts: Vec<Part> = parts
            .filter_map(|part| self.or_count(part, Source::Application))
            .collect();
        let open = parts.iter().find(|part| part.format == Format::OpenMetrics);
        let content_type = open
            .and_then(|part| part.content_type.clone())
            .unwrap_or(TEXT);
        let format = open.map_or(Format::Text, |part| part.format);
        let own = self.own.clone();
        // Megabytes of text: probes must not wait for it.
        let merged = tokio::task::spawn_blocking(move || merge(&own, envoy, parts, format)).await;
        let Ok((text, refused)) = merged else {
            return Err(StatusCode::INTERNAL_SERVER_ERROR);
        };
        self.tell(failed.or(refused));
        Ok((content_type, text.into()))
    }

    /// Says once that the application's metrics are missing and why, and once that they are there again.
    fn tell(&self, problem: Option<Problem>) {
        if self.missing.swap(problem.is_some(), Ordering::Relaxed) == problem.is_some() {
            return;
        }
        match problem {
            Some(problem) => warn!(%problem, "the application's metrics are missing"),
            None => info!("the application's metrics are there again"),
        }
    }

    fn or_count(&self, part: Result<Part, Problem>, source: Source) -> Option<Part> {
        part.inspect_err(|problem| {
            self.own.scrape_failed(source);
            debug!(?source, "metrics are missing: {problem}");
        })
        .ok()
    }

    /// Envoy is not told what the scraper accepts: text is what can be merged with anything.
    async fn of_envoy(&self, query: Option<&str>, end: Instant) -> Result<Part, Problem> {
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let path = format!("/stats/prometheus{query}");
        let limit = end.saturating_duration_since(Instant::now());
        let answer = self.envoy.ask(Method::GET, &path, limit).await;
        let answer = answer.map_err(|error| error.to_string())?;
        part(answer, &self.envoy.to_string())
    }

    async fn of_application(
        &self,
        headers: &HeaderMap,
        end: Instant,
    ) -> Vec<Result<Part, Problem>> {
        let most = LARGEST / self.targets.len().max(1);
        let mut scrapes = JoinSet::new();
        for (index, target) in self.targets.iter().enumerate() {
            let scrape = target
                .clone()
                .scrape(self.application, passed_on(headers), end, most);
            scrapes.spawn(async move { (index, scrape.await) });
        }
        let mut parts = scrapes.join_all().await;
        parts.sort_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

impl Target {
    /// Istio scrapes the loopback address; an application that only listens on the pod's is found there.
    async fn scrape(
        self,
        application: Application,
        headers: HeaderMap,
        end: Instant,
        most: usize,
    ) -> Result<Part, Problem> {
        let places = [
            application.on_loopback(self.port),
            application.probed(self.port),
        ];
        let uri =
            redirect::uri(&self.path).ok_or_else(|| format!("path {:?} is none", self.path))?;
        let mut problem = Problem::new();
        for place in places {
            let place = if self.https { place.https() } else { place };
            let mut request = Request::new(Full::default());
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            let host = HeaderValue::from_str(&place.to_string());
            request
                .headers_mut()
                .insert(HOST, host.map_err(|error| error.to_string())?);
            let from = place.to_string();
            let answer = redirect::follow(place, request, end, Reading::Whole(most)).await;
            match answer {
                Err(error) if error.is_connect() => problem = error.to_string(),
                Err(error) => return Err(error.to_string()),
                Ok(answer) => return part(answer, &from),
            }
        }
        Err(problem)
    }
}

/// One exposition out of all that was had, and why a text of the application is none: that costs only itself.
fn merge(
    own: &Own,
    envoy: Option<Part>,
    applications: Vec<Part>,
    format: Format,
) -> (String, Option<Problem>) {
    let sides = envoy.into_iter().map(|part| (Source::Envoy, part));
    let sides = sides.chain(
        applications
            .into_iter()
            .map(|part| (Source::Application, part)),
    );
    let (mut merged, mut refused) = (Merged::new(format), None);
    for (source, part) in sides {
        if let Err(problem) = merged.add(&part.text, part.format) {
            own.scrape_failed(source);
            debug!(?source, "metrics are missing: {problem}");
            if source == Source::Application {
                refused = Some(problem.to_string());
            }
        }
    }
    // Last, so that the failures of this very scrape are among them.
    if let Err(problem) = merged.add(&own.exposition(), Format::Text) {
        debug!("the agent's own metrics: {problem}");
    }
    (merged.finish(), refused)
}

fn part(answer: Answer, from: &str) -> Result<Part, Problem> {
    if answer.status != StatusCode::OK {
        return Err(format!("{from}: status {}", answer.status));
    }
    let header = |name: HeaderName| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(encoding) = header(CONTENT_ENCODING).filter(|name| *name != "identity") {
        return Err(format!(
            "{from}: encoded as {encoding}, which nobody asked for"
        ));
    }
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    if content_type.contains("protobuf") {
        return Err(format!("{from}: {content_type}, which nobody asked for"));
    }
    let format = Format::of(content_type);
    let content_type = answer.headers.get(CONTENT_TYPE).cloned();
    let text = String::from_utf8(answer.body.into());
    Ok(Part {
        text: text.map_err(|error| format!("{from}: {error}"))?,
        content_type,
        format,
    })
}

/// The headers that concern the application too. Formats that can't be merged are not asked for.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in [USER_AGENT, TIMEOUT] {
        if let Some(value) = headers.get(&name) {
            passed.insert(name, value.clone());
        }
    }
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let accepted: Vec<&str> = accepted
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|range| {
            let media = range.split(';').next().unwrap_or_default().trim();
            [OPEN_METRICS, "text/plain", "text/*", "*/*"].contains(&media)
        })
        .collect();
    let accepted = HeaderValue::from_str(&accepted.join(","));
    let accepted = accepted.ok().filter(|value| !value.is_empty());
    let text = HeaderValue::from_static("text/plain;version=0.0.4,*/*;q=0.1");
    passed.insert(ACCEPT, accepted.unwrap_or(text));
    passed
}

/// How long the sides have: what the scraper gives, less a tenth, so that an application that hangs costs its own
/// metrics and not the whole answer.
fn limit(headers: &HeaderMap) -> Duration {
    let given = headers.get(TIMEOUT).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.parse::<f64>().ok());
    let given = given.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    given.unwrap_or(DEFAULT_LIMIT).min(LONGEST) * 9 / 10
}

#[cfg(test)]
mod tests;
