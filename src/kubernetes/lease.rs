//! Leader election by a Lease: one replica writes, the others are ready to take over.
//!
//! The rules are those of client-go's leaderelection, so that the guarantees are the familiar ones: a holder
//! renews every [`RETRY`] and stops writing [`RENEW_DEADLINE`] after its last successful renewal; another one takes
//! the Lease when it saw no renewal for [`DURATION`], measured on its own clock, so clock skew does no harm.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

/// The Lease of the writers, in the control plane's namespace; revisions append their name.
pub const NAME: &str = "outrigger-leader";
/// For how long after the last renewal it saw nobody takes the Lease from its holder.
pub const DURATION: Duration = Duration::from_secs(15);
/// For how long after its last renewal a holder may write. Shorter than [`DURATION`], so there are never two writers.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long a write may take: one that begins right before the deadline is over when another replica may begin.
pub const WRITE_TIME: Duration = Duration::from_secs(DURATION.as_secs() - RENEW_DEADLINE.as_secs());
/// From one attempt to renew or to take the Lease to the next.
pub const RETRY: Duration = Duration::from_secs(2);

/// Whether this replica may write; every write of a leader goes through [`Leadership::write`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Whether this replica holds the Lease and its renew deadline has not passed.
    pub fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Lets `write` happen if this replica may write now, for [`WRITE_TIME`] at most.
    ///
    /// # Errors
    /// When it may not, when the time is over, and whatever the write itself ends with.
    pub async fn write<T>(
        &self,
        write: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        if !self.is_held() {
            return Err(WriteError::NotLeader);
        }
        let deadline = Instant::now() + WRITE_TIME;
        let mut write = pin!(write);
        // A process that was stopped for longer than that (SIGSTOP, a frozen machine) finds the answer to its last
        // step before it finds that the time is over; it must not take the next step then.
        let fenced = poll_fn(|context| {
            if Instant::now() < deadline {
                write.as_mut().poll(context).map(Some)
            } else {
                Poll::Ready(None)
            }
        });
        match timeout_at(deadline, fenced).await {
            Ok(Some(written)) => Ok(written?),
            Ok(None) | Err(_) => Err(WriteError::Slow),
        }
    }

    /// Ready when the Lease was gained or lost since the last call; renewals don't count.
    /// Never ready again once the election has ended.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A leadership that nobody takes away, for what runs where no replica does.
    pub fn unchallenged() -> Self {
        let years = Duration::from_secs(30 * 365 * 24 * 3600);
        let (sender, receiver) = watch::channel(Some(Instant::now() + years));
        drop(sender);
        Self(receiver)
    }
}

/// Why a write of the leader's did not happen, or is not known to have.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another replica writes now.
    #[error("this replica is no longer the leader")]
    NotLeader,
    /// It may still have happened.
    #[error("the API server did not answer within {WRITE_TIME:?}")]
    Slow,
    /// The API server could not be reached, or refused it.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// A candidate of the election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    held: watch::Sender<Option<Instant>>,
    seen: Option<Seen>,
    leader: Gauge,
}

/// What became of taking a Lease by force.
#[derive(Debug)]
pub struct Seized {
    /// Who held it.
    pub former: Option<String>,
    /// When the last write of that holder is over: it notices at its next renewal, and may write until its deadline.
    pub settled: Instant,
}

/// The Lease as it was last seen to change, and when that was on this process's clock.
struct Seen {
    spec: Option<LeaseSpec>,
    at: Instant,
}

impl Election {
    /// Candidate `identity` (the pod's name) for the Lease `name`; `api` is that of its namespace.
    pub fn new(api: Api<Lease>, name: String, identity: String) -> (Self, Leadership) {
        let (held, receiver) = watch::channel(None);
        let election = Self {
            api,
            name,
            identity,
            held,
            seen: None,
            leader: Gauge::default(),
        };
        (election, Leadership(receiver))
    }

