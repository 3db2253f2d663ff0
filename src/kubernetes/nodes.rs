//! Whether every node's kubelet runs native sidecars (init containers that stay), which injection needs to know.

use std::pin::pin;

use tokio::sync::watch;

use super::{
    engine::{Changes, News},
    watch::State,
};
use crate::{api::kind::Kind, inject::nodes::runs_native_sidecars, world::NodeSpec};

/// Publishes whether all nodes of the Snapshots run native sidecars, until `shutdown` is ready. Where nodes could never be
/// listed, the answer is no: the classic layout runs everywhere. Nodes that are known count on while they cannot be read.
pub async fn run(
    mut changes: Changes,
    native: watch::Sender<Option<bool>>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut before = None;
    loop {
        let news = tokio::select! {
            () = &mut shutdown => return,
            news = changes.next() => news,
        };
        let state = news.inputs.get(&Kind::Node.into()).cloned();
        if state == before && !news.changed.keys().any(|key| key.kind == Kind::Node) {
            continue;
        }
        let is_known = matches!(state, Some(State::Watched { .. })) || has_nodes(&news);
        let all = Some(is_known && all_run_native(&news));
        native.send_if_modified(|native| std::mem::replace(native, all) != all);
        before = state;
    }
}

fn has_nodes(news: &News) -> bool {
    let world = news.snapshot.world();
    world.all::<NodeSpec>().values().next().is_some()
}

fn all_run_native(news: &News) -> bool {
    let world = news.snapshot.world();
    world.all::<NodeSpec>().values().all(|node| {
        node.spec()
            .is_some_and(|node| runs_native_sidecars(&node.kubelet_version))
    })
}
