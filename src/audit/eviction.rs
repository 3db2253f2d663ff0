//! Which pods are evicted so that their controllers make them again, with the proxy that they should have.
//!
//! Gentle and never in a loop: only pods that a controller makes again, one at a time for each controller and only
//! while its other pods are ready, few in a minute over all; PodDisruptionBudgets have the last word, in the eviction
//! API. A controller whose pod came back as it was is left alone: evicting more would change nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Problem};
use crate::world::{Controller, ObjectKey, PodSpec, World};

/// How old a pod must be: whoever looks shall see the Event before the pod is gone.
const AGE: SignedDuration = SignedDuration::from_secs(30);
/// From one eviction of a controller's pods to the next.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// For how long an eviction is remembered at least: the pod that is made again may be long in coming.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// The time for which the budget is.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Controllers that make a pod again when one is gone, and lose nothing by it (the pods of a Job lose their work).
const REMAKERS: [(&str, &str); 4] = [
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("v1", "ReplicationController"),
];

/// What may be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pods without a proxy.
    pub missing: bool,
    /// Pods with an old proxy.
    pub outdated: bool,
    /// How many pods in a minute.
    pub per_minute: usize,
}

/// A pod to be evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid: a pod of the same name that came later is meant by nobody.
    pub uid: String,
    /// What makes it again.
    pub controller: Controller,
    /// Why, for people.
    pub why: String,
    /// The uids of all pods that the controller has now: any other one is made later.
    siblings: BTreeSet<String>,
}

/// A controller whose pods are left alone from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The controller.
    pub controller: Controller,
    /// Its namespace.
    pub namespace: String,
    /// Why, for people.
    pub why: String,
}

/// What is to be done now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods to evict.
    pub evictions: Vec<Eviction>,
    /// Controllers that are given up, each said once.
    pub stops: Vec<Stop>,
}

/// What was done so far, as far as it still matters.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By the controller's uid.
    controllers: BTreeMap<String, Attempt>,
    /// When pods were evicted in the last minute.
    recent: VecDeque<Timestamp>,
    /// Until when nothing is evicted, because another leader may just have used the budget.
    quiet_until: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Attempt {
    at: Timestamp,
    /// The uids of the pods that were there at the last eviction that was granted. Times would not tell which came
    /// later: those of pods are of another clock.
    before: Option<BTreeSet<String>>,
    given_up: bool,
}

impl History {
    /// How many controllers are given up.
    pub fn given_up(&self) -> usize {
        let attempts = self.controllers.values();
        attempts.filter(|attempt| attempt.given_up).count()
    }

    /// Notes that this replica leads from `now` on. What another leader evicted is not known, so nothing is evicted until
    /// that no longer counts: however often the Lease changes hands, the budget of a minute is kept.
    pub fn begin_term(&mut self, now: Timestamp) {
        self.quiet_until = Some(now + MINUTE);
    }

    /// Notes that an eviction was asked for, whether or not it was granted: a refusal is not asked again at once.
    pub fn note(&mut self, eviction: &Eviction, granted: bool, now: Timestamp) {
        let uid = eviction.controller.uid.clone();
        let attempt = self.controllers.entry(uid).or_insert(Attempt {
            at: now,
            before: None,
            given_up: false,
        });
        attempt.at = now;
        if granted {
            attempt.before = Some(eviction.siblings.clone());
            self.recent.push_back(now);
        }
    }

    /// Whether the pod was made again and changed nothing, so that its controller is given up: true once for each.
    fn gives_up(&mut self, candidate: &Candidate<'_>) -> bool {
        let Some(attempt) = self.controllers.get_mut(&candidate.controller.uid) else {
            return false;
        };
        let before = attempt.before.as_ref();
        let made_again = before.is_some_and(|before| !before.contains(&candidate.finding.uid));
        let news = made_again && !attempt.given_up;
        attempt.given_up |= news;
        news
    }

    /// Whether the controller of this uid is given up, or had its turn a moment ago.
    fn holds_back(&self, uid: &str, now: Timestamp) -> bool {
        self.controllers
            .get(uid)
            .is_some_and(|attempt| attempt.given_up || now.duration_since(attempt.at) < PAUSE)
    }

