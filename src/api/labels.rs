//! Labels that are read or written, under Istio's names and with Istio's meaning.

/// On a pod (as an annotation too, which is older): whether it is injected, `"true"` or `"false"`.
pub const INJECT: &str = "sidecar.istio.io/inject";

/// On a namespace: `enabled` or `disabled`. Both mean the same, and where they differ, `disabled` wins.
pub const INJECTION_SWITCHES: [&str; 2] = ["injection", "istio-injection"];

/// On a namespace, a pod or a routing object: the revision of the control plane that is in charge of it.
pub const REVISION: &str = "istio.io/rev";

/// On a pod: the name of its service in telemetry.
pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";

/// On a pod: the version of its service in telemetry.
pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";

/// On a pod: whether its proxy takes mutual TLS, `istio` or `disabled`.
pub const TLS_MODE: &str = "security.istio.io/tlsMode";

/// On a pod: the network by which others know it.
pub const NETWORK: &str = "topology.istio.io/network";
