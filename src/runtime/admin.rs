//! The plain HTTP pages about the process itself: health, readiness and metrics; debug pages on loopback only.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};

use super::readiness::Readiness;
use crate::webhook::server::Accepting;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From a connection to the end of its one answer. Anyone may connect, and the kubelet's probes need a place too: nobody
/// keeps one for longer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// `/healthz`, `/readyz` and `/metrics`.
pub fn pages(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(async move || {
                let (ready, page) = readiness.report();
                let status = if ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, page)
            }),
        )
        .route("/metrics", get(async move || metrics(&registry)))
}

fn metrics(registry: &Registry) -> axum::response::Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Listens on `address`, which `flag` gave.
///
/// # Errors
/// When the address can't be bound; the message names the flag.
pub async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{flag} {address}: cannot listen there"))
}

/// Like [`bind`], for pages that anyone who reaches them may read: loopback addresses only.
///
/// # Errors
/// When the address is not a loopback address or can't be bound.
pub async fn bind_loopback(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!(
            "{flag} {address}: debug pages show every object that is read, so they are served on \
             a loopback address only, for example 127.0.0.1:{}",
            address.port()
        );
    }
    bind(flag, address).await
}

/// Answers requests on `listener` until `shutdown` is ready.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let accepting = Accepting::new(listener, CONNECTIONS);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (place, stream) = tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => continue,
            taken = accepting.next() => taken,
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _place = place;
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(CONNECTION_TIME, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "admin connection ended early"),
                Err(_) => tracing::debug!("admin connection took longer than {CONNECTION_TIME:?}"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_is_for_one_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let router = Router::new().route("/", get(async || "ok\n"));
        let serving = tokio::spawn(serve(listener, router, std::future::pending()));
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(CONNECTION_TIME / 2, read).await.unwrap().unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"),
            "{answer}"
        );
        serving.abort();
    }

    #[tokio::test]
    async fn debug_pages_are_refused_on_an_address_that_others_reach() {
        let error = bind_loopback("--debug-addr", "0.0.0.0:15013".parse().unwrap())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--debug-addr 0.0.0.0:15013") && error.contains("127.0.0.1:15013"),
            "{error}"
        );
    }
}