    /// Forgets what no longer matters: evictions of long ago, and controllers all of whose pods are as they should be.
    fn forget(&mut self, findings: &[Finding], now: Timestamp) {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= MINUTE)
        {
            self.recent.pop_front();
        }
        let found: BTreeSet<&str> = findings
            .iter()
            .filter_map(|finding| Some(finding.controller.as_ref()?.uid.as_str()))
            .collect();
        self.controllers.retain(|uid, attempt| {
            found.contains(uid.as_str()) || now.duration_since(attempt.at) < REMEMBERED
        });
    }
}

/// What is to be done about `findings` of `world` at `now`. What is done is to be told to [`History::note`].
pub fn plan(
    world: &World,
    findings: &[Finding],
    limits: Limits,
    history: &mut History,
    now: Timestamp,
) -> Plan {
    history.forget(findings, now);
    let candidates: Vec<Candidate<'_>> = findings
        .iter()
        .filter_map(|finding| Candidate::of(world, finding, limits))
        .collect();
    let stops = candidates
        .iter()
        .filter(|candidate| history.gives_up(candidate))
        .map(Candidate::stop)
        .collect();
    if history.quiet_until.is_some_and(|until| now < until) {
        return Plan {
            stops,
            ..Plan::default()
        };
    }
    let unsettled = unsettled(world);
    let mut evictions: BTreeMap<&str, Eviction> = BTreeMap::new();
    for candidate in &candidates {
        let uid = candidate.controller.uid.as_str();
        let in_budget = history.recent.len() + evictions.len() < limits.per_minute;
        let old_enough = now.duration_since(candidate.created) >= AGE;
        // A pod that isn't ready serves nobody: it need not wait for the others, nor they for it.
        let settled = !candidate.ready || !unsettled.contains(uid);
        let may = candidate.runs && in_budget && old_enough && settled;
        if may && !history.holds_back(uid, now) {
            let eviction = || candidate.eviction(world);
            evictions.entry(uid).or_insert_with(eviction);
        }
    }
    Plan {
        evictions: evictions.into_values().collect(),
        stops,
    }
}

/// A pod that may be evicted in principle.
struct Candidate<'a> {
    finding: &'a Finding,
    controller: &'a Controller,
    created: Timestamp,
    runs: bool,
    ready: bool,
}

impl<'a> Candidate<'a> {
    fn of(world: &World, finding: &'a Finding, limits: Limits) -> Option<Self> {
        let wanted = match finding.problem {
            Problem::Missing => limits.missing,
            Problem::Outdated(_) => limits.outdated,
            // Whether to leave another mesh is for people to say.
            Problem::Foreign => false,
        };
        let controller = finding.controller.as_ref().filter(|_| wanted)?;
        let kind = (controller.api_version.as_str(), controller.kind.as_str());
        let pod = world.get::<PodSpec>(&finding.pod)?;
        let spec = pod.spec()?;
        Some(Self {
            finding,
            controller: Some(controller).filter(|_| REMAKERS.contains(&kind))?,
            created: pod.meta.created?,
            runs: spec.phase == "Running",
            ready: spec.ready == Some(true),
        })
    }

    fn eviction(&self, world: &World) -> Eviction {
        let siblings = world
            .in_namespace::<PodSpec>(&self.finding.pod.namespace)
            .filter(|(_, pod)| {
                pod.spec().and_then(|spec| spec.controller.as_ref()) == Some(self.controller)
            })
            .map(|(_, pod)| pod.meta.uid.clone());
        Eviction {
            siblings: siblings.collect(),
            pod: self.finding.pod.clone(),
            uid: self.finding.uid.clone(),
            controller: self.controller.clone(),
            why: self.finding.problem.to_string(),
        }
    }

    fn stop(&self) -> Stop {
        Stop {
            controller: self.controller.clone(),
            namespace: self.finding.pod.namespace.to_string(),
            why: format!(
                "pod {} was made again after an eviction and has the same problem ({}): no more pods of this controller \
                 are evicted; see whether the injection webhook is asked about them and what other webhooks do to them",
                self.finding.pod.name, self.finding.problem
            ),
        }
    }
}

/// The controllers with a pod that isn't ready, or is on its way out.
fn unsettled(world: &World) -> BTreeSet<&str> {
    world
        .all::<PodSpec>()
        .values()
        .filter_map(|pod| {
            let spec = pod.spec().filter(|spec| !spec.has_ended())?;
            let controller = spec.controller.as_ref()?;
            (pod.meta.deleting || spec.ready != Some(true)).then_some(controller.uid.as_str())
        })
        .collect()
}

/// When to look again although nothing has happened: pods grow old enough, pauses end.
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);
