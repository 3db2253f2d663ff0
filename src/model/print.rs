//! Numbers that stand for longer things where many are compared or kept.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

/// One for the whole process, so that prints that were made anywhere compare; another one in every process, so that nobody
/// can prepare things with the same print.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The print of something. Different things have different prints, but for one pair in 2⁶⁴.
pub(crate) fn print(of: impl Hash) -> u64 {
    SEED.hash_one(of)
}
