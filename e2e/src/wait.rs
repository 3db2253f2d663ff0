//! Waiting for conditions, with a deadline, instead of sleeping.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks at `condition` until it answers `Ok`, at most for `deadline`, and returns what it answered.
///
/// # Errors
/// After the deadline: `what` was awaited, for how long, and what the condition answered last.
pub fn until<T, E: Display>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= deadline => {
                return Err(anyhow!(
                    "{what}: not within {deadline:?}; last answer: {last:#}"
                ));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// [`until`] for a condition that is only true or false.
///
/// # Errors
/// As [`until`].
pub fn until_true(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    until(deadline, what, || condition().then_some(()).ok_or("no"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_the_first_success_is_returned() {
        let mut looks = 0;
        let value = until(Duration::from_secs(5), "third look", || {
            looks += 1;
            if looks == 3 {
                Ok("here")
            } else {
                Err("not yet")
            }
        });
        assert_eq!(value.unwrap(), "here");
    }

    #[test]
    fn deadline_reports_the_last_answer() {
        let error = until(Duration::ZERO, "pod ready", || {
            Err::<(), _>("0 of 1 containers")
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "pod ready: not within 0ns; last answer: 0 of 1 containers"
        );
    }
}
