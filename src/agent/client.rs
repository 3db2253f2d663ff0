//! A small HTTP client for what runs in the same pod: Envoy's admin interface, the agent's own port, the application.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

/// Statistics of a proxy with many clusters are some megabytes.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {cause}")]
pub(super) struct ClientError {
    endpoint: Endpoint,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("the answer's body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A place to ask.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    /// The address to call from.
    source: Option<IpAddr>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Endpoint {
    /// A port of some host.
    pub(super) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            source: None,
        }
    }

    /// On this pod's loopback address.
    pub(super) fn local(port: u16) -> Self {
        Self::new("127.0.0.1", port)
    }

    /// Calls from that address of this pod.
    pub(super) fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// Asks once, on a connection of its own, within `limit` from connecting to the last byte.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.to_string());
        match request.body(Empty::new()) {
            Ok(request) => self.send(request, limit).await,
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// [`Self::ask`] with a request that is already made; it must carry a `Host`.
    pub(super) async fn send(
        &self,
        request: Request<Empty<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, ClientError> {
        let answer = tokio::time::timeout(limit, self.exchange(request)).await;
        answer
            .unwrap_or(Err(Cause::Timeout(limit)))
            .map_err(|cause| self.failed(cause))
    }

    /// Opens a connection and closes it.
    pub(super) async fn touch(&self, limit: Duration) -> Result<(), ClientError> {
        match tokio::time::timeout(limit, self.connect()).await {
            Ok(connected) => connected
                .map(drop)
                .map_err(|error| self.failed(error.into())),
            Err(_) => Err(self.failed(Cause::Timeout(limit))),
        }
    }

    fn failed(&self, cause: Cause) -> ClientError {
        ClientError {
            endpoint: self.clone(),
            cause,
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let target = (self.host.as_str(), self.port);
        let Some(source) = self.source else {
            return TcpStream::connect(target).await;
        };
        let mut addresses = tokio::net::lookup_host(target).await?;
        let target = addresses.find(|address| address.is_ipv4() == source.is_ipv4());
        let target = target
            .ok_or_else(|| std::io::Error::other(format!("no address that {source} can call")))?;
        let socket = if source.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(target).await
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Answer, Cause> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_BODY)
                .collect()
                .await
                .map_err(Cause::Body)?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection ends first where the other side closes after its answer.
            _ = connection => exchange.await,
        }
    }
}
