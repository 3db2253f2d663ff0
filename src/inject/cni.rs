//! What a pod tells Istio's CNI plugin, which captures instead of `istio-init`: everything in annotations.

use serde_json::{Map, Value, json};

use super::{annotations as names, context::Context};

/// The network of the plugin, where multus chains it: as a name, and as an entry of multus' JSON.
const NETWORK: &str = "default/istio-cni";
const NETWORK_JSON: &str = r#"{"name": "istio-cni", "namespace": "default"}"#;

/// Annotations for the plugin.
pub(super) fn annotations(context: &Context<'_>) -> Map<String, Value> {
    let values = &context.config.values;
    let proxy = &values.global.proxy;
    let mut annotations = Map::new();
    let mut set = |name: &str, value: &str| annotations.insert(name.to_owned(), json!(value));
    if values.pilot.cni.provider == "multus" {
        let networks = context
            .pod
            .annotation(names::CNI_NETWORKS)
            .unwrap_or_default();
        set(names::CNI_NETWORKS, &with_network(networks));
    }
    set(names::INTERCEPTION_MODE, context.interception_mode());
    set(
        names::EXCLUDE_INBOUND_PORTS,
        &context.excluded_inbound_ports(),
    );
    let or_mesh = [
        (names::INCLUDE_OUTBOUND_IP_RANGES, &proxy.include_ip_ranges),
        (names::EXCLUDE_OUTBOUND_IP_RANGES, &proxy.exclude_ip_ranges),
        (names::INCLUDE_INBOUND_PORTS, &proxy.include_inbound_ports),
        (names::INCLUDE_OUTBOUND_PORTS, &proxy.include_outbound_ports),
        (names::EXCLUDE_OUTBOUND_PORTS, &proxy.exclude_outbound_ports),
    ];
    for (name, mesh) in or_mesh {
        if let Some(value) = context
            .optional_setting(name, mesh)
            .filter(|v| !v.is_empty())
        {
            set(name, value);
        }
    }
    annotations
}

/// Adds our network to multus' list, which is either names or JSON; a list that has it stays as it is.
fn with_network(networks: &str) -> String {
    let trimmed = networks.trim();
    if trimmed.is_empty() {
        return NETWORK.to_owned();
    }
    if let Some(list) = trimmed
        .strip_prefix('[')
        .and_then(|list| list.strip_suffix(']'))
    {
        let known = serde_json::from_str::<Vec<Value>>(trimmed).is_ok_and(|list| {
            let ours: Option<Value> = serde_json::from_str(NETWORK_JSON).ok();
            list.iter().any(|network| Some(network) == ours.as_ref())
        });
        // As text: the user's spelling of the other entries stays.
        return match list.trim_end() {
            _ if known => networks.to_owned(),
            "" => format!("[{NETWORK_JSON}]"),
            list => format!("[{list}, {NETWORK_JSON}]"),
        };
    }
    if trimmed.split(',').any(|name| name.trim() == NETWORK) {
        return networks.to_owned();
    }
    format!("{networks}, {NETWORK}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_network_is_added_once_in_either_form() {
        for (before, after) in [
            ("", "default/istio-cni"),
            ("macvlan-1", "macvlan-1, default/istio-cni"),
            ("a, b", "a, b, default/istio-cni"),
            (
                r#"[{"name": "a"}]"#,
                r#"[{"name": "a"}, {"name": "istio-cni", "namespace": "default"}]"#,
            ),
            ("[]", r#"[{"name": "istio-cni", "namespace": "default"}]"#),
        ] {
            assert_eq!(with_network(before), after);
            assert_eq!(with_network(after), after, "again");
        }
    }
}
