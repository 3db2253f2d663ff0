//! Which ports of a Service belong to Outrigger, read from `metadata.managedFields`.
//!
//! The API server keeps, for each field manager, the set of fields that it last wrote. The ports of a Service are a
//! list map keyed by `port` and `protocol`, so an owned port appears under `f:spec` → `f:ports` →
//! `k:{"port":8088,"protocol":"TCP"}`, and the member `.` says that the manager owns the item and not only some
//! field of it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The field manager under which ports are added to the Services of gateways.
pub const GATEWAY_FIELD_MANAGER: &str = "outrigger-gateways";

/// The ConfigMap, in the namespace of a gateway's pods, with the ports that they must listen on.
pub const GATEWAY_PORTS_CONFIG_MAP: &str = "outrigger-gateway-ports";

/// How a port is owned by [`GATEWAY_FIELD_MANAGER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// No other manager claims the port: it goes when it is no longer applied.
    Exclusive,
    /// Another manager claims the same port: it stays when it is no longer applied.
    Shared,
}

/// The TCP ports of a Service that were applied by [`GATEWAY_FIELD_MANAGER`]. Empty for nearly every Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppliedPorts(BTreeMap<u16, Ownership>);

impl AppliedPorts {
    /// Reads `metadata.managedFields`. What does not have the documented form owns nothing.
    pub fn read(managed_fields: &Value) -> Self {
        let entries = managed_fields.as_array().map_or(&[][..], Vec::as_slice);
        let (ours, others): (Vec<&Value>, Vec<&Value>) =
            entries.iter().partition(|entry| is_ours(entry));
        let mut ports: BTreeMap<u16, Ownership> = ours
            .into_iter()
            .flat_map(owned_tcp_ports)
            .map(|port| (port, Ownership::Exclusive))
            .collect();
        if ports.is_empty() {
            return Self(ports);
        }
        for port in others.into_iter().flat_map(owned_tcp_ports) {
            ports
                .entry(port)
                .and_modify(|ownership| *ownership = Ownership::Shared);
        }
        Self(ports)
    }

    /// How `port` is owned; `None`: not by us.
    pub fn of(&self, port: u16) -> Option<Ownership> {
        self.0.get(&port).copied()
    }

    /// Whether nothing is owned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owned ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Ownership)> + '_ {
        self.0.iter().map(|(port, ownership)| (*port, *ownership))
    }
}

impl FromIterator<(u16, Ownership)> for AppliedPorts {
    fn from_iter<I: IntoIterator<Item = (u16, Ownership)>>(ports: I) -> Self {
        Self(ports.into_iter().collect())
    }
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == GATEWAY_FIELD_MANAGER && entry["operation"] == "Apply"
}

/// The TCP ports that an entry of `managedFields` owns as items.
fn owned_tcp_ports(entry: &Value) -> impl Iterator<Item = u16> + '_ {
    entry["fieldsV1"]["f:spec"]["f:ports"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, fields)| fields.get(".").is_some())
        .filter_map(|(key, _)| tcp_port(key))
}

/// The port of an item key such as `k:{"port":8088,"protocol":"TCP"}`.
fn tcp_port(key: &str) -> Option<u16> {
    let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    if key["protocol"] != "TCP" {
        return None;
    }
    u16::try_from(key["port"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, ports: Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:ports": ports}}})
    }

    #[test]
    fn ports_under_our_apply_are_ours_and_others_are_not() {
        let fields = json!([
            entry(
                "helm",
                "Update",
                json!({".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}),
            ),
            entry(
                GATEWAY_FIELD_MANAGER,
                "Apply",
                json!({"k:{\"port\":8088,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}),
            ),
        ]);
        let ports = AppliedPorts::read(&fields);
        assert_eq!(ports.of(8088), Some(Ownership::Exclusive));
        assert_eq!(ports.of(80), None);
    }

    #[test]
    fn a_port_that_another_manager_claims_as_well_is_shared() {
        let port = json!({"k:{\"port\":8088,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}});
        let fields = json!([
            entry(GATEWAY_FIELD_MANAGER, "Apply", port.clone()),
            entry("argocd-controller", "Apply", port),
        ]);
        assert_eq!(
            AppliedPorts::read(&fields).of(8088),
            Some(Ownership::Shared)
        );
    }

    #[test]
    fn a_person_who_edits_one_field_of_our_port_does_not_claim_it() {
        let fields = json!([
            entry(
                GATEWAY_FIELD_MANAGER,
                "Apply",
                json!({"k:{\"port\":8088,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}),
            ),
            entry(
                "kubectl-edit",
                "Update",
                json!({"k:{\"port\":8088,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}),
            ),
        ]);
        assert_eq!(
            AppliedPorts::read(&fields).of(8088),
            Some(Ownership::Exclusive)
        );
    }

    #[test]
    fn what_has_another_form_owns_nothing() {
        for fields in [
            json!(null),
            json!({"manager": GATEWAY_FIELD_MANAGER}),
            json!([1, {"manager": GATEWAY_FIELD_MANAGER, "operation": "Apply"}]),
            json!([entry(
                GATEWAY_FIELD_MANAGER,
                "Apply",
                json!({"k:{\"port\":99999,\"protocol\":\"TCP\"}": {".": {}}, "k:nonsense": {".": {}},
                       "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}}})
            )]),
            json!([entry(
                GATEWAY_FIELD_MANAGER,
                "Update",
                json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}}})
            )]),
        ] {
            assert!(AppliedPorts::read(&fields).is_empty(), "{fields}");
        }
    }
}
