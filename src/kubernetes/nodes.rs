//! Whether every node's kubelet runs native sidecars (init containers that stay), which injection needs to know.

use std::{collections::BTreeMap, pin::pin};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::sync::watch;

use super::watch::LIFE;
use crate::inject::nodes::runs_native_sidecars;

/// Watches nodes and publishes whether all of them run native sidecars, until `shutdown` is ready. While nodes can't
/// be listed, the answer is no: the classic layout runs everywhere.
pub async fn run(
    client: Client,
    native: watch::Sender<Option<bool>>,
    shutdown: impl Future<Output = ()>,
) {
    let nodes = watcher::watcher(
        Api::<Node>::all(client),
        watcher::Config::default().timeout(LIFE),
    );
    let mut nodes = pin!(nodes.default_backoff());
    let mut shutdown = pin!(shutdown);
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            () = &mut shutdown => return,
            Some(event) = nodes.next() => event,
        };
        match event {
            Ok(Event::Init) => known.clear(),
            Ok(Event::InitApply(node)) => {
                known.insert(node.name_any(), runs_native_sidecars(&node));
                continue;
            }
            Ok(Event::Apply(node)) => {
                known.insert(node.name_any(), runs_native_sidecars(&node));
            }
            Ok(Event::Delete(node)) => {
                known.remove(&node.name_any());
            }
            Ok(Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot watch nodes; trying again");
                native.send_if_modified(|native| {
                    let unknown = native.is_none();
                    native.get_or_insert(false);
                    unknown
                });
                continue;
            }
        }
        let all = Some(known.values().all(|native| *native));
        native.send_if_modified(|native| std::mem::replace(native, all) != all);
    }
}
