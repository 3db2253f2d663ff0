//! Readiness as a set of named tasks: ready is when none is left, and until then `/readyz` says what it waits for.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What this process still waits for, and what people should know although it doesn't wait for it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<&'static str, String>,
    remarks: BTreeMap<String, String>,
}

/// One thing that must happen before the process is ready: it blocks readiness until it is dropped.
#[derive(Debug)]
pub struct Task {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Blocks readiness under `name` until the returned task is dropped; `waits_for` says what is missing.
    pub fn block(&self, name: &'static str, waits_for: impl Into<String>) -> Task {
        self.state().waiting.insert(name, waits_for.into());
        Task {
            name,
            readiness: self.clone(),
        }
    }

    /// Says something about `name` that doesn't block readiness, or nothing any more (`None`).
    pub fn remark(&self, name: &str, text: Option<String>) {
        let mut state = self.state();
        match text {
            Some(text) => state.remarks.insert(name.to_owned(), text),
            None => state.remarks.remove(name),
        };
    }

    /// Whether nothing blocks, and the page that says so: a line for each thing waited for, then the remarks.
    pub fn report(&self) -> (bool, String) {
        let state = self.state();
        let ready = state.waiting.is_empty();
        let mut page = String::from(if ready { "ready\n" } else { "not ready\n" });
        for (name, text) in &state.waiting {
            let _ = writeln!(page, "waiting: {name}: {text}");
        }
        for (name, text) in &state.remarks {
            let _ = writeln!(page, "remark: {name}: {text}");
        }
        (ready, page)
    }

    /// A panic elsewhere must not make readiness unreadable: the state is a map of texts, valid at any time.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Says anew what is missing.
    pub fn note(&self, waits_for: impl Into<String>) {
        let waits_for = waits_for.into();
        self.readiness.state().waiting.insert(self.name, waits_for);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut state = self.readiness.state();
        state.waiting.remove(self.name);
        let left: Vec<&str> = state.waiting.keys().copied().collect();
        if left.is_empty() {
            tracing::info!(done = self.name, "ready");
        } else {
            tracing::info!(done = self.name, waiting = left.join(", "), "not ready yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_no_task_is_left_and_until_then_the_page_says_what_is_missing() {
        let readiness = Readiness::default();
        let watches = readiness.block("watches", "the first list of services");
        let certificate = readiness.block("certificate", "Secret a/b");
        drop(certificate);
        watches.note("the first list of pods");
        assert_eq!(
            readiness.report(),
            (
                false,
                "not ready\nwaiting: watches: the first list of pods\n".to_owned()
            )
        );
        drop(watches);
        assert_eq!(readiness.report(), (true, "ready\n".to_owned()));
    }

    #[test]
    fn a_remark_is_shown_and_blocks_nothing() {
        let readiness = Readiness::default();
        readiness.remark("pods", Some("cannot be listed: forbidden".to_owned()));
        assert_eq!(
            readiness.report(),
            (
                true,
                "ready\nremark: pods: cannot be listed: forbidden\n".to_owned()
            )
        );
        readiness.remark("pods", None);
        assert_eq!(readiness.report().1, "ready\n");
    }
}
