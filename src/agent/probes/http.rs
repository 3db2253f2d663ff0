//! `httpGet`: the request that the kubelet would have sent, and what it makes of the answer.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{self, HOST, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::Verdict;
use super::original::{Header, HttpGet};
use crate::agent::application::Application;
use crate::agent::client::Reading;
use crate::agent::redirect;

/// How much of the application's answer the kubelet reads.
const BODY: usize = 10 * 1024;

/// Headers about the connection to the agent, which say nothing about the one to the application.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// Asks the application. `target` is where it is, and the agent's own port, `end` when it must have answered.
pub(super) async fn ask(
    get: &HttpGet,
    kubelet: &HeaderMap,
    target: (Application, u16),
    end: Instant,
) -> Verdict {
    match verdict(get, kubelet, target, end).await {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::failure(format!("{reason}\n")),
    }
}

async fn verdict(
    get: &HttpGet,
    kubelet: &HeaderMap,
    target: (Application, u16),
    end: Instant,
) -> Result<Verdict, String> {
    let (application, status_port) = target;
    let request = request(get, kubelet, status_port)?;
    let mut endpoint = application.probed(get.port);
    let scheme = get.scheme.as_deref().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("https") {
        endpoint = endpoint.https();
    }
    let answer = redirect::follow(endpoint, request, end, Reading::Beginning(BODY)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status.is_redirection() {
        // To another host: a success for the kubelet, which would go there if it saw the status.
        return Ok(Verdict::success());
    }
    Ok(Verdict {
        status: answer.status,
        body: answer.body,
        answered: true,
    })
}

/// The application's request: the kubelet's headers, over them those of the probe. A `Host` with the agent's port
/// gets the application's.
fn request(
    get: &HttpGet,
    kubelet: &HeaderMap,
    status_port: u16,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::default());
    let path = get.path.as_deref().unwrap_or_default();
    *request.uri_mut() = redirect::uri(path).ok_or_else(|| format!("path {path:?} is none"))?;
    *request.headers_mut() = kubelet.clone();
    let own = request.headers_mut();
    for name in HOP_BY_HOP {
        own.remove(name);
    }
    let given = given_headers(get.http_headers.as_deref().unwrap_or_default())?;
    for name in given.keys() {
        own.remove(name);
    }
    own.extend(given);
    let host = own.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("localhost");
    let host = match host.strip_suffix(&format!(":{status_port}")) {
        Some(name) => format!("{name}:{}", get.port),
        None => host.to_owned(),
    };
    let host = HeaderValue::from_str(&host).map_err(|error| format!("host {host:?}: {error}"))?;
    own.insert(HOST, host);
    // One connection a probe, as the kubelet does it: an idle one that the application closes fails no probe.
    own.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

fn given_headers(headers: &[Header]) -> Result<HeaderMap, String> {
    let mut given = HeaderMap::new();
    for Header { name, value } in headers {
        let problem = |error: &dyn std::fmt::Display| format!("header {name:?}: {error}");
        let key = if name.eq_ignore_ascii_case(":authority") {
            HOST
        } else {
            name.parse().map_err(|error| problem(&error))?
        };
        let value = HeaderValue::from_str(value).map_err(|error| problem(&error))?;
        if key == HOST {
            given.insert(key, value);
        } else {
            given.append(key, value);
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(path: &str, headers: &[(&str, &str)]) -> HttpGet {
        let headers = headers.iter().map(|(name, value)| Header {
            name: (*name).into(),
            value: (*value).into(),
        });
        HttpGet {
            path: Some(path.to_owned()),
            port: 8080,
            scheme: None,
            http_headers: Some(headers.collect()),
        }
    }

    fn kubelet() -> HeaderMap {
        let mut kubelet = HeaderMap::new();
        kubelet.insert(HOST, HeaderValue::from_static("10.1.2.3:15020"));
        kubelet.insert(
            header::USER_AGENT,
            HeaderValue::from_static("kube-probe/1.36"),
        );
        kubelet.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        kubelet.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
        kubelet
    }

    #[test]
    fn the_applications_request_has_its_own_port_and_the_probes_headers() {
        let headers = [("User-Agent", "mine"), ("X-A", "1"), ("x-a", "2")];
        let asked = request(&http("ready", &headers), &kubelet(), 15020).unwrap();
        assert_eq!(asked.uri(), "/ready");
        assert_eq!(asked.headers()[HOST], "10.1.2.3:8080");
        assert_eq!(asked.headers()[header::USER_AGENT], "mine");
        let values: Vec<_> = asked.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(asked.headers()[header::CONNECTION], "close");
        assert!(!asked.headers().contains_key(header::TRANSFER_ENCODING));
        assert!(request(&http("/", &[("bad name", "x")]), &kubelet(), 15020).is_err());
    }

    #[test]
    fn a_host_of_the_probe_wins_and_only_the_agents_port_is_replaced() {
        let host_of = |headers: &[(&str, &str)]| {
            let asked = request(&http("/", headers), &kubelet(), 15020).unwrap();
            asked.headers()[HOST].to_str().unwrap().to_owned()
        };
        assert_eq!(host_of(&[("Host", "shop.example")]), "shop.example");
        assert_eq!(host_of(&[(":authority", "a"), ("host", "b:81")]), "b:81");
        let mut named = kubelet();
        named.insert(HOST, HeaderValue::from_static("[fd00::7]:15020"));
        let asked = request(&http("/", &[]), &named, 15020).unwrap();
        assert_eq!(asked.headers()[HOST], "[fd00::7]:8080");
    }
}
