//! How many entries of the indices are looked at: what tests of bounded work count.

use std::cell::Cell;

thread_local! {
    static VISITS: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn note() {
    VISITS.set(VISITS.get() + 1);
}

/// How many entries this thread looks at while it works.
pub(crate) fn during(work: impl FnOnce()) -> u64 {
    let before = VISITS.get();
    work();
    VISITS.get() - before
}
