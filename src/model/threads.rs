//! Work on several threads, where there is so much that this pays.

use rayon::prelude::*;

/// How many things are looked at faster by one thread than several threads are started.
const FEW: usize = 4_096;

/// How many things one thread takes at a time.
const AT_A_TIME: usize = 256;

/// Does both, at the same time where they are about many things.
pub(crate) fn both<A: Send, B: Send>(
    things: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    if things < FEW {
        (one(), other())
    } else {
        rayon::join(one, other)
    }
}

/// What becomes of each, in their order; of many, on as many threads as there are processors.
pub(crate) fn each<T: Sync, R: Send>(things: &[T], of: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    if things.len() < FEW {
        things.iter().map(of).collect()
    } else {
        things.par_iter().with_min_len(AT_A_TIME).map(of).collect()
    }
}
