//! What the status writer counts.

use std::{collections::HashMap, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{analysis::conditions::Condition, world::ObjectKey};

/// How a comparison or a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

impl From<&ObjectKey> for Labels {
    fn from(key: &ObjectKey) -> Self {
        Self {
            kind: key.kind.unique_plural(),
        }
    }
}

type Counters = Family<Labels, Counter>;

/// The metrics `outrigger_status_…`.
pub(super) struct Metrics {
    writes: Counters,
    conflicts: Counters,
    failures: Counters,
    no_ops: Counters,
    latency: Histogram,
    queue: Gauge,
    tally: Tally,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("status");
        let [writes, conflicts, failures, no_ops] = [
            ("writes", "Writes of an object's status"),
            (
                "conflicts",
                "Writes dropped because the object had changed or was gone",
            ),
            ("failures", "Writes that failed and are tried again"),
            ("no_ops", "Comparisons that found nothing to write"),
        ]
        .map(|(name, help)| {
            let counter = Counters::default();
            registry.register(name, help, counter.clone());
            counter
        });
        let latency = Histogram::new(exponential_buckets(0.005, 2.0, 14));
        registry.register(
            "latency_seconds",
            "Time from the event that changed a verdict to the status that says so",
            latency.clone(),
        );
        let queue = Gauge::default();
        registry.register(
            "queue_depth",
            "Objects that wait for a comparison, for what turned bad to last, for a write or its answer",
            queue.clone(),
        );
        let tally = Tally::default();
        registry.register(
            "conditions",
            "Objects by condition and reason",
            tally.objects.clone(),
        );
        Self {
            writes,
            conflicts,
            failures,
            no_ops,
            latency,
            queue,
            tally,
        }
    }

    pub fn written(&self, key: &ObjectKey, took: Duration) {
        self.writes.get_or_create(&key.into()).inc();
        self.latency.observe(took.as_secs_f64());
    }

    pub fn conflict(&self, key: &ObjectKey) {
        self.conflicts.get_or_create(&key.into()).inc();
    }

    pub fn failure(&self, key: &ObjectKey) {
        self.failures.get_or_create(&key.into()).inc();
    }

    pub fn no_op(&self, key: &ObjectKey) {
        self.no_ops.get_or_create(&key.into()).inc();
    }

    /// So many objects wait.
    pub fn waiting(&self, objects: usize) {
        self.queue.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// These are the conditions of an object from now on.
    pub fn judged(&mut self, key: &ObjectKey, conditions: &[Condition]) {
        self.tally.set(key, conditions);
    }

    /// The object is no more.
    pub fn gone(&mut self, key: &ObjectKey) {
        self.tally.remove(key);
    }

    /// Another replica counts.
    pub fn forget(&mut self) {
        self.waiting(0);
        self.tally.clear();
    }
}

/// A condition as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    kind: &'static str,
    r#type: String,
    status: String,
    reason: String,
}

/// Counts objects by condition. There are few different verdicts, and an object remembers only the numbers of its own.
#[derive(Default)]
struct Tally {
    objects: Family<Verdict, Gauge>,
    numbers: HashMap<Verdict, usize>,
    gauges: Vec<Gauge>,
    of: HashMap<ObjectKey, Box<[usize]>>,
}

impl Tally {
    fn set(&mut self, key: &ObjectKey, conditions: &[Condition]) {
        let kind = key.kind.unique_plural();
        let now: Box<[usize]> = conditions
            .iter()
            .map(|condition| {
                self.number(Verdict {
                    kind,
                    r#type: condition.kind.clone(),
                    status: condition.status.clone(),
                    reason: condition.reason.clone(),
                })
            })
            .collect();
        if self.of.get(key) == Some(&now) {
            return;
        }
        self.remove(key);
        for number in &now {
            self.gauges[*number].inc();
        }
        self.of.insert(key.clone(), now);
    }

    fn number(&mut self, verdict: Verdict) -> usize {
        if let Some(number) = self.numbers.get(&verdict) {
            return *number;
        }
        let number = self.gauges.len();
        self.gauges.push(self.objects.get_or_create_owned(&verdict));
        self.numbers.insert(verdict, number);
        number
    }

    fn remove(&mut self, key: &ObjectKey) {
        for number in self.of.remove(key).unwrap_or_default() {
            self.gauges[number].dec();
        }
    }

    fn clear(&mut self) {
        for number in std::mem::take(&mut self.of).into_values().flatten() {
            self.gauges[number].dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::Kind;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "changes often".to_owned(),
        }
    }

    fn page(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn objects_are_counted_by_the_condition_that_they_have_now() {
        let mut registry = Registry::default();
        let mut metrics = Metrics::register(&mut registry);
        let key = |name: &str| ObjectKey::new(Kind::VirtualService, "shop", name);
        let (good, bad) = (
            [condition("Ready", "True", "Ready")],
            [condition("Ready", "False", "SubsetNotFound")],
        );
        metrics.judged(&key("a"), &bad);
        metrics.judged(&key("b"), &bad);
        metrics.judged(&key("b"), &bad);
        let of = |status: &str, reason: &str, count: usize| {
            format!(
                "status_conditions{{kind=\"virtualservices\",type=\"Ready\",status=\"{status}\",reason=\"{reason}\"}} {count}\n"
            )
        };
        assert!(page(&registry).contains(&of("False", "SubsetNotFound", 2)));
        metrics.judged(&key("a"), &good);
        metrics.gone(&key("b"));
        let text = page(&registry);
        assert!(text.contains(&of("False", "SubsetNotFound", 0)), "{text}");
        assert!(text.contains(&of("True", "Ready", 1)), "{text}");
        metrics.forget();
        assert!(page(&registry).contains(&of("True", "Ready", 0)));
    }
}
