//! A small HTTP client for what runs in the same pod: Envoy's admin interface, the agent's own port.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Statistics of a proxy with many clusters are some megabytes.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("{host}:{port}: {source}")]
    Connect {
        host: String,
        port: u16,
        source: std::io::Error,
    },
    #[error("{host}:{port}{path}: {source}")]
    Http {
        host: String,
        port: u16,
        path: String,
        source: hyper::Error,
    },
    #[error("{host}:{port}{path}: {problem}")]
    Request {
        host: String,
        port: u16,
        path: String,
        problem: String,
    },
    #[error("{host}:{port}{path}: no answer within {limit:?}")]
    Timeout {
        host: String,
        port: u16,
        path: String,
        limit: Duration,
    },
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A place to ask.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Admin {
    /// On this pod's loopback address.
    pub(super) fn local(port: u16) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
        }
    }

    /// Asks once, on a connection of its own, within `limit` from connecting to the last byte.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, AdminError> {
        tokio::time::timeout(limit, self.exchange(method, path))
            .await
            .unwrap_or_else(|_| {
                Err(AdminError::Timeout {
                    host: self.host.clone(),
                    port: self.port,
                    path: path.to_owned(),
                    limit,
                })
            })
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Answer, AdminError> {
        let (host, port) = (self.host.clone(), self.port);
        let stream = TcpStream::connect((self.host.as_str(), port))
            .await
            .map_err(|source| AdminError::Connect {
                host: host.clone(),
                port,
                source,
            })?;
        let http = |source| AdminError::Http {
            host: host.clone(),
            port,
            path: path.to_owned(),
            source,
        };
        let problem = |error: &dyn std::fmt::Display| AdminError::Request {
            host: host.clone(),
            port,
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| problem(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(http)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(http)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_BODY);
            let body = body
                .collect()
                .await
                .map_err(|error| problem(&error))?
                .to_bytes();
            Ok(Answer { status, body })
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection ends first where the other side closes after its answer.
            _ = connection => exchange.await,
        }
    }
}
