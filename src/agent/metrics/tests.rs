//! Scrapes of real servers on loopback.

use std::convert::Infallible;

use hyper::Response;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Envoy and applications in one: what is said depends on the path, and on what is accepted.
async fn said(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request
        .headers()
        .get(ACCEPT)
        .map(|value| value.to_str().unwrap().to_owned());
    let open = accept
        .as_ref()
        .is_some_and(|accept| accept.contains(OPEN_METRICS));
    match request.uri().path() {
        "/stats/prometheus" => {
            assert_eq!(accept, None);
            let query = request.uri().query().unwrap_or_default().len();
            typed(
                "text/plain",
                format!("# TYPE envoy_x counter\nenvoy_x{{}} {query}\n\n"),
            )
        }
        "/metrics" if open => typed(OPEN, "# TYPE orders counter\norders_total 5\n# EOF\n"),
        "/metrics" => typed("text/plain", "# TYPE orders_total counter\norders_total 5"),
        "/more" => typed("text/plain; version=0.0.4", "jobs 2 1500\n"),
        "/page" => typed("text/html", "<html>\n"),
        "/packed" => {
            let mut response = typed("text/plain", "x 1\n");
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(CONTENT_ENCODING, gzip);
            response
        }
        "/moved" => {
            let mut response = typed("text/plain", "");
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            let there = HeaderValue::from_static("/metrics");
            response.headers_mut().insert(LOCATION, there);
            response
        }
        "/large" => typed("text/plain", vec![b'\n'; LARGEST + 1]),
        "/hangs" => std::future::pending().await,
        _ => {
            let mut response = typed("text/plain", "");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(said(request).await) });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    port
}

/// A port that nobody listens on.
async fn nobody() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn metrics(envoy: u16, targets: &[(u16, &str)]) -> Metrics {
    let targets: Vec<_> = targets
        .iter()
        .map(|(port, path)| serde_json::json!({"port": port.to_string(), "path": path}))
        .collect();
    let annotations = serde_json::json!({ "targets": targets }).to_string();
    Metrics::new(
        Endpoint::local(envoy),
        Application::read(&|name| (name == "INSTANCE_IP").then(|| "127.0.0.1".into())),
        Some(annotations.as_str()).filter(|_| !targets.is_empty()),
        15020,
        Arc::new(Own::new(std::time::Instant::now())),
    )
}

/// Scrapes as Prometheus does: the content type, and what is not described.
async fn scrape(metrics: &Metrics, accept: &'static str) -> (String, Vec<String>) {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.insert(TIMEOUT, HeaderValue::from_static("20"));
    let (content_type, body) = metrics.scrape(None, &headers).await.unwrap();
    let body = String::from_utf8(body.into()).unwrap();
    let lines = body.lines().filter(|line| !line.starts_with("# "));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.extend(body.ends_with("# EOF\n").then(|| "the end".to_owned()));
    (content_type.to_str().unwrap().to_owned(), lines)
}

const FAILED: &str = "istio_agent_scrape_failures_total{type=\"application\"}";

#[tokio::test]
async fn all_sides_are_in_one_answer_in_the_applications_format() {
    let port = serve().await;
    let metrics = metrics(port, &[(port, "/metrics"), (port, "/more")]);
    let (content_type, lines) = scrape(&metrics, "text/plain;version=0.0.4;q=0.5,*/*").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(lines[..3], ["envoy_x{} 0", "orders_total 5", "jobs 2 1500"]);
    assert!(lines.contains(&"istio_agent_scrapes_total 1".to_owned()));
    assert!(lines.contains(&format!("{FAILED} 0")));

    let wanted =
        "application/vnd.google.protobuf;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8";
    let (content_type, lines) = scrape(&metrics, wanted).await;
    assert_eq!(content_type, OPEN);
    assert_eq!(
        lines[..3],
        ["envoy_x{} 0", "orders_total 5", "jobs 2 1.500"]
    );
    assert!(lines.contains(&"istio_agent_scrapes_total 2".to_owned()));
    assert_eq!(lines.last().unwrap(), "the end");
}

#[tokio::test]
async fn whatever_the_application_does_envoy_is_served_and_the_failure_counted() {
    let port = serve().await;
    let bad = [
        (nobody().await, "/metrics"),
        (port, "/absent"),
        (port, "/page"),
        (port, "/packed"),
        (port, "/large"),
    ];
    for target in bad {
        let metrics = metrics(port, &[target, (port, "/moved")]);
        let (_, lines) = scrape(&metrics, "*/*").await;
        assert_eq!(lines[..2], ["envoy_x{} 0", "orders_total 5"], "{target:?}");
        assert!(
            lines.contains(&format!("{FAILED} 1")),
            "{target:?}: {lines:?}"
        );
    }
}

#[tokio::test]
async fn an_application_that_hangs_costs_its_own_metrics_and_not_the_answer() {
    let port = serve().await;
    let metrics = metrics(port, &[(port, "/hangs")]);
    let mut headers = HeaderMap::new();
    headers.insert(TIMEOUT, HeaderValue::from_static("0.5"));
    let (_, body) = metrics.scrape(None, &headers).await.unwrap();
    let body = String::from_utf8(body.into()).unwrap();
    assert!(body.contains("envoy_x{} 0"), "{body}");
    assert!(body.contains(&format!("{FAILED} 1")), "{body}");
}

#[tokio::test]
async fn without_envoy_the_others_are_served() {
    let port = serve().await;
    let metrics = metrics(nobody().await, &[(port, "/metrics")]);
    let (_, lines) = scrape(&metrics, "*/*").await;
    assert_eq!(lines[0], "orders_total 5");
    let counted = "istio_agent_scrape_failures_total{type=\"envoy\"} 1";
    assert!(lines.contains(&counted.to_owned()), "{lines:?}");
}

#[tokio::test]
async fn the_query_is_envoys() {
    let port = serve().await;
    let metrics = metrics(port, &[]);
    let (_, body) = metrics
        .scrape(Some("usedonly"), &HeaderMap::new())
        .await
        .unwrap();
    assert!(body.starts_with(b"# TYPE envoy_x counter\nenvoy_x{} 8\n"));
}

#[test]
fn what_the_scraper_gives_bounds_the_time() {
    let of = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_static(text));
        limit(&headers)
    };
    assert_eq!(of("10"), Duration::from_secs(9));
    assert_eq!(of("1e9"), Duration::from_secs(54));
    for nonsense in ["", "soon", "-1", "NaN", "inf", "1e400"] {
        assert_eq!(of(nonsense), Duration::from_secs(9), "{nonsense}");
    }
}
