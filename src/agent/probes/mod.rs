//! The application's probes, asked by the agent in the kubelet's place.
//!
//! Where a pod's traffic is captured, Envoy accepts every connection, so that a TCP probe would always succeed, and
//! probes of ports that only speak mutual TLS never. Injection therefore points probes to the agent's port, under
//! `/app-health/CONTAINER/KIND` (`/app-lifecycle/…` for hooks), and puts the originals into `ISTIO_KUBE_APP_PROBERS`.
//! The answer is the one that the kubelet would have come to by itself.

mod grpc;
mod http;
mod original;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, USER_AGENT};
use tokio::time::Instant;
use tracing::{info, warn};

use self::original::{Handler, Original};
use super::application::Application;

/// What the kubelet is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The application's own status where it speaks HTTP; else 200 or 500.
    pub(super) status: StatusCode,
    /// The beginning of the application's answer, or why there is none.
    pub(super) body: Bytes,
    /// The application gave this answer itself.
    answered: bool,
}

impl Verdict {
    fn success() -> Self {
        Self {
            status: StatusCode::OK,
            body: Bytes::new(),
            answered: false,
        }
    }

    fn failure(reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: reason.into().into(),
            answered: false,
        }
    }

    /// What counts as success for the kubelet.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success() || self.status.is_redirection()
    }
}

/// One probe and what is remembered of it.
#[derive(Debug)]
struct Entry {
    /// The probe, or why it can't be read.
    original: Result<Original, String>,
    /// It failed when it was last asked.
    failing: AtomicBool,
}

/// The probes of `ISTIO_KUBE_APP_PROBERS` that can't be carried out, by path, with the reason: they always fail.
///
/// # Errors
/// The text is no JSON object.
pub fn unreadable(probers: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
    let originals = original::read(probers)?.into_iter();
    Ok(originals
        .filter_map(|(path, original)| Some((path, original.err()?)))
        .collect())
}

/// All probes of the pod's application.
#[derive(Debug, Default)]
pub(super) struct AppProbes {
    entries: BTreeMap<String, Entry>,
    application: Application,
    status_port: u16,
}

impl AppProbes {
    /// Reads `ISTIO_KUBE_APP_PROBERS`. A probe that can't be read fails by itself, with the reason, and no other.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub(super) fn read(
        probers: &str,
        application: Application,
        status_port: u16,
    ) -> Result<Self, serde_json::Error> {
        let entries = original::read(probers)?
            .into_iter()
            .map(|(path, original)| {
                let failing = AtomicBool::new(false);
                (path, Entry { original, failing })
            });
        Ok(Self {
            entries: entries.collect(),
            application,
            status_port,
        })
    }

    /// How long the probe of that path may take.
    pub(super) fn limit(&self, path: &str) -> Duration {
        let original = self.entries.get(path).map(|entry| &entry.original);
        match original {
            Some(Ok(original)) => original.limit,
            _ => Duration::ZERO,
        }
    }

    /// How many probes and hooks may take longer than that.
    pub(super) fn longer_than(&self, time: Duration) -> usize {
        let limits = self.entries.keys().map(|path| self.limit(path));
        limits.filter(|limit| *limit > time).count()
    }

    /// Asks the application what the probe of that path asks. `headers` are those of the kubelet's request.
    pub(super) async fn ask(&self, path: &str, headers: &HeaderMap) -> Verdict {
        let Some(entry) = self.entries.get(path) else {
            return Verdict {
                status: StatusCode::BAD_REQUEST,
                body: format!("no probe is known as {path}\n").into(),
                answered: false,
            };
        };
        let verdict = match &entry.original {
            Ok(original) => self.carry_out(original, headers).await,
            Err(reason) => Verdict::failure(format!("the probe {path} can't be read: {reason}\n")),
        };
        entry.tell(path, &verdict);
        verdict
    }

    async fn carry_out(&self, original: &Original, headers: &HeaderMap) -> Verdict {
        let limit = original.limit;
        let outcome = match &original.handler {
            Handler::Tcp(tcp) => {
                let touched = self.application.probed(tcp.port).touch(limit).await;
                touched.map_err(|error| error.to_string())
            }
            Handler::Grpc(grpc) => {
                let endpoint = self.application.probed(grpc.port).http2();
                let service = grpc.service.as_deref().unwrap_or_default();
                let checked = grpc::check(&endpoint, service, headers.get(USER_AGENT), limit).await;
                checked.map_err(|error| format!("{endpoint}: {error}"))
            }
            Handler::Http(get) => {
                let target = (self.application, self.status_port);
                return http::ask(get, headers, target, Instant::now() + limit).await;
            }
        };
        match outcome {
            Ok(()) => Verdict::success(),
            Err(reason) => Verdict::failure(format!("{reason}\n")),
        }
    }
}

impl Entry {
    /// The kubelet's events only have the status: the log has the reason, once, and the recovery.
    fn tell(&self, path: &str, verdict: &Verdict) {
        let fails = !verdict.is_success();
        if self.failing.swap(fails, Ordering::Relaxed) == fails {
            return;
        }
        if fails {
            // The application's own words may be for its readers only.
            let reason = if verdict.answered {
                "its answer".into()
            } else {
                String::from_utf8_lossy(&verdict.body)
            };
            let reason = reason.trim();
            warn!(path, status = %verdict.status, reason, "the application's probe fails");
        } else {
            info!(path, "the application's probe succeeds again");
        }
    }
}

#[cfg(test)]
mod tests;