    /// Shows in `registry` whether this candidate leads.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "leader",
            "1 while this replica holds the Lease of the writers",
            self.leader.clone(),
        );
    }

    /// Campaigns until `shutdown` is ready; then, as soon as every [`Leadership`] is dropped (no writer is left),
    /// gives the Lease back, so that another replica need not wait for it to expire.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.attempt() => {}
            }
            // Leadership that can't be renewed ends at its deadline, not at the next attempt.
            let held_until = *self.held.borrow();
            let next = next_attempt(self.seen.as_ref(), Instant::now());
            tokio::select! {
                () = &mut shutdown => break,
                () = sleep_until(next) => {}
                () = expiry(held_until) => self.lost("it could not be renewed in time"),
            }
        }
        let last_write = *self.held.borrow();
        if let Some(deadline) = last_write {
            let _ = timeout_at(deadline, self.held.closed()).await;
            self.release().await;
        }
    }

    /// Takes the Lease from whoever holds it.
    ///
    /// # Errors
    /// The API server can't be reached, or refuses.
    pub async fn seize(&mut self) -> Result<Seized, SeizeError> {
        loop {
            let started = Instant::now();
            let live = self.api.get_opt(&self.name).await?;
            let spec = live.as_ref().and_then(|live| live.spec.as_ref());
            let former = spec
                .and_then(|spec| spec.holder_identity.clone())
                .filter(|holder| !holder.is_empty() && *holder != self.identity);
            // Of two writes that saw the same Lease one wins; its holder renews it only every few seconds.
            if self.put(live).await? {
                self.gained(started + RENEW_DEADLINE);
                let now = Instant::now();
                let settled = former.as_ref().map_or(now, |_| now + DURATION);
                return Ok(Seized { former, settled });
            }
        }
    }

    /// Renews the Lease that was seized until `end` is ready, and once more then. It is not given back: for as long as
    /// it lasts, nobody else writes.
    pub async fn keep(mut self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = sleep(RETRY) => {}
            }
            self.attempt().await;
        }
        self.attempt().await;
    }

    /// One attempt to take or to renew the Lease.
    async fn attempt(&mut self) {
        let started = Instant::now();
        // An attempt that takes longer than the deadline is of no use to a holder.
        let outcome = match timeout(RENEW_DEADLINE - RETRY, self.take_or_renew(started)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SeizeError::Slow),
        };
        match outcome {
            Ok(true) => self.gained(started + RENEW_DEADLINE),
            Ok(false) => self.lost("another replica holds it"),
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "cannot take or renew the Lease; trying again");
            }
        }
    }

    async fn take_or_renew(&mut self, started: Instant) -> Result<bool, SeizeError> {
        let Some(live) = self.api.get_opt(&self.name).await? else {
            return self.put(None).await;
        };
        // The holder may have renewed until the answer came; `started` would date that too early.
        self.observe(&live, Instant::now());
        let may_take = match &self.seen {
            Some(seen) => may_take(live.spec.as_ref(), &self.identity, seen.at, started),
            None => false,
        };
        if !may_take {
            return Ok(false);
        }
        self.put(Some(live)).await
    }

    /// Writes this candidate into the Lease; false if somebody else was faster.
    async fn put(&self, live: Option<Lease>) -> Result<bool, SeizeError> {
        let Some(live) = live else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None, Timestamp::now())),
            };
            return settle(self.api.create(&PostParams::default(), &lease).await);
        };
        let lease = Lease {
            spec: Some(self.spec(live.spec.as_ref(), Timestamp::now())),
            // With its resourceVersion: of two candidates that saw the same Lease, one wins.
            metadata: live.metadata,
        };
        let written = self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await;
        settle(written)
    }

    /// Notes when a holder was last seen to renew.
    fn observe(&mut self, live: &Lease, now: Instant) {
        let unchanged = self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.spec == live.spec);
        if !unchanged {
            self.seen = Some(Seen {
                spec: live.spec.clone(),
                at: now,
            });
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let renewal =
            before.filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: renewal
                .and_then(|spec| spec.acquire_time.clone())
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if renewal.is_some() || before.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    fn gained(&self, until: Instant) {
        self.held.send_if_modified(|held| {
            // A renewal that comes after the deadline is a gain: meanwhile nothing was written.
            let news = held.is_none_or(|until| until <= Instant::now());
            *held = Some(until);
            if news {
                tracing::info!(lease = self.name, "this replica holds the Lease and writes");
            }
            news
        });
        self.leader.set(1);
    }

    fn lost(&self, why: &str) {
        self.held.send_if_modified(|held| {
            let news = held.take().is_some();
            if news {
                tracing::warn!(lease = self.name, why, "this replica lost the Lease");
            }
            news
        });
        self.leader.set(0);
    }

    /// Gives the Lease back, if it is still this replica's.
    async fn release(&mut self) {
        let released = timeout(RETRY, async {
            let mut live = self.api.get(&self.name).await?;
            let Some(spec) = live.spec.as_mut() else {
                return Ok(());
            };
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.api
                .replace(&self.name, &PostParams::default(), &live)
                .await
                .map(|_| ())
        });
        match released.await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "gave the Lease back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "cannot give the Lease back; it expires by itself");
            }
            Err(_) => tracing::warn!(
                lease = self.name,
                "no time to give the Lease back; it expires by itself"
            ),
        }
        self.lost("this process ends");
    }
}

