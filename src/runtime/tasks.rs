//! The long tasks of the process, all in one set: none of them may end before it is asked to.

use std::{collections::HashMap, time::Duration};

use anyhow::{anyhow, bail};
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::sleep,
};

use super::{
    readiness::Readiness,
    shutdown::{Signals, Trigger},
};

/// How long tasks may take to come to an end; less than the 30 s that kubelet grants by default.
const GRACE: Duration = Duration::from_secs(25);

/// Named tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tasks {
    /// Starts a task. It must go on until it is asked to end.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits for a signal, or for a task that ends early, which is an error; then asks all tasks to end and waits
    /// for them. A second signal aborts.
    ///
    /// # Errors
    /// When a task ended early, panicked, or didn't end in time, and after a second signal.
    pub async fn supervise(
        mut self,
        mut signals: Signals,
        trigger: Trigger,
        readiness: Readiness,
    ) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "shutting down");
                Ok(())
            }
            Some(ended) = self.set.join_next_with_id() => Err(self.early_end(ended)),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "shutting down");
        }
        let _ending = readiness.block("shutdown", "the process is ending");
        trigger.pull();
        tokio::select! {
            drained = self.drain() => drained?,
            signal = signals.next() => bail!("{signal} during shutdown: aborted while waiting for {}", self.left()),
            () = sleep(GRACE) => bail!("shutdown: {} did not end within {GRACE:?}", self.left()),
        }
        outcome
    }

    fn early_end(&mut self, ended: Result<(Id, ()), JoinError>) -> anyhow::Error {
        match ended {
            Ok((id, ())) => anyhow!("task {} ended although nobody asked it to", self.take(id)),
            Err(error) => anyhow!("task {}: {error}", self.take(error.id())),
        }
    }

    /// Waits for the tasks, all of which have been asked to end.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.set.join_next_with_id().await {
            match ended {
                Ok((id, ())) => {
                    let name = self.take(id);
                    tracing::debug!(task = name, "ended");
                }
                Err(_) => outcome = Err(self.early_end(ended)),
            }
        }
        outcome
    }

    fn take(&mut self, id: Id) -> String {
        self.names.remove(&id).unwrap_or_default()
    }

    fn left(&self) -> String {
        let mut names: Vec<&str> = self.names.values().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shutdown, *};

    #[tokio::test]
    async fn a_task_that_ends_early_ends_the_process_and_is_named() {
        let (trigger, shutdown) = shutdown::channel();
        let mut tasks = Tasks::default();
        tasks.spawn("patient", shutdown.clone().requested());
        tasks.spawn("hasty", async {});
        let signals = Signals::install().unwrap();
        let outcome = tasks
            .supervise(signals, trigger, Readiness::default())
            .await;
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains("hasty") && !error.contains("patient"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_panic_is_an_early_end() {
        let (trigger, _shutdown) = shutdown::channel();
        let mut tasks = Tasks::default();
        tasks.spawn("broken", async { panic!("by test") });
        let signals = Signals::install().unwrap();
        let outcome = tasks
            .supervise(signals, trigger, Readiness::default())
            .await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }
}
