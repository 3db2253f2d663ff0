//! The kinds of objects that Outrigger reads, and how the API server names them.

use std::fmt;

/// API group of Istio's traffic management objects.
pub const NETWORKING_GROUP: &str = "networking.istio.io";

/// A kind of object that takes part in the model, whichever version it is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// How requests to a host are routed.
    VirtualService,
    /// What applies to traffic after routing: subsets, load balancing, connection pools, TLS.
    DestinationRule,
    /// Ports and hosts that a proxy at the edge listens for.
    Gateway,
    /// A service that is added to the registry by hand.
    ServiceEntry,
    /// What the proxy of a workload reaches and accepts.
    Sidecar,
    /// One workload that is no pod.
    WorkloadEntry,
    /// A template for workloads that are no pods.
    WorkloadGroup,
    /// Settings of the proxy itself.
    ProxyConfig,
    /// Patches to generated Envoy configuration.
    EnvoyFilter,
    /// A Kubernetes Service.
    Service,
    /// A Kubernetes Namespace.
    Namespace,
    /// A Kubernetes Pod.
    Pod,
    /// A Kubernetes Secret, read only where the namespace allows it.
    Secret,
}

impl Kind {
    /// The kinds of `networking.istio.io`: those whose CRDs Outrigger ships, and whose status it writes.
    pub const ISTIO: [Kind; 9] = [
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::Gateway,
        Kind::ServiceEntry,
        Kind::Sidecar,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
        Kind::ProxyConfig,
        Kind::EnvoyFilter,
    ];

    /// The kinds of Kubernetes' core group that the model reads.
    pub const CORE: [Kind; 4] = [Kind::Service, Kind::Namespace, Kind::Pod, Kind::Secret];

    /// Every kind, Istio's first.
    pub fn all() -> impl Iterator<Item = Kind> {
        Self::ISTIO.into_iter().chain(Self::CORE)
    }

    /// The kinds that are read in the whole cluster: all but Secrets, of which the namespaces are named one by one.
    pub fn cluster_wide() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| *kind != Kind::Secret)
    }

    /// The name in an object's `kind` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::VirtualService => "VirtualService",
            Kind::DestinationRule => "DestinationRule",
            Kind::Gateway => "Gateway",
            Kind::ServiceEntry => "ServiceEntry",
            Kind::Sidecar => "Sidecar",
            Kind::WorkloadEntry => "WorkloadEntry",
            Kind::WorkloadGroup => "WorkloadGroup",
            Kind::ProxyConfig => "ProxyConfig",
            Kind::EnvoyFilter => "EnvoyFilter",
            Kind::Service => "Service",
            Kind::Namespace => "Namespace",
            Kind::Pod => "Pod",
            Kind::Secret => "Secret",
        }
    }

    /// The name of the resource in URLs, RBAC rules and webhook rules.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::VirtualService => "virtualservices",
            Kind::DestinationRule => "destinationrules",
            Kind::Gateway => "gateways",
            Kind::ServiceEntry => "serviceentries",
            Kind::Sidecar => "sidecars",
            Kind::WorkloadEntry => "workloadentries",
            Kind::WorkloadGroup => "workloadgroups",
            Kind::ProxyConfig => "proxyconfigs",
            Kind::EnvoyFilter => "envoyfilters",
            Kind::Service => "services",
            Kind::Namespace => "namespaces",
            Kind::Pod => "pods",
            Kind::Secret => "secrets",
        }
    }

    /// The API group; empty for Kubernetes' core group.
    pub fn group(self) -> &'static str {
        if self.is_istio() {
            NETWORKING_GROUP
        } else {
            ""
        }
    }

    /// The versions that are served, the newest first. All versions of a kind share one schema, so an object reads
    /// the same through each of them.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Kind::EnvoyFilter => &["v1alpha3"],
            Kind::ProxyConfig => &["v1beta1"],
            Kind::Service | Kind::Namespace | Kind::Pod | Kind::Secret => &["v1"],
            _ => &["v1", "v1beta1", "v1alpha3"],
        }
    }

    /// `apiVersion` with the newest version.
    pub fn api_version(self) -> String {
        let version = self.versions().first().copied().unwrap_or("v1");
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self != Kind::Namespace
    }

    /// Whether this is one of [`Kind::ISTIO`].
    pub fn is_istio(self) -> bool {
        !Self::CORE.contains(&self)
    }

    /// The kind that an object's `apiVersion` and `kind` name; `None` for kinds that the model does not read, and for
    /// versions that Istio never served. The Gateway of the Kubernetes Gateway API is another kind.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::all().find(|known| {
            known.as_str() == kind && known.group() == group && known.versions().contains(&version)
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_found_in_every_served_version() {
        for kind in Kind::all() {
            for version in kind.versions() {
                let api_version = if kind.is_istio() {
                    format!("{NETWORKING_GROUP}/{version}")
                } else {
                    (*version).to_owned()
                };
                assert_eq!(Kind::of(&api_version, kind.as_str()), Some(kind));
            }
            assert_eq!(Kind::of(&kind.api_version(), kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn kinds_of_other_groups_and_versions_are_unknown() {
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1", "Gateway"), None);
        assert_eq!(Kind::of("networking.istio.io/v1", "EnvoyFilter"), None);
        assert_eq!(Kind::of("networking.istio.io/v2", "VirtualService"), None);
        assert_eq!(Kind::of("v1", "VirtualService"), None);
        assert_eq!(Kind::of("", ""), None);
    }
}
