//! Annotations that are read or written: Istio's, Kubernetes' and our own (`outrigger.dev/…`).

/// On a Service: the namespaces, separated by commas, whose Gateways may add ports to it besides those of its own
/// namespace; `*` is every namespace.
pub const ALLOW_GATEWAYS_FROM: &str = "outrigger.dev/allow-gateways-from";

/// On a Service or Gateway: `"false"` leaves the ports to people.
pub const MANAGE_PORTS: &str = "outrigger.dev/manage-ports";

/// On a Gateway: which of its servers' ports get which port on every node, as in `8088=30080,8443=30443`.
pub const NODE_PORTS: &str = "outrigger.dev/node-ports";

/// On any object: codes of messages that are not to be said about it, separated by commas; `*` is all. Istio's.
pub const ANALYZE_SUPPRESS: &str = "galley.istio.io/analyze-suppress";
