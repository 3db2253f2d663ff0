//! How long work says what it is doing.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Told about each step of long work. Steps may nest (a build inside of "start the cluster").
pub trait Progress: Sync {
    /// A step begins.
    fn begin(&self, what: &str);
    /// The step that began last has ended well after `took`.
    fn done(&self, what: &str, took: Duration);
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _what: &str) {}
    fn done(&self, _what: &str, _took: Duration) {}
}

/// One line to stderr for each step that ended, with its time in seconds. Test harnesses don't capture it:
/// whoever waits for the first build sees it go on.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

impl Progress for Lines {
    fn begin(&self, _what: &str) {}
    fn done(&self, what: &str, took: Duration) {
        let line = format!("{:7.1} s  {what}\n", took.as_secs_f64());
        // Without a stderr there is nobody to tell.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Runs `work` as a step named `what`. A step that fails is begun and never done; its error says the rest.
pub fn step<T, E>(
    progress: &dyn Progress,
    what: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    progress.begin(what);
    let start = Instant::now();
    let result = work()?;
    progress.done(what, start.elapsed());
    Ok(result)
}
