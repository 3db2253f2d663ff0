//! What is not written yet, because a moment later it may not be so any more.
//!
//! Kinds are watched apart, and their watches deliver in any order: a route may be seen before the subset that was
//! applied with it, and a Gateway is seen before its ports are written. So what is bad news is written once it has
//! lasted, and good news at once.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::world::ObjectKey;

/// What turns bad is written once neither the object nor what is said about it has changed for this long …
const QUIET: Duration = Duration::from_millis(250);
/// … or once it has been bad for this long.
const AT_MOST: Duration = Duration::from_secs(1);
/// How long what is said about a Gateway waits for its ports to be written. A moment later all of it is known, and until
/// then a new leader doesn't know what the API server refused to the one before.
const SETTLING: Duration = Duration::from_secs(2);

/// Why a write is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It would say that something is wrong that its status does not say yet.
    TurnsBad,
    /// The ports of a Gateway are about to be written.
    Settling,
}

/// The objects whose write is held, or was until it became due.
#[derive(Debug, Default)]
pub(super) struct Holds {
    of: HashMap<ObjectKey, Hold>,
    /// Those that still wait, by the end of it.
    waiting: BTreeSet<(Instant, ObjectKey)>,
}

#[derive(Debug)]
struct Hold {
    /// Of which object: another one may get its name at once.
    uid: String,
    /// Since when the object waits to be compared.
    waiting_since: Instant,
    /// Since when it is held.
    since: Instant,
    /// When the object, or what is said about it, changed last.
    changed: Instant,
    /// The end, as it was noted in [`Holds::waiting`].
    until: Instant,
}

impl Hold {
    fn end(&self, why: Why) -> Instant {
        match why {
            Why::TurnsBad => (self.changed + QUIET).min(self.since + AT_MOST),
            Why::Settling => self.since + SETTLING,
        }
    }
}

impl Holds {
    /// The object, or what is said about it, has changed.
    pub(super) fn changed(&mut self, key: &ObjectKey, now: Instant) {
        if let Some(hold) = self.of.get_mut(key) {
            hold.changed = now;
        }
    }

    /// Whether the write of an object has to wait; it waits to be compared since `waiting_since`. It is due again as
    /// [`Holds::take_due`] tells, and from then on it does not wait any more until it is [released](Holds::release).
    pub(super) fn holds(
        &mut self,
        key: &ObjectKey,
        uid: &str,
        why: Why,
        waiting_since: Instant,
        now: Instant,
    ) -> bool {
        if self.of.get(key).is_some_and(|hold| hold.uid != uid) {
            self.release(key);
        }
        let hold = self.of.entry(key.clone()).or_insert_with(|| Hold {
            uid: uid.to_owned(),
            waiting_since,
            since: now,
            changed: now,
            until: now,
        });
        self.waiting.remove(&(hold.until, key.clone()));
        hold.until = hold.end(why);
        let is_held = now < hold.until;
        if is_held {
            self.waiting.insert((hold.until, key.clone()));
        }
        is_held
    }

    /// The object is written, or gone, or there is nothing to hold.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        if let Some(hold) = self.of.remove(key) {
            self.waiting.remove(&(hold.until, key.clone()));
        }
    }

    /// When the first of them is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// Those that are due, each with the time since which it waits.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(ObjectKey, Instant)> {
        let mut due = Vec::new();
        while self.due().is_some_and(|until| until <= now)
            && let Some((_, key)) = self.waiting.pop_first()
        {
            let since = self.of.get(&key).map_or(now, |hold| hold.waiting_since);
            due.push((key, since));
        }
        due
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::Kind;

    const MOMENT: Duration = Duration::from_millis(1);

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::VirtualService, "shop", "reviews")
    }

    fn held(holds: &mut Holds, why: Why, now: Instant) -> bool {
        holds.holds(&key(), "a", why, now, now)
    }

    #[test]
    fn what_turns_bad_waits_until_it_has_been_so_for_a_while() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        assert!(held(&mut holds, Why::TurnsBad, start));
        assert_eq!(holds.take_due(start + QUIET - MOMENT), []);
        // Looked at again, with nothing new.
        assert!(held(&mut holds, Why::TurnsBad, start + QUIET / 2));
        assert_eq!(holds.due(), Some(start + QUIET));
        assert_eq!(holds.take_due(start + QUIET), [(key(), start)]);
        assert!(!held(&mut holds, Why::TurnsBad, start + QUIET));
        assert_eq!((holds.len(), holds.due()), (0, None));
    }

    #[test]
    fn every_change_makes_it_wait_anew_but_not_for_ever() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        let pause = QUIET - MOMENT;
        for changes in 0..4 {
            let now = start + pause * changes;
            assert_eq!(holds.take_due(now), []);
            holds.changed(&key(), now);
            assert!(held(&mut holds, Why::TurnsBad, now));
            assert_eq!(holds.due(), Some(now + QUIET));
        }
        let now = start + pause * 4;
        holds.changed(&key(), now);
        assert!(held(&mut holds, Why::TurnsBad, now));
        assert_eq!(holds.due(), Some(start + AT_MOST));
    }

    #[test]
    fn what_was_released_waits_from_the_beginning() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        assert!(held(&mut holds, Why::TurnsBad, start));
        holds.release(&key());
        assert_eq!((holds.len(), holds.take_due(start + AT_MOST)), (0, vec![]));
        assert!(held(&mut holds, Why::TurnsBad, start + AT_MOST));
    }

    #[test]
    fn a_write_that_is_due_and_fails_does_not_wait_again() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        assert!(held(&mut holds, Why::TurnsBad, start));
        assert_eq!(holds.take_due(start + QUIET).len(), 1);
        assert!(!held(&mut holds, Why::TurnsBad, start + QUIET));
        assert!(!held(&mut holds, Why::TurnsBad, start + QUIET * 2));
    }

    #[test]
    fn an_object_that_takes_the_place_of_another_waits_from_the_beginning() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        assert!(held(&mut holds, Why::TurnsBad, start));
        assert!(!held(&mut holds, Why::TurnsBad, start + QUIET));
        let now = start + AT_MOST;
        assert!(holds.holds(&key(), "b", Why::TurnsBad, now, now));
        assert_eq!(holds.take_due(now + QUIET), [(key(), now)]);
    }

    #[test]
    fn a_gateway_whose_ports_are_refused_waits_no_longer_than_what_turns_bad() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        assert!(held(&mut holds, Why::Settling, start));
        assert_eq!(holds.due(), Some(start + SETTLING));
        let refused = start + QUIET;
        holds.changed(&key(), refused);
        assert!(held(&mut holds, Why::TurnsBad, refused));
        assert_eq!(holds.due(), Some(refused + QUIET));
    }
}
