//! Calls between the services, and the client that the demo sends its requests with.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Headers that a service hands on to those it calls: the traces of the usual systems, and who the user is,
/// as the sample does it.
pub const FORWARDED_HEADERS: [&str; 21] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "sw8",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// The largest answer that is read.
const BODY_LIMIT: usize = 1 << 20;

/// What came back from a call.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// An HTTP client that opens a connection per call: a Service balances connections, not requests, and the sample is
/// there to show all versions.
#[derive(Clone, Debug)]
pub struct Client {
    timeout: Duration,
}

impl Client {
    /// A client that gives up a call after `timeout`, body included.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Gets `uri` with `headers` as they are.
    ///
    /// # Errors
    /// When no complete answer comes in time; an answer of any status is not an error.
    pub async fn get(&self, uri: &Uri, headers: HeaderMap) -> anyhow::Result<Response> {
        let answer = match tokio::time::timeout(self.timeout, call(uri, headers)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow!("no answer within {:?}", self.timeout)),
        };
        answer.with_context(|| format!("GET {uri}"))
    }

    /// Gets a JSON document from a peer on behalf of a request that came with `incoming` headers.
    ///
    /// # Errors
    /// When the peer does not answer with 200 and JSON.
    pub async fn get_json(
        &self,
        peer: &str,
        path: &str,
        incoming: &HeaderMap,
    ) -> anyhow::Result<serde_json::Value> {
        let uri: Uri = format!("http://{peer}{path}")
            .parse()
            .with_context(|| format!("address of {peer}"))?;
        let response = self.get(&uri, forwarded(incoming)).await?;
        if response.status != StatusCode::OK {
            bail!("GET {uri}: {}", response.status);
        }
        serde_json::from_slice(&response.body).with_context(|| format!("GET {uri}: not JSON"))
    }
}

/// One call over a connection of its own.
async fn call(uri: &Uri, headers: HeaderMap) -> anyhow::Result<Response> {
    let authority = uri.authority().context("the address names no host")?;
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).body(Empty::<Bytes>::new())?;
    *request.headers_mut() = headers;
    request
        .headers_mut()
        .insert(header::HOST, authority.as_str().parse()?);
    request
        .headers_mut()
        .insert(header::CONNECTION, "close".parse()?);
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => Ok(Response {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            }),
            Err(error) => bail!("reading the body: {error}"),
        }
    };
    // The connection is driven beside the exchange and ends with it.
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => { ended?; exchange.await }
    }
}

/// Those of `incoming` that travel along.
fn forwarded(incoming: &HeaderMap) -> HeaderMap {
    FORWARDED_HEADERS
        .iter()
        .map(|name| HeaderName::from_static(name))
        .flat_map(|name| {
            incoming
                .get_all(&name)
                .iter()
                .map(move |value| (name.clone(), value.clone()))
        })
        .collect()
}
