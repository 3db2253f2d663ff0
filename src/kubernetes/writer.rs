//! The life of a writer of the leader: what makes it look again at what must be written.

use std::{pin::pin, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    engine::{Changes, News},
    lease::Leadership,
};

/// Brings what is live to what the Snapshots say, for as long as this replica leads.
pub(super) trait Writer {
    /// From one [`Writer::tick`] to the next.
    const TICK: Duration;

    /// A new Snapshot.
    fn take(&mut self, news: News);

    /// The Lease was gained or lost.
    fn lease_changed(&mut self);

    /// Time has passed: a write that was lost brings no event.
    fn tick(&mut self);

    /// Ready when a write has ended or another one is due. May be dropped and called again at any time.
    fn progress(&mut self) -> impl Future<Output = ()> + Send;

    /// Writes what is due, or starts to. Called after each of the above.
    fn write(&mut self) -> impl Future<Output = ()> + Send;

    /// Waits for the writes in flight.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

/// Lets a writer work until `shutdown` is ready, then waits for its writes in flight.
pub(super) async fn run<W: Writer>(
    mut writer: W,
    mut changes: Changes,
    mut leadership: Leadership,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut tick = interval(W::TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            news = changes.next() => writer.take(news),
            () = leadership.changed() => writer.lease_changed(),
            () = writer.progress() => {}
            _ = tick.tick() => writer.tick(),
        }
        writer.write().await;
    }
    writer.finish().await;
}
