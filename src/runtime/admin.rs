//! The plain HTTP pages about the process itself: health, readiness and metrics; debug pages on loopback only.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::sleep};

use super::readiness::Readiness;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From one request of a connection to the last header of the next.
const HEADER_TIME: Duration = Duration::from_secs(10);

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
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => continue,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _permit = permit;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended early");
            }
        });
    }
}

/// Out of file descriptors is the one error of `accept` that lasts: without a pause the loop would spin on it.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept an admin connection");
    sleep(Duration::from_millis(100)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

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
