//! User and group of the proxy on OpenShift, where each namespace has a range of them.
//!
//! Facts: Istio's `pkg/kube/inject/openshift.go`. The application gets the first user of the range by OpenShift's own
//! admission, so the proxy takes the last.

use serde_json::Value;

use crate::api::metadata::Metadata;

use super::{context::PROXY, overrides::LISTS, pod::name_of};

const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";
const SUPPLEMENTAL_GROUPS: &str = "openshift.io/sa.scc.supplemental-groups";

/// User and group for the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub user: u64,
    pub group: u64,
}

/// What the namespace's annotations assign; `None` where they do not say.
pub(super) fn ids(namespace: &Metadata) -> Option<Ids> {
    let range = namespace.annotations.get(UID_RANGE)?;
    let groups = namespace
        .annotations
        .get(SUPPLEMENTAL_GROUPS)
        .filter(|groups| !groups.is_empty())
        .unwrap_or(range);
    Some(Ids {
        user: last(range)?,
        group: last(groups.split(',').next()?)?,
    })
}

/// The last number of a block, `START/SIZE` or `FIRST-LAST`.
fn last(block: &str) -> Option<u64> {
    let block = block.trim();
    if let Some((first, last)) = block.split_once('-') {
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        return (first <= last).then_some(last);
    }
    let (start, size) = block.split_once('/')?;
    let (start, size): (u64, u64) = (start.parse().ok()?, size.parse().ok()?);
    start.checked_add(size.checked_sub(1)?)
}

/// Takes the ids that OpenShift's admission gave to the author's own `istio-proxy` away: it gives every container of a
/// pod the same, and as the application's user the proxy would capture its own traffic.
pub(super) fn without_borrowed_ids(pod: &mut Value) {
    for field in ["runAsUser", "runAsGroup"] {
        let of_apps: Vec<Value> = containers(pod)
            .filter(|container| name_of(container) != PROXY)
            .filter_map(|container| container.get("securityContext")?.get(field).cloned())
            .collect();
        for list in LISTS {
            let items = pod.pointer_mut(&format!("/spec/{list}"));
            let proxies = items
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .filter(|container| name_of(container) == PROXY);
            for proxy in proxies {
                if let Some(Value::Object(security)) = proxy.get_mut("securityContext")
                    && security.get(field).is_some_and(|id| of_apps.contains(id))
                {
                    security.shift_remove(field);
                }
            }
        }
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    LISTS
        .iter()
        .filter_map(|list| pod.get("spec")?.get(*list)?.as_array())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(annotations: Value) -> Option<Ids> {
        ids(&Metadata::of(
            &json!({ "metadata": { "annotations": annotations } }),
        ))
    }

    #[test]
    fn the_last_of_each_range_is_the_proxy_s() {
        assert_eq!(
            of(json!({ UID_RANGE: "1000620000/10000" })),
            Some(Ids {
                user: 1_000_629_999,
                group: 1_000_629_999
            })
        );
        assert_eq!(
            of(json!({ UID_RANGE: "100-200", SUPPLEMENTAL_GROUPS: "5000/10,9000/10" })),
            Some(Ids {
                user: 200,
                group: 5009
            })
        );
    }

    #[test]
    fn ranges_that_are_none_assign_nothing() {
        for range in ["", "7", "a/b", "1/0", "9-1", "18446744073709551615/2"] {
            assert_eq!(of(json!({ UID_RANGE: range })), None, "{range}");
        }
        assert_eq!(of(json!({})), None);
    }

    #[test]
    fn the_application_s_ids_are_taken_from_the_proxy() {
        let mut pod = json!({ "spec": { "containers": [
            { "name": "app", "securityContext": { "runAsUser": 5, "runAsGroup": 6 } },
            { "name": "istio-proxy", "securityContext": { "runAsUser": 5, "runAsGroup": 7 } },
        ]}});
        without_borrowed_ids(&mut pod);
        assert_eq!(
            pod["spec"]["containers"][1]["securityContext"],
            json!({ "runAsGroup": 7 })
        );
    }
}
