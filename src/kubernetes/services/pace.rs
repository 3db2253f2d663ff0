//! How often a Service is written, and what its last write came to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    gateway::ServicePlan,
    world::{ObjectKey, PortTrouble, PortTroubleKind, PortWrite},
};

/// Time from a write to the same one again; doubles with each further one …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Once nothing had to be written for so long, the past is forgotten.
const MEMORY: Duration = Duration::from_secs(900);

/// The last write of each Service.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<ObjectKey, Last>);

#[derive(Debug)]
struct Last {
    plan: ServicePlan,
    at: Instant,
    /// How many times in a row it was this one.
    repeats: u32,
    /// How many of these undid what the one before had written.
    undone: u32,
    outcome: Outcome,
}

impl Last {
    /// When the same write may be repeated.
    fn again(&self) -> Instant {
        let doublings = self.repeats.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings);
        self.at + pause.min(LONGEST_PAUSE)
    }

    fn is_repeated_by(&self, plan: &ServicePlan) -> bool {
        self.plan.uid == plan.uid && self.plan.ports == plan.ports
    }

    /// Whether somebody undid what was written, and it has not lasted since.
    fn was_undone(&self, plan: &ServicePlan, now: Instant) -> bool {
        let fought_over = self.undone > 0 && self.outcome.is_whole() && self.is_repeated_by(plan);
        fought_over && (!plan.in_sync || now < self.again())
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether anything was written.
    pub succeeded: bool,
    /// What was refused.
    pub troubles: Vec<PortTrouble>,
    /// Who else changed the ports last.
    pub other: Option<String>,
}

impl Outcome {
    /// Whether everything was written.
    fn is_whole(&self) -> bool {
        self.succeeded && self.troubles.is_empty()
    }
}

/// An attempt among those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    /// How many times in a row it was this one.
    pub repeats: u32,
    /// How many of these put back what the one before had written.
    pub undone: u32,
    /// Whether other things were refused than the time before.
    pub news: bool,
}

impl Pace {
    /// When the Service may be written; `None` stands for at once. At once it is when Gateways ask for something else
    /// than last time. What changed on the Service itself waits for a while, however it changed: that may be somebody
    /// who rewrites it again and again.
    pub(super) fn due(&self, key: &ObjectKey, plan: &ServicePlan) -> Option<Instant> {
        let last = self
            .0
            .get(key)
            .filter(|last| last.plan.asked == plan.asked)?;
        Some(if last.is_repeated_by(plan) {
            last.again()
        } else {
            last.at + FIRST_PAUSE
        })
    }

    /// Notes an attempt.
    pub(super) fn note(
        &mut self,
        key: &ObjectKey,
        plan: &ServicePlan,
        outcome: Outcome,
        now: Instant,
    ) -> Noted {
        let before = self.0.get(key).filter(|last| last.is_repeated_by(plan));
        let whole = before.filter(|last| last.outcome.is_whole());
        let noted = Noted {
            repeats: before.map_or(0, |last| last.repeats).saturating_add(1),
            undone: whole.map_or(0, |last| last.undone.saturating_add(1)),
            news: before.is_none_or(|last| last.outcome.troubles != outcome.troubles),
        };
        let last = Last {
            plan: plan.clone(),
            at: now,
            repeats: noted.repeats,
            undone: noted.undone,
            outcome,
        };
        self.0.insert(key.clone(), last);
        noted
    }

    /// What is wrong with the ports of a Service, as far as its last write tells.
    pub(super) fn verdict(
        &self,
        key: &ObjectKey,
        plan: &ServicePlan,
        now: Instant,
    ) -> Option<PortWrite> {
        let last = self.0.get(key).filter(|last| last.plan.uid == plan.uid)?;
        let mut troubles = Vec::new();
        if !plan.in_sync {
            troubles.clone_from(&last.outcome.troubles);
        }
        if troubles.is_empty() && last.was_undone(plan, now) {
            // Who removes a field leaves no trace in the managed fields.
            let hint = match &last.outcome.other {
                Some(other) => format!(" (its other ports were last set by {other:?})"),
                None => String::new(),
            };
            troubles.push(PortTrouble {
                kind: PortTroubleKind::Overwritten,
                ports: BTreeSet::new(),
                text: format!("somebody rewrites it without the port{hint}"),
            });
        }
        (!troubles.is_empty()).then(|| PortWrite {
            uid: plan.uid.clone(),
            troubles,
        })
    }

    /// When a port that was fought over has lasted for long enough to be called exposed.
    pub(super) fn peace_at(
        &self,
        key: &ObjectKey,
        plan: &ServicePlan,
        now: Instant,
    ) -> Option<Instant> {
        let last = self.0.get(key)?;
        (plan.in_sync && last.was_undone(plan, now)).then(|| last.again())
    }

