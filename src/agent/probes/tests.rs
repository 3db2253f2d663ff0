//! Probes of real servers on loopback.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What a server speaks on its connections.
#[derive(Clone)]
enum Speaks {
    Http1,
    Http2,
    /// The protocols that it offers.
    Tls(TlsAcceptor),
}

fn plain(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn redirect(to: &str) -> Answer {
    let mut answer = plain(302, "");
    let to = HeaderValue::from_str(to).unwrap();
    answer.headers_mut().insert(LOCATION, to);
    answer
}

/// The application: what it answers to each path.
async fn application(request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let host = request.headers().get(HOST).cloned();
    let host = host.map_or_else(
        || request.uri().authority().unwrap().to_string(),
        |host| host.to_str().unwrap().to_owned(),
    );
    match request.uri().path() {
        "/ready" => plain(
            200,
            format!(
                "{:?} for {host} from {} as {:?}",
                request.version(),
                peer.ip(),
                request.headers().get(USER_AGENT)
            ),
        ),
        "/moved" => redirect("ready"),
        "/in-full" => redirect(&format!("//{host}/ready")),
        "/away" => redirect("https://shop.example/"),
        "/round" => redirect("/round"),
        "/big" => plain(200, vec![b'x'; 1 << 20]),
        "/hangs" => std::future::pending().await,
        "/broken" => plain(503, "database is away"),
        "/grpc.health.v1.Health/Check" => health(request).await,
        _ => plain(404, ""),
    }
}

/// A gRPC health server that knows the services "" and "up", which serve, and "down", which does not.
async fn health(request: Request<Incoming>) -> Answer {
    assert_eq!(request.headers()[CONTENT_TYPE], "application/grpc");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let service = message.get(7..).unwrap_or_default();
    let (state, code) = match service {
        b"" | b"up" => (Some(1), "0"),
        b"down" => (Some(2), "0"),
        _ => (None, "5"),
    };
    let message = state.map_or(vec![], |state| vec![0, 0, 0, 0, 2, 8, state]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    let body = Full::new(message.into()).with_trailers(async { Some(Ok(trailers)) });
    let mut answer = Response::new(body.boxed());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

/// Starts the application and returns its port.
async fn serve(address: &str, speaks: Speaks) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let speaks = speaks.clone();
            tokio::spawn(async move {
                match speaks {
                    Speaks::Http1 => answer(stream, peer, false).await,
                    Speaks::Http2 => answer(stream, peer, true).await,
                    Speaks::Tls(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        answer(stream, peer, two).await;
                    }
                }
            });
        }
    });
    port
}

async fn answer<S>(stream: S, peer: SocketAddr, two: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(application(request, peer).await) });
    let stream = TokioIo::new(stream);
    // A client that has its answer may go as it likes.
    if two {
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = http1::Builder::new()
            .serve_connection(stream, service)
            .await;
    }
}

