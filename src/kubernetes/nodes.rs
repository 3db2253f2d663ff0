//! Whether every node's kubelet runs native sidecars (init containers that stay), which injection needs to know.

use std::pin::pin;

use tokio::sync::watch;

use super::{engine::Changes, watch::State};
use crate::{
    api::kind::Kind,
    inject::nodes::runs_native_sidecars,
    world::{NodeSpec, World},
};

/// Publishes whether all nodes of the Snapshots run native sidecars, until `shutdown` is ready. Until nodes were listed
/// once, the answer is no: the classic layout runs everywhere. After that, the nodes that are known tell.
pub async fn run(
    mut changes: Changes,
    native: watch::Sender<Option<bool>>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut before = None;
    let mut judge = Judge::default();
    loop {
        let news = tokio::select! {
            () = &mut shutdown => return,
            news = changes.next() => news,
        };
        let state = news.inputs.get(&Kind::Node.into()).cloned();
        if state == before && !news.changed.keys().any(|key| key.kind == Kind::Node) {
            continue;
        }
        let all = Some(judge.all_run_native(state.as_ref(), news.snapshot.world()));
        native.send_if_modified(|native| std::mem::replace(native, all) != all);
        before = state;
    }
}

/// Remembers whether nodes were ever listed: if not, that none is known says nothing.
#[derive(Default)]
struct Judge {
    listed: bool,
}

impl Judge {
    fn all_run_native(&mut self, state: Option<&State>, world: &World) -> bool {
        let nodes = world.all::<NodeSpec>();
        // The news between a list and a refusal may have been passed over.
        self.listed |= matches!(state, Some(State::Watched { .. })) || !nodes.is_empty();
        self.listed
            && nodes.values().all(|node| {
                node.spec()
                    .is_some_and(|node| runs_native_sidecars(&node.kubelet_version))
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusal_after_a_list_does_not_bring_the_classic_layout_back() {
        let denied = State::Denied("no".to_owned());
        let watched = State::Watched { version: "v1" };
        let (mut judge, mut world) = (Judge::default(), World::default());
        assert!(
            !judge.all_run_native(Some(&denied), &world),
            "nothing is known"
        );
        let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
                              "status": {"nodeInfo": {"kubeletVersion": "v1.33.0"}}});
        world.apply(&node).unwrap();
        assert!(judge.all_run_native(Some(&watched), &world));
        assert!(judge.all_run_native(Some(&denied), &world));
        node["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.20.0");
        world.apply(&node).unwrap();
        assert!(!judge.all_run_native(Some(&denied), &world));
    }
}