    /// Forgets Services that are no gateway's any more, and those that were left in peace for long.
    pub(super) fn forget(&mut self, plans: &BTreeMap<ObjectKey, ServicePlan>, now: Instant) {
        self.0.retain(|key, last| {
            let at_peace = |plan: &ServicePlan| plan.in_sync && now >= last.at + MEMORY;
            plans.get(key).is_some_and(|plan| !at_peace(plan))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::kind::Kind,
        gateway::{Asked, PlannedPort},
    };

    fn plan(uid: &str, asked: u16, ports: &[u16]) -> ServicePlan {
        let port = |port: &u16| PlannedPort {
            name: format!("http-{port}"),
            port: *port,
            target_port: *port,
            app_protocol: "http".to_owned(),
            node_port: None,
        };
        ServicePlan {
            uid: uid.to_owned(),
            ports: ports.iter().map(port).collect(),
            present: BTreeSet::new(),
            node_ports: None,
            asked: BTreeMap::from([(asked, Asked::default())]),
            in_sync: false,
        }
    }

    fn done() -> Outcome {
        Outcome {
            succeeded: true,
            troubles: Vec::new(),
            other: Some("kubectl-replace".to_owned()),
        }
    }

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::Service, "edge", "gateway")
    }

    #[test]
    fn the_same_write_is_repeated_ever_more_rarely_and_what_gateways_ask_for_is_written_at_once() {
        let key = key();
        let mut pace = Pace::default();
        let ours = plan("uid-1", 8088, &[8088]);
        assert_eq!(pace.due(&key, &ours), None);
        let start = Instant::now();
        let mut pauses = Vec::new();
        for repeats in 1..=8 {
            assert_eq!(pace.note(&key, &ours, done(), start).repeats, repeats);
            pauses.push((pace.due(&key, &ours).unwrap() - start).as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pace.due(&key, &plan("uid-1", 8089, &[8088, 8089])), None);
    }

    #[test]
    fn a_service_that_somebody_changes_again_and_again_is_not_written_more_often_than_every_5_seconds()
     {
        let key = key();
        let mut pace = Pace::default();
        let start = Instant::now();
        let in_5_seconds = Some(start + FIRST_PAUSE);
        pace.note(&key, &plan("uid-1", 8088, &[8088]), done(), start);
        assert_eq!(
            pace.due(&key, &plan("uid-1", 8088, &[])),
            in_5_seconds,
            "they took the port"
        );
        assert_eq!(
            pace.due(&key, &plan("uid-2", 8088, &[8088])),
            in_5_seconds,
            "they made a new one"
        );
        pace.note(&key, &plan("uid-1", 8088, &[]), done(), start);
        assert_eq!(
            pace.due(&key, &plan("uid-1", 8088, &[8088])),
            in_5_seconds,
            "they dropped it"
        );
    }

    #[test]
    fn port_that_was_removed_twice_is_told_until_it_has_lasted() {
        let key = key();
        let mut pace = Pace::default();
        let mut ours = plan("uid-1", 8088, &[8088]);
        let start = Instant::now();
        pace.note(&key, &ours, done(), start);
        assert_eq!(
            pace.verdict(&key, &ours, start),
            None,
            "once is an accident"
        );
        pace.note(&key, &ours, done(), start);
        let told = pace.verdict(&key, &ours, start).unwrap();
        assert_eq!(told.troubles[0].kind, PortTroubleKind::Overwritten);
        assert!(
            told.troubles[0].text.contains("kubectl-replace"),
            "{told:?}"
        );
        ours.in_sync = true;
        let peace = pace.peace_at(&key, &ours, start).unwrap();
        assert_eq!(peace, start + FIRST_PAUSE * 2);
        assert_eq!(pace.verdict(&key, &ours, start), Some(told));
        assert_eq!(pace.verdict(&key, &ours, peace), None);
        assert_eq!(pace.peace_at(&key, &ours, peace), None);
    }

    #[test]
    fn what_was_refused_is_told_until_the_service_is_as_it_should_be() {
        let key = key();
        let mut pace = Pace::default();
        let mut ours = plan("uid-1", 8088, &[8088]);
        let trouble = PortTrouble {
            kind: PortTroubleKind::NodePortTaken,
            ports: BTreeSet::from([8088]),
            text: "taken".to_owned(),
        };
        let refused = || Outcome {
            troubles: vec![trouble.clone()],
            ..done()
        };
        let now = Instant::now();
        assert!(pace.note(&key, &ours, refused(), now).news);
        assert!(!pace.note(&key, &ours, refused(), now).news);
        assert_eq!(
            pace.verdict(&key, &ours, now).unwrap().troubles,
            std::slice::from_ref(&trouble)
        );
        assert_eq!(pace.verdict(&key, &plan("uid-2", 8088, &[8088]), now), None);
        // Cured at the third attempt: nobody undid anything.
        pace.note(&key, &ours, done(), now);
        assert_eq!(pace.verdict(&key, &ours, now), None);
        pace.note(&key, &ours, refused(), now);
        ours.in_sync = true;
        assert_eq!(pace.verdict(&key, &ours, now), None);
    }

    #[test]
    fn a_service_that_was_left_in_peace_for_long_starts_afresh() {
        let key = key();
        let mut pace = Pace::default();
        let mut ours = plan("uid-1", 8088, &[8088]);
        let start = Instant::now();
        pace.note(&key, &ours, done(), start);
        ours.in_sync = true;
        let plans = BTreeMap::from([(key.clone(), ours.clone())]);
        pace.forget(&plans, start + MEMORY - Duration::from_secs(1));
        assert!(pace.due(&key, &ours).is_some());
        pace.forget(&plans, start + MEMORY);
        assert_eq!(pace.due(&key, &ours), None);
    }
}
