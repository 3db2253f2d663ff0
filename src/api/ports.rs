//! Port numbers that mean something to a mesh.

/// The ports that a proxy and its agent use themselves, on which neither an application nor a gateway's server can
/// listen: Istio's list of the ports that a sidecar uses.
pub const OF_THE_PROXY: [u16; 10] = [
    15000, // Envoy's admin interface
    15001, // outbound traffic
    15002, // failure detection
    15004, // debug interface
    15006, // inbound traffic
    15008, // HBONE
    15020, // the agent: merged metrics, health, probes
    15021, // readiness
    15053, // DNS
    15090, // Envoy's metrics
];

/// The first port that every process may bind.
pub const FIRST_UNPRIVILEGED: u16 = 1024;
