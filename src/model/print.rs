//! Numbers that stand for longer things where many are compared or kept.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

/// One for the whole process, so that prints that were made anywhere compare. Two things with one print cost a look too many
/// and nothing else, and another seed in every process keeps such pairs from being prepared.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The print of something. Different things have different prints, but for one pair in 2⁶⁴.
pub(crate) fn print(of: impl Hash) -> u64 {
    SEED.hash_one(of)
}
