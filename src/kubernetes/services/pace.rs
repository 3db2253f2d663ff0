//! How often the same ports are written to one Service.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{gateway::ServicePlan, world::ObjectKey};

/// Time from a write to the same one again; doubles with each further one …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Once nothing had to be written for so long, the past is forgotten.
const MEMORY: Duration = Duration::from_secs(900);

/// The last write of each Service.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<ObjectKey, Written>);

#[derive(Debug)]
struct Written {
    plan: ServicePlan,
    at: Instant,
    repeats: u32,
}

impl Pace {
    /// When the Service may be written; `None` stands for at once: other ports, or another Service, than last time.
    pub(super) fn due(&self, key: &ObjectKey, plan: &ServicePlan) -> Option<Instant> {
        let last = self.0.get(key).filter(|last| same(&last.plan, plan))?;
        let doublings = last.repeats.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE);
        Some(last.at + pause)
    }

    /// Notes an attempt, and returns how many times in a row it was the same one.
    pub(super) fn note(&mut self, key: &ObjectKey, plan: &ServicePlan, now: Instant) -> u32 {
        let before = self.0.get(key).filter(|last| same(&last.plan, plan));
        let repeats = before.map_or(0, |last| last.repeats).saturating_add(1);
        let written = Written {
            plan: plan.clone(),
            at: now,
            repeats,
        };
        self.0.insert(key.clone(), written);
        repeats
    }

    /// Forgets Services that are no gateway's any more, and those that were left in peace for long.
    pub(super) fn forget(&mut self, plans: &BTreeMap<ObjectKey, ServicePlan>, now: Instant) {
        self.0.retain(|key, last| {
            let at_peace = |plan: &ServicePlan| plan.in_sync && now >= last.at + MEMORY;
            plans.get(key).is_some_and(|plan| !at_peace(plan))
        });
    }
}

fn same(one: &ServicePlan, other: &ServicePlan) -> bool {
    one.uid == other.uid && one.ports == other.ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::kind::Kind, gateway::PlannedPort};

    fn plan(uid: &str, port: u16) -> ServicePlan {
        ServicePlan {
            uid: uid.to_owned(),
            ports: vec![PlannedPort {
                name: format!("http-{port}"),
                port,
                target_port: port,
                app_protocol: "http".to_owned(),
            }],
            in_sync: false,
        }
    }

    #[test]
    fn the_same_write_is_repeated_ever_more_rarely_and_another_one_at_once() {
        let key = ObjectKey::new(Kind::Service, "edge", "gateway");
        let mut pace = Pace::default();
        let ours = plan("uid-1", 8088);
        assert_eq!(pace.due(&key, &ours), None);
        let start = Instant::now();
        let mut pauses = Vec::new();
        for repeats in 1..=8 {
            assert_eq!(pace.note(&key, &ours, start), repeats);
            pauses.push((pace.due(&key, &ours).unwrap() - start).as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pace.due(&key, &plan("uid-1", 8089)), None, "other ports");
        assert_eq!(
            pace.due(&key, &plan("uid-2", 8088)),
            None,
            "another Service"
        );
    }

    #[test]
    fn a_service_that_was_left_in_peace_for_long_starts_afresh() {
        let key = ObjectKey::new(Kind::Service, "edge", "gateway");
        let mut pace = Pace::default();
        let mut ours = plan("uid-1", 8088);
        let start = Instant::now();
        pace.note(&key, &ours, start);
        ours.in_sync = true;
        let plans = BTreeMap::from([(key.clone(), ours.clone())]);
        pace.forget(&plans, start + MEMORY - Duration::from_secs(1));
        assert!(pace.due(&key, &ours).is_some());
        pace.forget(&plans, start + MEMORY);
        assert_eq!(pace.due(&key, &ours), None);
    }
}
