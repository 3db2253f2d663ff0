//! The end of the process: who asks for it, and how the parts learn of it.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Tells every part of the process to come to an end. Dropping it says so too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// A part's view of [`Trigger`].
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and what listens to it.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks every holder of a [`Shutdown`] to end.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Ready once the end was asked for; owned, so that it can move into a task.
    pub async fn requested(mut self) {
        // An error means that the trigger is gone, which asks for the end as well.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

/// The signals that ask this process to end: SIGTERM (kubelet) and SIGINT (a person).
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over both signals from the default action.
    ///
    /// # Errors
    /// When the handlers can't be installed.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal's name. Each call waits for one more signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_listens_learns_of_the_end_however_late_they_ask() {
        let (trigger, shutdown) = channel();
        let early = tokio::spawn(shutdown.clone().requested());
        trigger.pull();
        early.await.unwrap();
        shutdown.requested().await;
    }

    #[tokio::test]
    async fn a_lost_trigger_ends_the_parts_too() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.requested().await;
    }
}
