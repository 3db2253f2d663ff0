//! The bookinfo sample in one program: the four services of Istio's sample application, with its names, versions, port,
//! paths and calls, so that its manifests' routing objects apply to ours as they are.
//!
//! `productpage` calls `details` and `reviews`; `reviews` v2 and v3 call `ratings`. Headers that carry a trace or a user
//! travel along, as a mesh needs it. `productpage` says in two response headers which version of `reviews` answered and
//! whether there were ratings, so that scripts need not read its HTML.

mod client;
mod page;
mod services;

use std::future::Future;
use std::io;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub use client::{Client, FORWARDED_HEADERS, Response};
pub use page::{RATINGS_HEADER, REVIEWS_VERSION_HEADER};
pub use services::{Peers, router};

/// The port that every service of bookinfo listens on.
pub const PORT: u16 = 9080;

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// The page that a person opens; calls `details` and `reviews`.
    Productpage,
    /// What is printed on the book.
    Details,
    /// What readers say; from version v2 on with stars, which come from `ratings`.
    Reviews,
    /// Stars by reviewer.
    Ratings,
}

/// The versions of `reviews`: they differ in what they do with ratings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// Does not call `ratings`.
    #[default]
    V1,
    /// Black stars.
    V2,
    /// Red stars.
    V3,
}

impl Version {
    /// The value of the label `version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
            Version::V3 => "v3",
        }
    }

    /// The colour of this version's stars; none if it does not ask for ratings.
    fn star_color(self) -> Option<&'static str> {
        match self {
            Version::V1 => None,
            Version::V2 => Some("black"),
            Version::V3 => Some("red"),
        }
    }
}

/// Serves one of the services until `shutdown` ends; requests in flight are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    version: Version,
    peers: Peers,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(service, version, peers))
        .with_graceful_shutdown(shutdown)
        .await
}

/// Ends with the first SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers can't be installed.
pub async fn terminated() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
