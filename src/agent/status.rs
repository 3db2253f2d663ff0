//! The agent's own port: readiness, metrics, the application's probes, and the end of the proxy.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::client::Endpoint;
use super::drain;
use super::metrics::{self, Metrics, Own};
use super::probes::AppProbes;
use super::settings::Role;

/// Enough for probes, metrics and hooks together.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last beyond what its answer takes: probes need a place too, so nobody keeps one by not
/// reading the answer.
const CONNECTION: Duration = Duration::from_secs(30);
/// Kubelet's probes wait 3 s by default in the injected pods.
const READY: Duration = Duration::from_secs(2);

/// What the agent's port tells and does.
pub(super) struct Status {
    admin: Endpoint,
    role: Role,
    probes: AppProbes,
    metrics: Metrics,
    own: Arc<Own>,
    draining: AtomicBool,
    quit: Notify,
    connections: Arc<Semaphore>,
    /// Places for what may take longer than any other connection: hooks, and probes with a long `timeoutSeconds`.
    long: Semaphore,
}

/// The sockets of a port on every address: one for both families, where this host has both, or two.
///
/// # Errors
/// The port can't be had for any family.
pub(super) async fn bind(port: u16) -> io::Result<Vec<TcpListener>> {
    let six = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await;
    // In use by the first where that one takes IPv4 as well, which is usual and a setting of the host.
    let four = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    match (six, four) {
        (Err(_), Err(error)) => Err(error),
        (six, four) => Ok(six.into_iter().chain(four).collect()),
    }
}

impl Status {
    pub(super) fn new(
        admin: Endpoint,
        role: Role,
        probes: AppProbes,
        metrics: Metrics,
        own: Arc<Own>,
    ) -> Self {
        let long = probes.longer_than(CONNECTION);
        Self {
            admin,
            role,
            probes,
            metrics,
            own,
            draining: AtomicBool::new(false),
            quit: Notify::new(),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS + long)),
            long: Semaphore::new(long),
        }
    }

    /// Begins to drain, once: readiness ends and Envoy takes no new inbound connections.
    pub(super) async fn drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            drain::begin(&self.admin, self.role).await;
        }
    }

    /// Waits until somebody in the pod asks for the end of the proxy.
    pub(super) async fn quit_asked(&self) {
        self.quit.notified().await;
    }

    /// Serves for ever.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        loop {
            let slot = self.connections.clone().acquire_owned().await?;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let status = self.clone();
                    tokio::spawn(async move {
                        status.connection(stream, peer).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would only spin.
                    warn!(%error, "the agent's port can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Known once the request is: how many seconds its answer may take.
        let allowed = AtomicU64::new(0);
        let service = service_fn(|request: Request<Incoming>| {
            let allowed = &allowed;
            async move {
                let answer = self.answer(&request, peer.ip().to_canonical(), allowed);
                Ok::<_, Infallible>(answer.await)
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        // One request a connection keeps a slot for as short as its answer takes.
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .keep_alive(false);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut ended = tokio::time::timeout(CONNECTION, &mut connection).await;
        if ended.is_err() {
            let more = Duration::from_secs(allowed.load(Ordering::Relaxed));
            ended = tokio::time::timeout(more, connection).await;
        }
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, %peer, "connection to the agent's port"),
            Err(_) => debug!(%peer, "connection to the agent's port: took too long"),
        }
    }

    async fn answer(
        &self,
        request: &Request<Incoming>,
        peer: IpAddr,
        allowed: &AtomicU64,
    ) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz/ready") => self.ready().await,
            (&Method::GET, "/stats/prometheus" | "/metrics") => {
                allowed.store(metrics::LONGEST.as_secs(), Ordering::Relaxed);
                self.metrics(request).await
            }
            (&Method::GET, path)
                if path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/") =>
            {
                allowed.store(self.probes.limit(path).as_secs(), Ordering::Relaxed);
                self.probe(path, request).await
            }
            (_, "/quitquitquit" | "/drain") if !is_own_pod(peer) => text(
                StatusCode::FORBIDDEN,
                "only from this pod, over 127.0.0.1\n",
            ),
            (&Method::POST, "/quitquitquit") => {
                self.quit.notify_one();
                text(StatusCode::OK, "OK\n")
            }
            (&Method::POST, "/drain") => {
                self.drain().await;
                text(StatusCode::OK, "OK\n")
            }
            (
                _,
                "/healthz/ready" | "/stats/prometheus" | "/metrics" | "/quitquitquit" | "/drain",
            ) => text(StatusCode::METHOD_NOT_ALLOWED, "wrong method\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        if self.draining.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        match self.admin.ask(Method::GET, "/ready", READY).await {
            Ok(answer) if answer.status.is_success() => {
                self.own.ready();
                text(StatusCode::OK, "")
            }
            Ok(answer) => {
                let state = String::from_utf8_lossy(&answer.body);
                text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("Envoy is not live: {}\n", state.trim()),
                )
            }
            Err(error) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("Envoy does not answer: {error}\n"),
            ),
        }
    }

    async fn probe(&self, path: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let _place = if self.probes.limit(path) > CONNECTION {
            match self.long.try_acquire() {
                Ok(place) => Some(place),
                Err(_) => {
                    return text(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "it is being carried out already\n",
                    );
                }
            }
        } else {
            None
        };
        let verdict = self.probes.ask(path, request.headers()).await;
        self.own.probed(verdict.is_success());
        text(verdict.status, verdict.body)
    }

    async fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = request.uri().query();
        match self.metrics.scrape(query, request.headers()).await {
            Ok((content_type, body)) => {
                let mut response = text(StatusCode::OK, body);
                response.headers_mut().insert(CONTENT_TYPE, content_type);
                response
            }
            Err(status) => text(status, "too many scrapes at once\n"),
        }
    }
}

/// Not all of 127.0.0.0/8: connections from other pods that the sidecar passes on come from 127.0.0.6.
fn is_own_pod(peer: IpAddr) -> bool {
    peer == IpAddr::V4(Ipv4Addr::LOCALHOST) || peer == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sidecar_passes_on_from_other_pods_does_not_count_as_the_own_pod() {
        assert!(is_own_pod("127.0.0.1".parse().unwrap()));
        assert!(is_own_pod("::1".parse().unwrap()));
        assert!(!is_own_pod("127.0.0.6".parse().unwrap()));
        assert!(!is_own_pod("10.0.0.7".parse().unwrap()));
    }
}
