//! A small HTTP client for what runs in the same pod: Envoy's admin interface, the agent's own port, the application.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use super::tls;

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
    Connect(#[from] io::Error),
    #[error("{}{}", .0, because(.0))]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// hyper's errors say what failed; why is in their source.
fn because(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

impl ClientError {
    /// Nobody could be reached: whatever was asked has not been seen.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self.cause, Cause::Connect(_))
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What HTTP/2 sends behind the body.
    pub(super) trailers: HeaderMap,
}

/// How much of an answer is of interest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    /// All of it, which must not be more than this many bytes.
    Whole(usize),
    /// Its first bytes, this many; what follows is not waited for.
    Beginning(usize),
}

/// What is spoken with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 from the first byte, without TLS.
    Http2,
    /// TLS with whoever answers, then what that side chooses of HTTP/2 and HTTP/1.1.
    Https,
}

/// A place to ask.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    /// The address to call from, if this pod has it.
    source: Option<IpAddr>,
    speech: Speech,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// A port of some host, spoken to in HTTP/1.1.
    pub(super) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            source: None,
            speech: Speech::Http,
        }
    }

    /// On this pod's loopback address.
    pub(super) fn local(port: u16) -> Self {
        Self::new("127.0.0.1", port)
    }

    /// Calls from that address, where this pod has it.
    pub(super) fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// Speaks TLS, with whatever certificate the other side has.
    pub(super) fn https(self) -> Self {
        Self {
            speech: Speech::Https,
            ..self
        }
    }

    /// Speaks HTTP/2 without TLS, as gRPC does.
    pub(super) fn http2(self) -> Self {
        Self {
            speech: Speech::Http2,
            ..self
        }
    }

    /// Another port of the same host, called from the same address.
    pub(super) fn at(self, port: u16, https: bool) -> Self {
        let speech = if https { Speech::Https } else { Speech::Http };
        Self {
            port,
            speech,
            ..self
        }
    }

    /// Whether TLS is spoken.
    pub(super) fn is_https(&self) -> bool {
        self.speech == Speech::Https
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
        match request.body(Full::default()) {
            Ok(request) => {
                self.send(request, limit, Reading::Whole(LARGEST_BODY))
                    .await
            }
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// [`Self::ask`] with a request that is already made. Its address is a path; it must carry a `Host`.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
        reading: Reading,
    ) -> Result<Answer, ClientError> {
        let answer = tokio::time::timeout(limit, self.exchange(request, reading)).await;
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

    async fn connect(&self) -> io::Result<TcpStream> {
        let target = (self.host.as_str(), self.port);
        let Some(source) = self.source else {
            return TcpStream::connect(target).await;
        };
        let mut addresses = tokio::net::lookup_host(target).await?;
        let target = addresses.find(|address| address.is_ipv4() == source.is_ipv4());
        let target =
            target.ok_or_else(|| io::Error::other(format!("no address that {source} can call")))?;
        let socket = if source.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        match socket.bind(SocketAddr::new(source, 0)) {
            // A pod without capture rules for this family: then there is nothing to get past either.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                TcpStream::connect(target).await
            }
            Err(error) => Err(error),
            Ok(()) => socket.connect(target).await,
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        reading: Reading,
    ) -> Result<Answer, Cause> {
        let stream = self.connect().await?;
        match self.speech {
            Speech::Http => over_http1(stream, request, reading).await,
            Speech::Http2 => over_http2(stream, in_http2("http", request)?, reading).await,
            Speech::Https => {
                let stream = tls::connect(&self.host, stream).await?;
                if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2) {
                    over_http2(stream, in_http2("https", request)?, reading).await
                } else {
                    over_http1(stream, request, reading).await
                }
            }
        }
    }
}

/// The same request in the words of HTTP/2, which has the host in the address and no headers about connections.
fn in_http2(
    scheme: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let mut uri = Uri::builder().scheme(scheme).path_and_query(path);
    if let Some(host) = request.headers().get(HOST) {
        uri = uri.authority(host.as_bytes());
    }
    *request.uri_mut() = uri.build()?;
    for name in [HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    Ok(request)
}

async fn over_http1<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    reading: Reading,
) -> Result<Answer, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async { read(sender.send_request(request).await?, reading).await };
    beside(connection, exchange).await
}

async fn over_http2<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    reading: Reading,
) -> Result<Answer, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let exchange = async { read(sender.send_request(request).await?, reading).await };
    beside(connection, exchange).await
}

/// Drives a connection for as long as an exchange on it takes.
async fn beside<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection ends first where the other side closes after its answer.
        _ = connection => exchange.await,
    }
}

async fn read(response: hyper::Response<Incoming>, reading: Reading) -> Result<Answer, Cause> {
    let (head, mut body) = response.into_parts();
    let (Reading::Whole(most) | Reading::Beginning(most)) = reading;
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = most - bytes.len();
                bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
                match reading {
                    Reading::Whole(_) if data.len() > room => return Err(Cause::TooLong(most)),
                    Reading::Beginning(_) if data.len() >= room && !body.is_end_stream() => break,
                    _ => {}
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: bytes.into(),
        trailers,
    })
}