/// TLS with a certificate that nobody knows, for another name, and long expired.
fn tls(protocols: &[&str]) -> Speaks {
    let mut parameters = rcgen::CertificateParams::new(vec!["elsewhere.example".into()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
    Speaks::Tls(Arc::new(config).into())
}

fn probes(address: &str, probers: &serde_json::Value) -> AppProbes {
    let application = Application::read(&|name| (name == "INSTANCE_IP").then(|| address.into()));
    AppProbes::read(&probers.to_string(), application, 15020).unwrap()
}

/// Asks one probe as the kubelet does.
async fn ask(address: &str, probe: serde_json::Value) -> (u16, String) {
    let path = "/app-health/app/readyz";
    let probes = probes(address, &serde_json::json!({ path: probe }));
    let mut kubelet = HeaderMap::new();
    let host = HeaderValue::from_static("10.0.0.9:15020");
    kubelet.insert(HOST, host);
    kubelet.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.36"));
    let verdict = probes.ask(path, &kubelet).await;
    let body = String::from_utf8_lossy(&verdict.body).into_owned();
    (verdict.status.as_u16(), body)
}

fn get(port: u16, path: &str) -> serde_json::Value {
    serde_json::json!({"httpGet": {"port": port, "path": path}, "timeoutSeconds": 20})
}

#[tokio::test]
async fn an_http_probe_has_the_applications_answer() {
    let port = serve("127.0.0.1", Speaks::Http1).await;
    let asked = |path: &'static str| ask("127.0.0.1", get(port, path));
    let said = format!("HTTP/1.1 for 10.0.0.9:{port} from 127.0.0.6 as Some(\"kube-probe/1.36\")");
    assert_eq!(asked("/ready").await, (200, said.clone()));
    assert_eq!(asked("moved").await, (200, said));
    assert_eq!(asked("/broken").await, (503, "database is away".to_owned()));
    assert_eq!(asked("/absent").await.0, 404);
    let (status, body) = asked("/big").await;
    assert_eq!((status, body.len()), (200, 10 * 1024));
}

#[tokio::test]
async fn a_redirect_is_followed_to_the_application_and_is_a_success_elsewhere() {
    let port = serve("127.0.0.1", Speaks::Http1).await;
    let host = serde_json::json!([{"name": "Host", "value": format!("127.0.0.1:{port}")}]);
    let mut probe = get(port, "/in-full");
    probe["httpGet"]["httpHeaders"] = host;
    let (status, body) = ask("127.0.0.1", probe).await;
    assert_eq!(status, 200);
    assert!(body.contains(&format!("for 127.0.0.1:{port}")), "{body}");
    assert_eq!(
        ask("127.0.0.1", get(port, "/away")).await,
        (200, String::new())
    );
    let (status, body) = ask("127.0.0.1", get(port, "/round")).await;
    assert_eq!(
        (status, body.as_str()),
        (500, "stopped after 10 redirects\n")
    );
}

#[tokio::test]
async fn an_https_probe_trusts_any_certificate_and_speaks_what_the_server_chooses() {
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let port = serve("127.0.0.1", tls(protocols)).await;
        let mut probe = get(port, "/ready");
        probe["httpGet"]["scheme"] = "HTTPS".into();
        let (status, body) = ask("127.0.0.1", probe).await;
        assert_eq!(status, 200, "{body}");
        let begin = format!("{version:?} for 10.0.0.9:{port} from 127.0.0.6");
        assert!(body.starts_with(&begin), "{body}");
    }
    let plain = serve("127.0.0.1", Speaks::Http1).await;
    let mut probe = get(plain, "/ready");
    probe["httpGet"]["scheme"] = "HTTPS".into();
    assert_eq!(ask("127.0.0.1", probe).await.0, 500);
}

#[tokio::test]
async fn a_grpc_probe_asks_the_health_service() {
    let port = serve("127.0.0.1", Speaks::Http2).await;
    let check = async |port: u16, service: serde_json::Value| {
        let probe =
            serde_json::json!({"grpc": {"port": port, "service": service}, "timeoutSeconds": 20});
        ask("127.0.0.1", probe).await
    };
    assert_eq!(check(port, serde_json::Value::Null).await.0, 200);
    assert_eq!(check(port, "up".into()).await.0, 200);
    let (status, body) = check(port, "down".into()).await;
    assert_eq!(status, 500);
    assert!(body.ends_with("the service is NOT_SERVING\n"), "{body}");
    let (_, body) = check(port, "other".into()).await;
    assert!(
        body.ends_with("the server knows no such service\n"),
        "{body}"
    );
    let no_grpc = serve("127.0.0.1", Speaks::Http1).await;
    assert_eq!(check(no_grpc, "".into()).await.0, 500);
}

#[tokio::test]
async fn a_pod_with_an_ipv6_address_is_probed_there() {
    if TcpListener::bind("[::1]:0").await.is_err() {
        // A machine without IPv6 has no such pods.
        return;
    }
    let port = serve("::1", Speaks::Http1).await;
    let (status, body) = ask("::1", get(port, "/ready")).await;
    assert_eq!(status, 200, "{body}");
    let from = body.split(' ').nth(4).unwrap();
    assert!(from.parse::<IpAddr>().unwrap().is_ipv6(), "{body}");
}

#[tokio::test]
async fn a_probe_that_is_unknown_or_unreadable_says_so_and_harms_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probes = probes(
        "127.0.0.1",
        &serde_json::json!({
            "/app-health/a/livez": {"tcpSocket": {"port": port}, "timeoutSeconds": 20},
            "/app-health/a/readyz": {"httpGet": {"port": "x"}},
        }),
    );
    let none = HeaderMap::new();
    let ask = |path: &'static str| probes.ask(path, &none);
    assert_eq!(ask("/app-health/a/livez").await, Verdict::success());
    assert_eq!(
        ask("/app-health/b/livez").await.status,
        StatusCode::BAD_REQUEST
    );
    let verdict = ask("/app-health/a/readyz").await;
    assert_eq!(verdict.status, StatusCode::INTERNAL_SERVER_ERROR);
    let reason = String::from_utf8_lossy(&verdict.body).into_owned();
    assert!(
        reason.contains("/app-health/a/readyz can't be read"),
        "{reason}"
    );
    drop(listener);
    let verdict = ask("/app-health/a/livez").await;
    assert_eq!(verdict.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_application_that_hangs_fails_its_probe_after_the_probes_own_time() {
    let port = serve("127.0.0.1", Speaks::Http1).await;
    let probe = serde_json::json!({"httpGet": {"port": port, "path": "/hangs"}});
    let (status, body) = ask("127.0.0.1", probe).await;
    assert_eq!(status, 500);
    assert!(body.contains("no answer within"), "{body}");
}

#[test]
fn only_hooks_and_probes_that_say_so_may_take_long() {
    let probes = probes(
        "10.0.0.1",
        &serde_json::json!({
            "/app-lifecycle/a/prestopz": {"httpGet": {"port": 1}},
            "/app-health/a/readyz": {"tcpSocket": {"port": 1}},
            "/app-health/a/livez": {"tcpSocket": {"port": 1}, "timeoutSeconds": 120},
            "/app-health/a/startupz": {},
        }),
    );
    assert_eq!(probes.longer_than(Duration::from_secs(30)), 2);
    assert_eq!(probes.limit("/app-health/a/readyz"), Duration::from_secs(1));
    assert_eq!(probes.limit("/app-health/b/readyz"), Duration::ZERO);
}
