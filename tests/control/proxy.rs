//! Stands between `outriggerd` and the API server, and does what networks, proxies and busy API servers do.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::tls::Client;
use super::*;

type Body = BoxBody<Bytes, hyper::Error>;

/// Which requests a fault befalls.
pub type Which = fn(&Parts) -> bool;

pub fn is_watch(request: &Parts) -> bool {
    request
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|word| word == "watch=true"))
}

pub fn is_watch_of_virtual_services(request: &Parts) -> bool {
    is_watch(request) && request.uri.path().ends_with("/virtualservices")
}

pub fn is_status_write(request: &Parts) -> bool {
    request.method == "PATCH" && request.uri.path().ends_with("/status")
}

pub fn is_status_write_of_virtual_services(request: &Parts) -> bool {
    is_status_write(request) && request.uri.path().contains("/virtualservices/")
}

pub fn is_status_write_of_destination_rules(request: &Parts) -> bool {
    is_status_write(request) && request.uri.path().contains("/destinationrules/")
}

pub fn is_lease_write(request: &Parts) -> bool {
    request.method == "PUT" && request.uri.path().contains("/leases/")
}

pub fn is_list_of_virtual_services(request: &Parts) -> bool {
    request.method == "GET"
        && !is_watch(request)
        && request.uri.path().ends_with("/virtualservices")
}

/// Any page of a list but the first.
pub fn is_further_page_of_virtual_services(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or_default();
    is_list_of_virtual_services(request) && query.contains("continue=")
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429, to be repeated after a second.
    TooManyRequests,
    /// 409.
    Conflict,
    /// A watch that starts, and at once says that its resource version is too old (410).
    Expired,
    /// The same, said by the answer itself.
    Gone,
    /// 500.
    Broken,
    /// The answer that [`Proxy::remember`] took note of, however old it is.
    Stale,
    /// A watch that breaks off in the middle of the first event.
    Torn,
    /// The API server acts on it, but the connection ends before its answer.
    AnswerLost,
    /// The API server acts on it, and its answer never comes.
    AnswerHangs,
    /// No answer, and no end of the connection.
    Hang,
}

/// The proxy; it ends on drop.
pub struct Proxy {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    runtime: Option<Runtime>,
}

struct Shared {
    server: SocketAddr,
    client: Client,
    faults: Mutex<Vec<(Which, Fault, usize)>>,
    torn: AtomicUsize,
    /// Every request so far: its method and URI.
    asked: Mutex<Vec<String>>,
    /// The answer of a stale cache.
    remembered: Mutex<Option<Value>>,
    /// Paths of the status writes that the API server accepted.
    written: Mutex<Vec<String>>,
    /// Whether connections may be. Every message ends those that are open.
    connected: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// A proxy to the API server of `cluster`; requests keep the credentials of `kubeconfig`.
    pub fn start(cluster: &ControlPlane, kubeconfig: &std::path::Path) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = cluster.server().strip_prefix("https://").unwrap();
        let roots = std::fs::read(cluster.directory().join("pki/ca.crt")).unwrap();
        let shared = Arc::new(Shared {
            server: server.parse().unwrap(),
            client: Client::new(&roots),
            faults: Mutex::default(),
            torn: AtomicUsize::new(0),
            asked: Mutex::default(),
            remembered: Mutex::default(),
            written: Mutex::default(),
            connected: watch::Sender::new(true),
        });
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(accept(listener, Arc::clone(&shared)));

        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["clusters"][0]["cluster"] =
            serde_json::json!({ "server": format!("http://{address}") });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();
        Proxy {
            shared,
            folder,
            runtime: Some(runtime),
        }
    }

    /// Reaches the API server through the proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Lets a fault befall the next requests of a kind.
    pub fn inject(&self, which: Which, fault: Fault, times: usize) {
        lock(&self.shared.faults).push((which, fault, times));
    }

    /// Waits until every fault has befallen as many requests as it was to.
    pub fn wait_until_spent(&self) {
        let spent = || {
            let faults = lock(&self.shared.faults);
            let left: Vec<_> = faults
                .iter()
                .map(|(_, fault, left)| (fault, left))
                .collect();
            ensure!(left.is_empty(), "{left:?} are left");
            Ok(())
        };
        wait::until(RECOVERY, "requests that faults befall", spent).unwrap();
    }

    /// Takes note of an answer of the API server, for [`Fault::Stale`].
    pub fn remember(&self, answer: Value) {
        *lock(&self.shared.remembered) = Some(answer);
    }

    /// Lets no further fault befall any request.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// How many watches were torn.
    pub fn torn(&self) -> usize {
        self.shared.torn.load(Ordering::SeqCst)
    }

    /// Every request so far: its method and URI.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// How many status writes to objects of a kind in this namespace the API server has accepted.
    pub fn writes(&self, namespace: &str, plural: &str) -> usize {
        let part = format!("/namespaces/{namespace}/{plural}/");
        let written = lock(&self.shared.written);
        written.iter().filter(|path| path.contains(&part)).count()
    }

    /// What was to be changed in a namespace, accepted or not: method and URI.
    pub fn changes_asked_for(&self, namespace: &str) -> Vec<String> {
        let part = format!("/namespaces/{namespace}/");
        let asked = lock(&self.shared.asked);
        let changes = asked.iter().filter(|request| !request.starts_with("GET "));
        changes
            .filter(|path| path.contains(&part))
            .cloned()
            .collect()
    }

    /// Ends all connections, in the middle of whatever they carry.
    pub fn cut(&self) {
        self.shared.connected.send_replace(true);
    }

    /// As [`Proxy::cut`], and lets no new ones be, until [`Proxy::reconnect`].
    pub fn disconnect(&self) {
        self.shared.connected.send_replace(false);
    }

    pub fn reconnect(&self) {
        self.shared.connected.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut connected = shared.connected.subscribe();
        if !*connected.borrow_and_update() {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let tear = Arc::new(AtomicBool::new(false));
            let io = Tearing {
                stream,
                tear: Arc::clone(&tear),
                shared: Arc::clone(&shared),
                torn: false,
            };
            let service = service_fn(|request| answer(&shared, &tear, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(io), service);
            tokio::select! {
                _ = connection => {}
                _ = connected.changed() => {}
            }
        });
    }
}

