//! Tells the pods of gateways which ports to listen on: a ConfigMap in their namespace, which they mount.
//!
//! Until xDS brings listeners, this is how a port that appeared on a Service ends in Envoy and not in a refused
//! connection. The ConfigMap is made where a pod mounts it, and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::ownership::{GATEWAY_FIELD_MANAGER, GATEWAY_PORTS_CONFIG_MAP},
    gateway::Listeners,
    kubernetes::lease::{Leadership, WriteError},
};

/// The key of the ConfigMap that holds the ports: one a line, ascending.
const KEY: &str = "ports";
/// When a failed write is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What must be listened on, by namespace.
type Desired = BTreeMap<Arc<str>, Listeners>;

/// The writer of the ConfigMaps.
pub(super) struct ListenerWriter {
    client: Client,
    leadership: Leadership,
    /// What all ConfigMaps say, if that is known.
    settled: Option<Desired>,
    retry_at: Option<Instant>,
}

impl ListenerWriter {
    pub(super) fn new(client: Client, leadership: Leadership) -> Self {
        Self {
            client,
            leadership,
            settled: None,
            retry_at: None,
        }
    }

    /// Forgets what the ConfigMaps say.
    pub(super) fn look_again(&mut self) {
        self.settled = None;
    }

    /// Brings every ConfigMap up to date, and returns when to try again what failed.
    pub(super) async fn write(&mut self, desired: &Desired) -> Option<Instant> {
        let now = Instant::now();
        if self.settled.as_ref() == Some(desired) {
            return None;
        }
        if let Some(retry_at) = self.retry_at.filter(|at| *at > now) {
            return Some(retry_at);
        }
        match self.reconcile(desired).await {
            Ok(()) => {
                self.settled = Some(desired.clone());
                self.retry_at = None;
            }
            Err(WriteError::NotLeader) => self.retry_at = None,
            Err(error) => {
                tracing::warn!(%error, "cannot tell gateways which ports to listen on; trying again");
                self.retry_at = Some(now + RETRY);
            }
        }
        self.retry_at
    }

    async fn reconcile(&self, desired: &Desired) -> Result<(), WriteError> {
        let named = format!("metadata.name={GATEWAY_PORTS_CONFIG_MAP}");
        let all: Api<ConfigMap> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&named);
        let live = self.leadership.write(all.list(&params)).await?;
        let mut failure = None;
        for (namespace, ports) in differing(desired, &live.items) {
            // A namespace that is being deleted must not keep the others waiting.
            if let Err(error) = self.apply(&namespace, ports).await {
                tracing::warn!(namespace, %error, "cannot write the ConfigMap {GATEWAY_PORTS_CONFIG_MAP}");
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn apply(&self, namespace: &str, ports: String) -> Result<(), WriteError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": GATEWAY_PORTS_CONFIG_MAP, "namespace": namespace },
            "data": { KEY: ports },
        });
        let params = PatchParams::apply(GATEWAY_FIELD_MANAGER);
        let patch = Patch::Apply(&map);
        let write = api.patch(GATEWAY_PORTS_CONFIG_MAP, &params, &patch);
        self.leadership.write(write).await?;
        tracing::info!(
            namespace,
            ports = ports.trim_end().replace('\n', ","),
            "told gateways which ports to listen on"
        );
        Ok(())
    }
}

/// The namespaces whose ConfigMap must be written, with what it must say. One that nobody needs any more is emptied:
/// pods that still mount it stop listening.
fn differing(desired: &Desired, live: &[ConfigMap]) -> Vec<(String, String)> {
    let live: BTreeMap<&str, &str> = live
        .iter()
        .filter_map(|map| {
            let ports = map.data.as_ref().and_then(|data| data.get(KEY));
            let namespace = map.metadata.namespace.as_deref()?;
            Some((namespace, ports.map_or("", String::as_str)))
        })
        .collect();
    let followed = desired
        .iter()
        .filter(|(_, listeners)| listeners.followed)
        .map(|(namespace, _)| &**namespace);
    let namespaces: BTreeSet<&str> = live.keys().copied().chain(followed).collect();
    namespaces
        .into_iter()
        .filter_map(|namespace| {
            let mut text = String::new();
            for port in desired.get(namespace).iter().flat_map(|one| &one.ports) {
                // Writing to a String never fails.
                let _ = writeln!(text, "{port}");
            }
            (live.get(namespace) != Some(&text.as_str())).then(|| (namespace.to_owned(), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(namespace: &str, ports: &str) -> ConfigMap {
        let mut map = ConfigMap {
            data: Some(BTreeMap::from([(KEY.to_owned(), ports.to_owned())])),
            ..ConfigMap::default()
        };
        map.metadata.namespace = Some(namespace.to_owned());
        map
    }

    #[test]
    fn config_maps_are_made_where_they_are_followed_and_emptied_where_nobody_needs_them() {
        let listeners = |ports: &[u16], followed| Listeners {
            ports: ports.iter().copied().collect(),
            followed,
        };
        let desired = Desired::from([
            ("new".into(), listeners(&[8088, 8080], true)),
            ("same".into(), listeners(&[8080], true)),
            ("without-pods".into(), listeners(&[8080, 8088], false)),
            ("istio".into(), listeners(&[8080], false)),
        ]);
        let live = [
            live("same", "8080\n"),
            live("without-pods", "8080\n"),
            live("old", "8080\n"),
            live("empty", ""),
        ];
        let expected = [
            ("new", "8080\n8088\n"),
            ("old", ""),
            ("without-pods", "8080\n8088\n"),
        ];
        let expected = expected.map(|(namespace, ports)| (namespace.to_owned(), ports.to_owned()));
        assert_eq!(differing(&desired, &live), expected);
    }
}
