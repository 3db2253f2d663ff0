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
use super::places::{Place, Places};
use super::probes::AppProbes;
use super::settings::Role;

/// Enough for probes, metrics and hooks together. Who finds no place takes one from the client that has the most.
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
    places: Arc<Places>,
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
            places: Places::new(MOST_CONNECTIONS + long),
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
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // At once: whoever waited here would keep those behind it in the backlog waiting too.
                    let place = self.places.take(peer.ip().to_canonical());
                    let status = self.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = place.lost() => debug!(%peer, "connection to the agent's port: its place went to another client"),
                            () = status.connection(stream, peer, &place) => {}
                        }
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

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, place: &Place) {
        // Known once the request is: how many seconds its answer may take.
        let allowed = AtomicU64::new(0);
        let service = service_fn(|request: Request<Incoming>| {
            let allowed = &allowed;
            place.asked();
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

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::super::application::Application;

    /// A probe that takes longer than the test.
    const SLOW: &str = "/app-health/app/readyz";

    /// The agent's port, with an Envoy and an application that take connections and say nothing.
    async fn port() -> (SocketAddr, TcpListener) {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_port = silent.local_addr().unwrap().port();
        let admin = Endpoint::local(silent_port);
        let application = Application::read(&|name| {
            (name == "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION").then(|| "true".to_owned())
        });
        let probe = serde_json::json!({ "httpGet": { "port": silent_port }, "timeoutSeconds": 25 });
        let probes = serde_json::json!({ SLOW: probe }).to_string();
        let probes = AppProbes::read(&probes, application, 15020).unwrap();
        let own = Arc::new(Own::new(std::time::Instant::now()));
        let metrics = Metrics::new(admin.clone(), application, None, 15020, own.clone());
        let status = Status::new(admin, Role::Sidecar, probes, metrics, own);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Arc::new(status).serve(listener));
        (address, silent)
    }

    async fn connect(from: &str, port: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(port).await.unwrap()
    }

    async fn ask(from: &str, port: SocketAddr, path: &str) -> TcpStream {
        let mut stream = connect(from, port).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// How many of the connections have ended.
    async fn ended(connections: &mut [TcpStream]) -> usize {
        let mut ended = 0;
        for connection in connections {
            let read = timeout(Duration::ZERO, connection.read(&mut [0; 64])).await;
            ended += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        ended
    }

    #[tokio::test]
    async fn who_connects_and_asks_nothing_keeps_no_one_out() {
        let (port, _silent) = port().await;
        let mut idle = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            idle.push(connect("127.0.0.2", port).await);
        }
        for asked in 1..=3 {
            let mut answer = String::new();
            let mut probe = ask("127.0.0.3", port, "/nothing").await;
            probe.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
            // It took a place from one of them, and did not wait until they all had to go.
            assert!(ended(&mut idle).await <= asked);
        }
    }

    #[tokio::test]
    async fn who_asks_much_that_takes_long_keeps_no_other_client_out() {
        /// What one client has beyond all places: it waits for nobody, so that nobody waits behind it.
        const MORE: usize = 6;
        let (port, _silent) = port().await;
        let mut slow = Vec::new();
        for _ in 0..MOST_CONNECTIONS + MORE {
            slow.push(ask("127.0.0.2", port, SLOW).await);
        }
        let mut answer = String::new();
        let mut probe = ask("127.0.0.3", port, "/nothing").await;
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert_eq!(ended(&mut slow).await, MORE + 1);
    }

    #[test]
    fn what_the_sidecar_passes_on_from_other_pods_does_not_count_as_the_own_pod() {
        assert!(is_own_pod("127.0.0.1".parse().unwrap()));
        assert!(is_own_pod("::1".parse().unwrap()));
        assert!(!is_own_pod("127.0.0.6".parse().unwrap()));
        assert!(!is_own_pod("10.0.0.7".parse().unwrap()));
    }
}