/// Whether candidate `me` may write itself into the Lease, which was last seen to change at `seen`.
fn may_take(spec: Option<&LeaseSpec>, me: &str, seen: Instant, now: Instant) -> bool {
    let holder = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    holder.is_empty() || holder == me || now >= seen + duration(spec)
}

fn duration(spec: Option<&LeaseSpec>) -> Duration {
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(DURATION, Duration::from_secs)
}

/// After [`RETRY`], or right when the Lease of another one expires: nothing is written until somebody takes it.
fn next_attempt(seen: Option<&Seen>, now: Instant) -> Instant {
    let regular = now + RETRY;
    let expiry = seen.map(|seen| seen.at + duration(seen.spec.as_ref()));
    expiry
        .filter(|expiry| *expiry > now)
        .map_or(regular, |expiry| expiry.min(regular))
}

/// A conflict means that another candidate was faster, which is an answer and not a failure.
fn settle(written: kube::Result<Lease>) -> Result<bool, SeizeError> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn expiry(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Why an attempt told nothing about who holds the Lease.
#[derive(Debug, thiserror::Error)]
pub enum SeizeError {
    /// The API server could not be reached, or refused it.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// There was no time left.
    #[error("the API server did not answer in time")]
    Slow,
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use axum::{extract::Request, http::Method};

    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_from_its_holder_only_after_no_renewal_was_seen_for_its_duration() {
        let seen = Instant::now();
        let lease = held_by("a");
        let at = |seconds| seen + Duration::from_secs(seconds);
        assert!(!may_take(Some(&lease), "b", seen, at(14)));
        assert!(may_take(Some(&lease), "b", seen, at(15)));
        assert!(may_take(Some(&lease), "a", seen, at(1)), "a renewal");
        assert!(may_take(Some(&held_by("")), "b", seen, at(0)), "given back");
        assert!(may_take(None, "b", seen, at(0)), "an empty Lease");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_slow_answer_shows_may_be_as_young_as_the_answer() {
        const SLOW: Duration = Duration::from_secs(5);
        let slow = Arc::new(AtomicBool::new(true));
        let written = Arc::new(AtomicBool::new(false));
        let (delays, puts) = (Arc::clone(&slow), Arc::clone(&written));
        let answer = async move |request: Request| {
            if request.method() == Method::PUT {
                puts.store(true, Ordering::Relaxed);
            } else if delays.swap(false, Ordering::Relaxed) {
                sleep(SLOW).await;
            }
            let lease = Lease {
                spec: Some(held_by("a")),
                ..Lease::default()
            };
            serde_json::to_string(&lease).unwrap()
        };
        let client = kube::Client::new(axum::Router::new().fallback(answer), "default");
        let (name, me) = (NAME.to_owned(), "b".to_owned());
        let api = Api::default_namespaced(client);
        let (mut election, leadership) = Election::new(api, name, me);
        election.attempt().await;
        let answered = Instant::now();
        tokio::time::advance(DURATION - Duration::from_millis(1)).await;
        election.attempt().await;
        assert!(!leadership.is_held() && !written.load(Ordering::Relaxed));
        tokio::time::advance(DURATION - answered.elapsed()).await;
        election.attempt().await;
        assert!(leadership.is_held() && written.load(Ordering::Relaxed));
    }

    #[test]
    fn a_lease_that_is_not_renewed_is_taken_the_moment_it_expires() {
        let at = Instant::now();
        let seen = Seen {
            spec: Some(held_by("a")),
            at,
        };
        let after = |seconds| at + Duration::from_secs(seconds);
        assert_eq!(next_attempt(None, at), after(2));
        assert_eq!(next_attempt(Some(&seen), after(10)), after(12));
        assert_eq!(next_attempt(Some(&seen), after(14)), after(15));
        assert_eq!(
            next_attempt(Some(&seen), after(15)),
            after(17),
            "somebody else was faster"
        );
    }

    fn election() -> (Election, Leadership) {
        // Nothing is sent.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nowhere = kube::Config::new(axum::http::Uri::from_static("http://127.0.0.1:9"));
        let api = Api::namespaced(kube::Client::try_from(nowhere).unwrap(), "ns");
        Election::new(api, "lease".to_owned(), "a".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_after_the_deadline_is_a_gain_and_one_before_it_is_not() {
        let (election, mut leadership) = election();
        election.gained(Instant::now() + RENEW_DEADLINE);
        leadership.changed().await;
        election.gained(Instant::now() + RENEW_DEADLINE);
        assert!(!leadership.0.has_changed().unwrap());
        tokio::time::advance(RENEW_DEADLINE).await;
        assert!(!leadership.is_held());
        election.gained(Instant::now() + RENEW_DEADLINE);
        leadership.changed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_write_of_a_leader_reaches_into_the_time_of_the_next() {
        let (election, leadership) = election();
        let never = || std::future::pending::<kube::Result<()>>();
        let refused = leadership.write(async { panic!("not to be begun") as kube::Result<()> });
        assert!(matches!(refused.await, Err(WriteError::NotLeader)));

        let renewed = Instant::now();
        election.gained(renewed + RENEW_DEADLINE);
        tokio::time::advance(RENEW_DEADLINE - Duration::from_millis(1)).await;
        assert!(matches!(
            leadership.write(never()).await,
            Err(WriteError::Slow)
        ));
        assert!(renewed.elapsed() < DURATION);
        assert!(matches!(
            leadership.write(never()).await,
            Err(WriteError::NotLeader)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn write_that_was_stopped_half_way_takes_no_further_step_when_its_time_is_over() {
        let leadership = Leadership::unchallenged();
        let (answer, first_step) = tokio::sync::oneshot::channel::<()>();
        let write = leadership.write(async {
            let _ = first_step.await;
            panic!("the second step was taken") as kube::Result<()>
        });
        let mut write = pin!(write);
        assert!(futures::poll!(&mut write).is_pending());
        tokio::time::advance(WRITE_TIME).await;
        answer.send(()).unwrap();
        assert!(matches!(write.await, Err(WriteError::Slow)));
    }

    #[tokio::test(start_paused = true)]
    async fn leadership_ends_at_its_deadline_even_if_nothing_renews_or_revokes_it() {
        let (held, receiver) = watch::channel(Some(Instant::now() + RENEW_DEADLINE));
        let leadership = Leadership(receiver);
        tokio::time::advance(RENEW_DEADLINE - Duration::from_millis(1)).await;
        assert!(leadership.is_held());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!leadership.is_held());
        drop(held);
    }
}
