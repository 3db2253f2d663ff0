//! An application for the tests of injected pods: it answers probes and hooks of every kind, and calls others.
//!
//! `workload serve` listens on four ports from `--base-port` on: HTTP, HTTPS with a certificate that nobody knows, TCP, and
//! gRPC (health only). `workload call URL` sends one request, once, and fails where it fails.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use clap::Parser;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_e2e::bookinfo::{Client, terminated};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

#[derive(Parser)]
#[command(about = "An application that answers probes of every kind, and calls others")]
enum Cli {
    /// Listens for HTTP, HTTPS, TCP and gRPC on four ports in a row.
    Serve {
        /// The first of them.
        #[arg(long, default_value_t = 8080)]
        base_port: u16,
    },
    /// Sends one GET request and prints the body of its answer.
    Call {
        /// What to get.
        url: Uri,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse() {
        Cli::Serve { base_port } => {
            tokio::select! {
                ended = serve(base_port) => ended,
                ended = terminated() => ended,
            }
        }
        Cli::Call { url } => {
            let client = Client::new(Duration::from_secs(10));
            let answer = client.get(&url, HeaderMap::new()).await?;
            println!("{}", String::from_utf8_lossy(&answer.body));
            ensure!(answer.status.is_success(), "{url}: {}", answer.status);
            Ok(())
        }
    }
}

/// What is remembered between requests.
#[derive(Default)]
struct App {
    broken: AtomicBool,
    breaks: Notify,
    hooks: Mutex<Vec<String>>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn serve(base_port: u16) -> Result<()> {
    let app = Arc::new(App::default());
    let tls = tls()?;
    let listen = async |offset: u16| {
        let port = base_port + offset;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
        listener.with_context(|| format!("port {port}"))
    };
    let (plain, secured) = (listen(0).await?, listen(1).await?);
    let (tcp, grpc) = (listen(2).await?, listen(3).await?);
    tokio::join!(
        accept(plain, &app, Speech::Http),
        accept(secured, &app, Speech::Https(tls)),
        accept(grpc, &app, Speech::Http2),
        touch(tcp, &app),
    );
    Ok(())
}

/// What is spoken on a port.
#[derive(Clone)]
enum Speech {
    Http,
    Http2,
    Https(TlsAcceptor),
}

async fn accept(listener: TcpListener, app: &Arc<App>, speech: Speech) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (app, speech) = (Arc::clone(app), speech.clone());
        tokio::spawn(async move {
            match speech {
                Speech::Http => speak(stream, peer, &app, false).await,
                Speech::Http2 => speak(stream, peer, &app, true).await,
                Speech::Https(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        speak(stream, peer, &app, two).await;
                    }
                }
            }
        });
    }
}

/// Accepts connections until the application is broken; then nobody listens any more.
async fn touch(listener: TcpListener, app: &App) {
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(accepted),
            () = app.breaks.notified() => return,
        }
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, app: &Arc<App>, two: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let app = Arc::clone(app);
        async move { Ok::<_, Infallible>(answer(&app, &request, peer)) }
    });
    let stream = TokioIo::new(stream);
    // How a connection ends is the client's business.
    if two {
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(stream, service)
            .await;
    }
}

fn answer(app: &App, request: &Request<Incoming>, peer: SocketAddr) -> Answer {
    let healthy = !app.broken.load(Ordering::Relaxed);
    let hooks = || app.hooks.lock().unwrap_or_else(PoisonError::into_inner);
    match request.uri().path() {
        "/health" if healthy => text(StatusCode::OK, "healthy"),
        "/health" => text(StatusCode::SERVICE_UNAVAILABLE, "broken"),
        "/break" => {
            app.broken.store(true, Ordering::Relaxed);
            app.breaks.notify_one();
            text(StatusCode::OK, "broken")
        }
        "/caller" => text(StatusCode::OK, peer.ip().to_string()),
        "/hooks" => text(StatusCode::OK, hooks().join(",")),
        "/metrics" => metrics(request.headers()),
        "/grpc.health.v1.Health/Check" => health(if healthy { 1 } else { 2 }),
        path => match path.strip_prefix("/hook/") {
            Some(hook) => {
                println!("hook {hook}");
                hooks().push(hook.to_owned());
                text(StatusCode::OK, "done")
            }
            None => text(StatusCode::NOT_FOUND, "nothing here"),
        },
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status;
    answer
}

/// In OpenMetrics where that is accepted.
fn metrics(headers: &HeaderMap) -> Answer {
    const OPEN: &str = "application/openmetrics-text";
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    let accept = String::from_utf8_lossy(accept.unwrap_or_default());
    let (content_type, body) = if accept.contains(OPEN) {
        let body = "# TYPE workload_orders counter\nworkload_orders_total 5\n# EOF\n";
        (OPEN, body)
    } else {
        let body = "# TYPE workload_orders_total counter\nworkload_orders_total 5\n";
        ("text/plain", body)
    };
    let mut answer = text(StatusCode::OK, body);
    let content_type = HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A `HealthCheckResponse` with this status, as gRPC frames it.
fn health(status: u8) -> Answer {
    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
    let mut answer = Response::new(body.boxed());
    let content_type = HeaderValue::from_static("application/grpc");
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}

fn tls() -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["workload.test".to_owned()])?;
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}
