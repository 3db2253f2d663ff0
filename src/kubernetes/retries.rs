//! Objects whose write failed: each is tried again, ever more seldom, until a write succeeds or none is due.

use std::collections::BTreeMap;

use crate::world::ObjectKey;

/// The longest time from one attempt to the next, in ticks of the writer.
const LONGEST: u32 = 12;

/// The objects whose last write failed.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<ObjectKey, Retry>);

#[derive(Debug)]
struct Retry {
    /// The time from the last failure to the next attempt, in ticks.
    pause: u32,
    /// How much of it is left; nothing while an attempt is on its way.
    left: Option<u32>,
}

impl Retries {
    /// A write failed. The first one is repeated with the next tick, each further one after twice the time.
    pub fn failed(&mut self, key: ObjectKey) {
        let pause = match self.0.get(&key) {
            None => 1,
            Some(retry) => (retry.pause * 2).clamp(1, LONGEST),
        };
        let left = Some(pause);
        self.0.insert(key, Retry { pause, left });
    }

    /// The object is as it must be, or gone.
    pub fn settled(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// The objects that are to be tried again now.
    pub fn tick(&mut self) -> Vec<ObjectKey> {
        let mut due = Vec::new();
        for (key, retry) in &mut self.0 {
            retry.left = match retry.left {
                Some(0 | 1) => {
                    due.push(key.clone());
                    None
                }
                left => left.map(|left| left - 1),
            };
        }
        due
    }

    /// How many wait for their next attempt.
    pub fn len(&self) -> usize {
        self.0.values().filter(|retry| retry.left.is_some()).count()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::Kind;

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::VirtualService, "shop", "reviews")
    }

    #[test]
    fn an_object_that_fails_again_and_again_is_tried_ever_more_seldom() {
        let mut retries = Retries::default();
        retries.failed(key());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let pause = (1..100).find(|_| !retries.tick().is_empty());
            pauses.push(pause.unwrap());
            retries.failed(key());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 12, 12]);
    }

    #[test]
    fn an_attempt_on_its_way_is_not_made_twice_and_after_a_success_all_begins_anew() {
        let mut retries = Retries::default();
        retries.failed(key());
        assert_eq!(retries.tick(), [key()]);
        assert_eq!(retries.tick(), []);
        retries.settled(&key());
        retries.failed(key());
        assert_eq!(retries.tick(), [key()]);
    }
}
