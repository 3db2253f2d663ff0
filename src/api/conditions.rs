//! The types of conditions that Outrigger writes into the status of Istio's kinds.

/// The object in itself is valid.
pub const ACCEPTED: &str = "Accepted";
/// Everything that the object names exists.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Another object says otherwise, and wins.
pub const CONFLICTED: &str = "Conflicted";
/// Every port of a Gateway's servers is on a Service. Only on Gateways.
pub const PORTS_EXPOSED: &str = "PortsExposed";
/// The summary.
pub const READY: &str = "Ready";
/// Waiting cannot cure it.
pub const STALLED: &str = "Stalled";

/// All of them; conditions of other types belong to somebody else and stay as they are.
pub const OURS: [&str; 6] = [
    ACCEPTED,
    RESOLVED_REFS,
    CONFLICTED,
    PORTS_EXPOSED,
    READY,
    STALLED,
];

/// The field manager under which they, `observedGeneration` and `validationMessages` are written.
pub const MANAGER: &str = "outrigger-status";
