//! How fast Events may follow each other.

use std::time::Duration;

use tokio::time::Instant;

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

#[cfg(test)]
mod tests {
    use super::*;

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
