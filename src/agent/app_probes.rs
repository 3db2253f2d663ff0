//! The application's probes, asked by the agent in the kubelet's place.
//!
//! Where a pod's traffic is captured, Envoy accepts every connection, so that a TCP probe would always succeed, and
//! probes of ports that only speak mutual TLS never. Injection therefore points probes to the agent's port, under
//! `/app-health/CONTAINER/KIND` (`/app-lifecycle/…` for hooks), and puts the originals into `ISTIO_KUBE_APP_PROBERS`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::header::{self, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use serde::Deserialize;

use super::client::Endpoint;

/// The kubelet has a limit of its own; this one only keeps a hanging application from holding the agent.
const LIMIT: Duration = Duration::from_secs(10);
/// Connections from this address are not captured: the probe asks the application, not Envoy.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

/// An original probe, in the shape that Kubernetes gives it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    timeout_seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct TcpSocket {
    port: u16,
}

/// All probes of the pod's application.
#[derive(Debug, Default)]
pub(super) struct AppProbes {
    probes: BTreeMap<String, Result<Probe, String>>,
    pod: Option<IpAddr>,
    status_port: u16,
}

impl AppProbes {
    /// Reads `ISTIO_KUBE_APP_PROBERS`. A probe that can't be read fails by itself, with the reason, and no other.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub(super) fn read(
        probers: &str,
        pod: Option<IpAddr>,
        status_port: u16,
    ) -> Result<Self, serde_json::Error> {
        let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(probers)?;
        let probes = all.into_iter().map(|(path, probe)| {
            let probe = serde_json::from_value(probe).map_err(|error| error.to_string());
            (path, probe)
        });
        Ok(Self {
            probes: probes.collect(),
            pod,
            status_port,
        })
    }

    /// Asks the application what the probe of that path asks; the status for the kubelet, and the reason of a failure.
    pub(super) async fn ask(&self, path: &str, headers: &HeaderMap) -> (StatusCode, String) {
        let failed = |reason: String| (StatusCode::INTERNAL_SERVER_ERROR, reason);
        let probe = match self.probes.get(path) {
            None => {
                return (
                    StatusCode::BAD_REQUEST,
                    format!("no probe is known as {path}"),
                );
            }
            Some(Err(reason)) => {
                return failed(format!("the probe {path} can't be read: {reason}"));
            }
            Some(Ok(probe)) => probe,
        };
        let limit = probe
            .timeout_seconds
            .filter(|seconds| *seconds > 0)
            .map_or(LIMIT, Duration::from_secs);
        match probe {
            Probe {
                tcp_socket: Some(tcp),
                ..
            } => match self.application(tcp.port).touch(limit).await {
                Ok(()) => (StatusCode::OK, String::new()),
                Err(error) => failed(error.to_string()),
            },
            Probe {
                http_get: Some(http),
                ..
            } if http.scheme.is_empty() || http.scheme.eq_ignore_ascii_case("http") => {
                self.ask_http(http, headers, limit).await
            }
            _ => (
                StatusCode::NOT_IMPLEMENTED,
                format!("{path}: only httpGet over HTTP and tcpSocket are supported yet"),
            ),
        }
    }

    async fn ask_http(
        &self,
        http: &HttpGet,
        headers: &HeaderMap,
        limit: Duration,
    ) -> (StatusCode, String) {
        let request = match request(http, headers, self.status_port) {
            Ok(request) => request,
            Err(reason) => return (StatusCode::INTERNAL_SERVER_ERROR, reason),
        };
        match self.application(http.port).send(request, limit).await {
            // To follow it is the kubelet's business, and it takes a redirect to another host for a success.
            Ok(answer) if answer.status.is_redirection() => (StatusCode::OK, String::new()),
            Ok(answer) => (answer.status, String::new()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// The application listens on the pod's address, or on all.
    fn application(&self, port: u16) -> Endpoint {
        match self.pod {
            Some(pod) if pod.is_ipv4() => Endpoint::new(pod.to_string(), port).from(SOURCE),
            Some(pod) => Endpoint::new(pod.to_string(), port),
            None => Endpoint::local(port),
        }
    }
}

/// The application's request: the kubelet's headers, over them those of the probe. A `Host` with the agent's port
/// gets the application's.
fn request(
    http: &HttpGet,
    headers: &HeaderMap,
    status_port: u16,
) -> Result<Request<Empty<hyper::body::Bytes>>, String> {
    let path = format!("/{}", http.path.trim_start_matches('/'));
    let uri: Uri = path
        .parse()
        .map_err(|error| format!("path {path:?}: {error}"))?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    *request.headers_mut() = headers.clone();
    let own = request.headers_mut();
    for hop in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        own.remove(hop);
    }
    let host = own
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost")
        .to_owned();
    let host = match host.strip_suffix(&format!(":{status_port}")) {
        Some(name) => format!("{name}:{}", http.port),
        None => host,
    };
    own.insert(
        HOST,
        HeaderValue::from_str(&host).map_err(|error| format!("host {host:?}: {error}"))?,
    );
    let mut given = HeaderMap::new();
    for Header { name, value } in &http.http_headers {
        let key = if name.eq_ignore_ascii_case(":authority") {
            "host"
        } else {
            name
        };
        let key: HeaderName = key
            .parse()
            .map_err(|error| format!("header {name:?}: {error}"))?;
        let value =
            HeaderValue::from_str(value).map_err(|error| format!("header {name:?}: {error}"))?;
        given.append(key, value);
    }
    for key in given.keys() {
        own.remove(key);
    }
    own.extend(given);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(path: &str, headers: &[(&str, &str)]) -> HttpGet {
        let http_headers = headers
            .iter()
            .map(|(name, value)| Header {
                name: (*name).into(),
                value: (*value).into(),
            })
            .collect();
        HttpGet {
            path: path.to_owned(),
            port: 8080,
            scheme: String::new(),
            http_headers,
        }
    }

    #[test]
    fn the_applications_request_has_its_own_port_and_the_probes_headers() {
        let mut kubelet = HeaderMap::new();
        kubelet.insert(HOST, HeaderValue::from_static("10.1.2.3:15020"));
        kubelet.insert(
            header::USER_AGENT,
            HeaderValue::from_static("kube-probe/1.36"),
        );
        kubelet.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let asked = request(&http("ready", &[("User-Agent", "mine")]), &kubelet, 15020).unwrap();
        assert_eq!(asked.uri(), "/ready");
        assert_eq!(asked.headers()[HOST], "10.1.2.3:8080");
        assert_eq!(asked.headers()[header::USER_AGENT], "mine");
        assert!(!asked.headers().contains_key(header::CONNECTION));
        let named = request(&http("/x", &[("Host", "shop.example")]), &kubelet, 15020).unwrap();
        assert_eq!(named.headers()[HOST], "shop.example");
        assert!(request(&http("/a b", &[]), &kubelet, 15020).is_err());
        assert!(request(&http("/", &[("bad name", "x")]), &kubelet, 15020).is_err());
    }

    #[tokio::test]
    async fn a_probe_that_is_unknown_unreadable_or_unsupported_says_so_and_harms_no_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            r#"{{"/app-health/a/livez":{{"tcpSocket":{{"port":{port}}}}},"/app-health/a/readyz":{{"httpGet":{{"port":"x"}}}},
            "/app-health/a/startupz":{{"grpc":{{"port":1,"service":null}},"timeoutSeconds":10}}}}"#
        );
        let probes = AppProbes::read(&text, None, 15020).unwrap();
        let none = HeaderMap::new();
        let ask = |path: &'static str| probes.ask(path, &none);
        assert_eq!(ask("/app-health/a/livez").await.0, StatusCode::OK);
        assert_eq!(ask("/app-health/b/livez").await.0, StatusCode::BAD_REQUEST);
        let (status, reason) = ask("/app-health/a/readyz").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            reason.contains("/app-health/a/readyz can't be read"),
            "{reason}"
        );
        assert_eq!(
            ask("/app-health/a/startupz").await.0,
            StatusCode::NOT_IMPLEMENTED
        );
        drop(listener);
        assert_eq!(
            ask("/app-health/a/livez").await.0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }
}
