//! What the agent counts of itself, under Istio's names where Istio has one.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whose metrics a scrape did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Envoy,
    Application,
}

/// The agent's own numbers.
#[derive(Debug)]
pub(crate) struct Own {
    started: Instant,
    ready_after: OnceLock<Duration>,
    scrapes: AtomicU64,
    failed_envoy: AtomicU64,
    failed_application: AtomicU64,
    probes_passed: AtomicU64,
    probes_failed: AtomicU64,
}

impl Own {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            ready_after: OnceLock::new(),
            scrapes: AtomicU64::new(0),
            failed_envoy: AtomicU64::new(0),
            failed_application: AtomicU64::new(0),
            probes_passed: AtomicU64::new(0),
            probes_failed: AtomicU64::new(0),
        }
    }

    /// Envoy was found ready; only the first time counts.
    pub(crate) fn ready(&self) {
        self.ready_after.get_or_init(|| self.started.elapsed());
    }

    pub(crate) fn scraped(&self) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn scrape_failed(&self, source: Source) {
        let counter = match source {
            Source::Envoy => &self.failed_envoy,
            Source::Application => &self.failed_application,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn probed(&self, success: bool) {
        let counter = if success {
            &self.probes_passed
        } else {
            &self.probes_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it in the text format.
    pub(crate) fn exposition(&self) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(&str, String)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        metric(
            "istio_agent_scrapes_total",
            "counter",
            "Scrapes of this pod's metrics.",
            &[("", of(&self.scrapes).to_string())],
        );
        metric(
            "istio_agent_scrape_failures_total",
            "counter",
            "Scrapes that lack the metrics of one side.",
            &[
                (
                    "{type=\"application\"}",
                    of(&self.failed_application).to_string(),
                ),
                ("{type=\"envoy\"}", of(&self.failed_envoy).to_string()),
            ],
        );
        metric(
            "outrigger_agent_app_probes_total",
            "counter",
            "Probes and hooks of the application that the agent carried out.",
            &[
                ("{result=\"success\"}", of(&self.probes_passed).to_string()),
                ("{result=\"failure\"}", of(&self.probes_failed).to_string()),
            ],
        );
        if let Some(time) = self.ready_after.get() {
            metric(
                "istio_agent_startup_duration_seconds",
                "gauge",
                "Time from the agent's start until Envoy was ready.",
                &[("", time.as_secs_f64().to_string())],
            );
        }
        text
    }
}