impl Shared {
    /// The fault that befalls this request, if one does.
    fn fault(&self, request: &Parts) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let (_, fault, left) = faults.iter_mut().find(|(which, _, _)| which(request))?;
        *left -= 1;
        let fault = *fault;
        faults.retain(|(_, _, left)| *left > 0);
        Some(fault)
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let stream = self.client.connect(self.server, "127.0.0.1").await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (parts, body) = request.into_parts();
        let write = is_status_write(&parts).then(|| parts.uri.path().to_owned());
        let response = sender
            .send_request(Request::from_parts(parts, body))
            .await?;
        if response.status().is_success() {
            lock(&self.written).extend(write);
        }
        Ok(response.map(|body| body.boxed()))
    }
}

async fn answer(
    shared: &Shared,
    tear: &AtomicBool,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    lock(&shared.asked).push(format!("{} {}", parts.method, parts.uri));
    let fault = shared.fault(&parts);
    let request = Request::from_parts(parts, body);
    match fault {
        None => shared.forward(request).await,
        Some(Fault::TooManyRequests) => {
            let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")?;
            response.headers_mut().insert(RETRY_AFTER, 1.into());
            Ok(response)
        }
        Some(Fault::Conflict) => refusal(StatusCode::CONFLICT, "Conflict"),
        Some(Fault::Gone) => refusal(StatusCode::GONE, "Expired"),
        Some(Fault::Broken) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Fault::Stale) => {
            let remembered = lock(&shared.remembered).clone();
            Ok(json(
                StatusCode::OK,
                &remembered.context("nothing is remembered")?,
            )?)
        }
        Some(Fault::Expired) => {
            let event = serde_json::json!({"type": "ERROR", "object": failure(410, "Expired")});
            Ok(json(StatusCode::OK, &event)?)
        }
        Some(Fault::Torn) => {
            let response = shared.forward(request).await?;
            tear.store(true, Ordering::SeqCst);
            Ok(response)
        }
        Some(Fault::AnswerLost) => {
            shared.forward(request).await?;
            Err(anyhow!("the connection ends here"))
        }
        Some(Fault::AnswerHangs) => {
            shared.forward(request).await?;
            pending().await
        }
        Some(Fault::Hang) => pending().await,
    }
}

fn failure(code: u16, reason: &str) -> Value {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason}, said by a test"), "reason": reason, "code": code,
    })
}

fn refusal(code: StatusCode, reason: &str) -> Result<Response<Body>> {
    json(code, &failure(code.as_u16(), reason))
}

fn json(code: StatusCode, body: &Value) -> Result<Response<Body>> {
    let body = Full::from(format!("{body}\n")).map_err(|never| match never {});
    let response = Response::builder()
        .status(code)
        .header(CONTENT_TYPE, "application/json");
    Ok(response.body(body.boxed())?)
}

/// A connection that, once it is told to, writes half of the next part of a body and ends.
struct Tearing {
    stream: TcpStream,
    tear: Arc<AtomicBool>,
    shared: Arc<Shared>,
    torn: bool,
}

/// How much of `bytes` is written before the end: all of a head, half of what follows.
fn half(bytes: &[u8]) -> Option<usize> {
    let head = if bytes.starts_with(b"HTTP/") {
        bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4
    } else {
        0
    };
    let body = bytes.len() - head;
    (body > 1).then_some(head + body / 2)
}

impl AsyncWrite for Tearing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.torn {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let half = half(bytes).filter(|_| self.tear.load(Ordering::SeqCst));
        let end = half.unwrap_or(bytes.len());
        let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[..end]);
        if half.is_some() && matches!(written, Poll::Ready(Ok(_))) {
            self.torn = true;
            self.shared.torn.fetch_add(1, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Tearing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}
