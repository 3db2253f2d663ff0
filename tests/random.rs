//! Steps that differ from run to run, and can be repeated.

use std::time::SystemTime;

/// The variable that repeats the steps of a run that failed.
pub const SEED: &str = "OUTRIGGER_TEST_SEED";

/// A xorshift generator: the same seed gives the same steps.
pub struct Random(u64);

impl Random {
    /// From [`SEED`] or the clock; says which.
    pub fn new() -> (Random, u64) {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let now = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(1)
        };
        let seed: u64 = given.unwrap_or_else(now).max(1);
        println!("{SEED}={seed}");
        (Random(seed), seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}
