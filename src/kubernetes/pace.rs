//! How fast Events may follow each other.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::world::ObjectKey;

/// How many may follow each other at once …
pub const BURST: u32 = 50;
/// … and the time from one to the next after that.
pub const PACE: Duration = Duration::from_millis(100);

/// A bucket of [`BURST`] permits, refilled by one every [`PACE`].
#[derive(Debug)]
pub struct Pace {
    /// When the bucket would be full.
    full: Instant,
}

impl Pace {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// When the next one may go.
    pub fn next(&mut self, now: Instant) -> Instant {
        self.full = self.full.max(now) + PACE;
        let earliest = self.full.checked_sub(PACE * BURST).unwrap_or(now);
        earliest.max(now)
    }
}

/// How many Events one object may have at once …
const OF_ONE: u32 = 25;
/// … and the time from one to the next after that: what turns to and fro is no news any more. Both are those of
/// client-go's filter against spam.
const REFILL: Duration = Duration::from_secs(300);
/// How many objects are remembered before those are forgotten that had no Event for long.
const REMEMBERED: usize = 1024;

/// A bucket of [`OF_ONE`] permits for each object, refilled by one every [`REFILL`].
#[derive(Debug, Default)]
pub struct PerObject {
    /// When each bucket would be full.
    full: HashMap<ObjectKey, Instant>,
}

impl PerObject {
    /// Takes a permit, if one is left.
    pub fn admits(&mut self, object: &ObjectKey, now: Instant) -> bool {
        if self.full.len() >= REMEMBERED {
            self.full.retain(|_, full| *full > now);
        }
        let full = self.full.get(object).map_or(now, |full| now.max(*full)) + REFILL;
        let admitted = full <= now + REFILL * OF_ONE;
        if admitted {
            self.full.insert(object.clone(), full);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::Kind;

    #[test]
    fn object_that_turns_to_and_fro_has_few_events_and_keeps_no_other_from_its_own() {
        let named = |name: &str| ObjectKey::new(Kind::Gateway, "edge", name);
        let now = Instant::now();
        let mut filter = PerObject::default();
        let admitted = (0..1000).filter(|_| filter.admits(&named("a"), now));
        assert_eq!(admitted.count(), OF_ONE as usize);
        assert!(filter.admits(&named("b"), now));
        assert!(!filter.admits(&named("a"), now + REFILL / 2));
        assert!(filter.admits(&named("a"), now + REFILL));
        assert!(!filter.admits(&named("a"), now + REFILL));

        for index in 0..2 * REMEMBERED {
            filter.admits(&named(&index.to_string()), now + REFILL * (OF_ONE + 2));
        }
        assert!(!filter.full.contains_key(&named("a")), "long ago");
    }

    #[test]
    fn after_a_burst_events_keep_their_pace() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..BURST {
            assert_eq!(pace.next(now), now);
        }
        assert_eq!(pace.next(now), now + PACE);
        let later = now + PACE * (BURST + 1);
        assert_eq!(pace.next(later), later, "the bucket is refilled");
    }
}
