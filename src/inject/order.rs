//! The order of containers, which is the order in which the kubelet starts them.

use serde_json::{Map, Value};

use super::{
    context::{INIT, PROXY, VALIDATION},
    pod::name_of,
};

/// Starts a core dump's set-up in some installations' own templates.
const CORE_DUMP: &str = "enable-core-dump";

/// Puts the injected containers where the layout wants them; the user's keep their order.
pub(super) fn order(spec: &mut Map<String, Value>, native: bool, proxy_first: bool) {
    if let Some(Value::Array(init)) = spec.get_mut("initContainers") {
        // Capture before the user's init containers only where a proxy already runs for them: in the classic
        // layout they would have no network.
        let rank = |item: &Value| match (name_of(item), native) {
            (VALIDATION, _) => 1,
            (INIT, true) => 0,
            (PROXY, true) => 2,
            (CORE_DUMP, true) => 3,
            (INIT, false) => 5,
            (CORE_DUMP, false) => 6,
            _ => 4,
        };
        init.sort_by_key(rank);
    }
    if let Some(Value::Array(containers)) = spec.get_mut("containers") {
        containers.sort_by_key(|item| (name_of(item) == PROXY) != proxy_first);
    }
}
