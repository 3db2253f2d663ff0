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

/// The first minor version of Kubernetes 1 in which native sidecars are stable and always on.
const NATIVE_SIDECARS: u32 = 33;

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

fn runs_native_sidecars(node: &Node) -> bool {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    info.and_then(|info| minor(&info.kubelet_version))
        .is_some_and(|minor| minor >= NATIVE_SIDECARS)
}

/// The minor version in `v1.33.4-gke.100`.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.trim_start_matches('v').split('.');
    (parts.next()? == "1").then_some(())?;
    let digits = parts.next()?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_what_vendors_make_of_it() {
        assert_eq!(minor("v1.36.3"), Some(36));
        assert_eq!(minor("v1.32.9-eks-5c9c"), Some(32));
        assert_eq!(minor("v1.33+k3s1"), Some(33));
        assert_eq!(minor("v2.0.0"), None);
        assert_eq!(minor(""), None);
    }
}
