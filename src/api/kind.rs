//! The kinds of objects that Outrigger reads, and how the API server names them: one table.

use std::fmt;

/// API group of Istio's traffic management objects.
pub const NETWORKING_GROUP: &str = "networking.istio.io";
const SECURITY_GROUP: &str = "security.istio.io";
const TELEMETRY_GROUP: &str = "telemetry.istio.io";
const EXTENSIONS_GROUP: &str = "extensions.istio.io";
const GATEWAY_API_GROUP: &str = "gateway.networking.k8s.io";
const ADMISSION_GROUP: &str = "admissionregistration.k8s.io";

/// What objects of a kind are to Outrigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Istio's traffic management: its CRD is ours to ship, its status ours to write.
    Networking,
    /// Istio's other kinds: their status is written too, their CRDs come from elsewhere.
    Policy,
    /// Kinds of Kubernetes that the API server always has.
    BuiltIn,
    /// Kinds of others whose CRDs may be installed.
    Foreign,
}

/// One row of the table.
struct Facts {
    kind: &'static str,
    plural: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    role: Role,
    namespaced: bool,
    bears_verdicts: bool,
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $name:ident = $kind:literal $plural:literal, $group:expr, $versions:expr, $role:ident, $scope:ident $(, $bears:ident)?;
    )*) => {
        /// A kind of object that takes part in the model, whichever version it is written in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $( $(#[$doc])* $name, )*
        }

        impl Kind {
            /// Every kind, in the order of the table: Istio's traffic management first.
            const ALL: &'static [Kind] = &[$( Kind::$name, )*];

            const fn facts(self) -> Facts {
                match self {
                    $( Kind::$name => Facts {
                        kind: $kind,
                        plural: $plural,
                        group: $group,
                        versions: &$versions,
                        role: Role::$role,
                        namespaced: kinds!(@ $scope),
                        bears_verdicts: false $( || kinds!(@ $bears) )?,
                    }, )*
                }
            }
        }
    };
    (@ Namespaced) => { true };
    (@ Cluster) => { false };
    (@ Essential) => { true };
}

kinds! {
    /// How requests to a host are routed.
    VirtualService = "VirtualService" "virtualservices", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// What applies to traffic after routing: subsets, load balancing, connection pools, TLS.
    DestinationRule = "DestinationRule" "destinationrules", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// Ports and hosts that a proxy at the edge listens for.
    Gateway = "Gateway" "gateways", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// A service that is added to the registry by hand.
    ServiceEntry = "ServiceEntry" "serviceentries", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// What the proxy of a workload reaches and accepts.
    Sidecar = "Sidecar" "sidecars", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// One workload that is no pod.
    WorkloadEntry = "WorkloadEntry" "workloadentries", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced, Essential;
    /// A template for workloads that are no pods.
    WorkloadGroup = "WorkloadGroup" "workloadgroups", NETWORKING_GROUP, ["v1", "v1beta1", "v1alpha3"], Networking, Namespaced;
    /// Settings of the proxy itself.
    ProxyConfig = "ProxyConfig" "proxyconfigs", NETWORKING_GROUP, ["v1beta1"], Networking, Namespaced;
    /// Patches to generated Envoy configuration.
    EnvoyFilter = "EnvoyFilter" "envoyfilters", NETWORKING_GROUP, ["v1alpha3"], Networking, Namespaced;
    /// Who may call a workload.
    AuthorizationPolicy = "AuthorizationPolicy" "authorizationpolicies", SECURITY_GROUP, ["v1", "v1beta1"], Policy, Namespaced;
    /// Whether a workload takes mutual TLS.
    PeerAuthentication = "PeerAuthentication" "peerauthentications", SECURITY_GROUP, ["v1", "v1beta1"], Policy, Namespaced;
    /// Which tokens of users a workload takes.
    RequestAuthentication = "RequestAuthentication" "requestauthentications", SECURITY_GROUP, ["v1", "v1beta1"], Policy, Namespaced;
    /// Metrics, access logs and traces of a workload.
    Telemetry = "Telemetry" "telemetries", TELEMETRY_GROUP, ["v1", "v1alpha1"], Policy, Namespaced;
    /// A WebAssembly filter of a workload's proxy.
    WasmPlugin = "WasmPlugin" "wasmplugins", EXTENSIONS_GROUP, ["v1alpha1"], Policy, Namespaced;
    /// A filter of a workload's proxy, in WebAssembly or Lua.
    TrafficExtension = "TrafficExtension" "trafficextensions", EXTENSIONS_GROUP, ["v1alpha1"], Policy, Namespaced;
    /// A Kubernetes Service.
    Service = "Service" "services", "", ["v1"], BuiltIn, Namespaced, Essential;
    /// A Kubernetes Namespace.
    Namespace = "Namespace" "namespaces", "", ["v1"], BuiltIn, Cluster, Essential;
    /// A Kubernetes Pod.
    Pod = "Pod" "pods", "", ["v1"], BuiltIn, Namespaced, Essential;
    /// A Kubernetes Secret, read only where the namespace allows it.
    Secret = "Secret" "secrets", "", ["v1"], BuiltIn, Namespaced;
    /// A Kubernetes Deployment.
    Deployment = "Deployment" "deployments", "apps", ["v1"], BuiltIn, Namespaced;
    /// A Kubernetes Node, for where its pods run.
    Node = "Node" "nodes", "", ["v1"], BuiltIn, Cluster;
    /// A Kubernetes ConfigMap: only those with an injector's configuration say anything.
    ConfigMap = "ConfigMap" "configmaps", "", ["v1"], BuiltIn, Namespaced;
    /// Webhooks that change objects, among them those that inject.
    MutatingWebhookConfiguration = "MutatingWebhookConfiguration" "mutatingwebhookconfigurations", ADMISSION_GROUP, ["v1"], BuiltIn, Cluster;
    /// Webhooks that refuse objects.
    ValidatingWebhookConfiguration = "ValidatingWebhookConfiguration" "validatingwebhookconfigurations", ADMISSION_GROUP, ["v1"], BuiltIn, Cluster;
    /// The definition of a kind.
    CustomResourceDefinition = "CustomResourceDefinition" "customresourcedefinitions", "apiextensions.k8s.io", ["v1"], BuiltIn, Cluster;
    /// A Gateway of the Kubernetes Gateway API, which is another kind than Istio's.
    KubernetesGateway = "Gateway" "gateways", GATEWAY_API_GROUP, ["v1", "v1beta1"], Foreign, Namespaced;
    /// An HTTPRoute of the Kubernetes Gateway API.
    HttpRoute = "HTTPRoute" "httproutes", GATEWAY_API_GROUP, ["v1", "v1beta1"], Foreign, Namespaced;
    /// A GRPCRoute of the Kubernetes Gateway API.
    GrpcRoute = "GRPCRoute" "grpcroutes", GATEWAY_API_GROUP, ["v1", "v1alpha2"], Foreign, Namespaced;
}

impl Kind {
    /// The kinds of `networking.istio.io`: those whose CRDs Outrigger ships.
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

    /// Every kind, Istio's first.
    pub fn all() -> impl Iterator<Item = Kind> {
        Self::ALL.iter().copied()
    }

    /// The kinds that are read in the whole cluster: all but Secrets, of which the namespaces are named one by one.
    pub fn cluster_wide() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| *kind != Kind::Secret)
    }

    /// The kinds whose status is written: [`Kind::ISTIO`] and Istio's policies.
    pub fn with_status() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| kind.has_status())
    }

    /// The kinds without which what is said about the others would be wrong.
    pub fn bearing_verdicts() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| kind.facts().bears_verdicts)
    }

    /// The name in an object's `kind` field.
    pub fn as_str(self) -> &'static str {
        self.facts().kind
    }

    /// The name of the resource in URLs, RBAC rules and webhook rules.
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// The plural, or for the one kind that shares its plural with another of the table, the plural with its group:
    /// what tells kinds apart in metrics and on debug pages.
    pub fn unique_plural(self) -> &'static str {
        match self {
            Kind::KubernetesGateway => "gateways.gateway.networking.k8s.io",
            kind => kind.plural(),
        }
    }

    /// The API group; empty for Kubernetes' core group.
    pub fn group(self) -> &'static str {
        self.facts().group
    }

    /// The versions that are served, the newest first. All versions of a kind share one schema, so an object reads
    /// the same through each of them.
    pub fn versions(self) -> &'static [&'static str] {
        self.facts().versions
    }

    /// `apiVersion` with the newest version.
    pub fn api_version(self) -> String {
        let version = self.versions().first().copied().unwrap_or("v1");
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// `plural.group`, as RBAC and CRDs name it; for the core group the plural alone.
    pub fn qualified_plural(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self.facts().namespaced
    }

    /// Whether this is one of [`Kind::ISTIO`].
    pub fn is_istio(self) -> bool {
        self.facts().role == Role::Networking
    }

    /// Whether this is one of [`Kind::with_status`].
    pub fn has_status(self) -> bool {
        matches!(self.facts().role, Role::Networking | Role::Policy)
    }

    /// Whether the API server has the kind from its start, without a CustomResourceDefinition.
    pub fn is_built_in(self) -> bool {
        self.facts().role == Role::BuiltIn
    }

    /// Whether only metadata is read of objects of this kind.
    pub fn is_metadata_alone(self) -> bool {
        matches!(self, Kind::Namespace | Kind::CustomResourceDefinition)
    }

    /// The kind that an object's `apiVersion` and `kind` name; `None` for kinds that the model does not read, and for
    /// versions that were never served.
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

/// Evaluates an expression with `$spec` standing for the type of one of [Istio's kinds](Kind::ISTIO); the arms that follow
/// are for the others, and may do the same with a type of theirs: `with!(type)`.
macro_rules! on_istio_kind {
    ($kind:expr, $spec:ident => $body:expr, $($others:tt)*) => {{
        use $crate::api::{kind::Kind, networking, policies};
        macro_rules! with {
            ($type:ty) => {{
                type $spec = $type;
                $body
            }};
        }
        match $kind {
            Kind::VirtualService => with!(networking::VirtualServiceSpec),
            Kind::DestinationRule => with!(networking::DestinationRuleSpec),
            Kind::Gateway => with!(networking::GatewaySpec),
            Kind::ServiceEntry => with!(networking::ServiceEntrySpec),
            Kind::Sidecar => with!(networking::SidecarSpec),
            Kind::WorkloadEntry => with!(networking::WorkloadEntrySpec),
            Kind::WorkloadGroup => with!(networking::WorkloadGroupSpec),
            Kind::ProxyConfig => with!(networking::ProxyConfigSpec),
            Kind::EnvoyFilter => with!(networking::EnvoyFilterSpec),
            Kind::AuthorizationPolicy => with!(policies::AuthorizationPolicySpec),
            Kind::PeerAuthentication => with!(policies::PeerAuthenticationSpec),
            Kind::RequestAuthentication => with!(policies::RequestAuthenticationSpec),
            Kind::Telemetry => with!(policies::TelemetrySpec),
            Kind::WasmPlugin => with!(policies::WasmPluginSpec),
            Kind::TrafficExtension => with!(policies::TrafficExtensionSpec),
            $($others)*
        }
    }};
}
pub(crate) use on_istio_kind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_found_in_every_served_version() {
        for kind in Kind::all() {
            for version in kind.versions() {
                let api_version = match kind.group() {
                    "" => (*version).to_owned(),
                    group => format!("{group}/{version}"),
                };
                assert_eq!(Kind::of(&api_version, kind.as_str()), Some(kind));
            }
            assert_eq!(Kind::of(&kind.api_version(), kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Kind::all().map(Kind::unique_plural).collect();
        assert_eq!(names.len(), Kind::all().count());
    }

    #[test]
    fn traffic_management_is_what_the_table_says() {
        let of_the_table: Vec<Kind> = Kind::all().filter(|kind| kind.is_istio()).collect();
        assert_eq!(of_the_table, Kind::ISTIO);
        assert!(Kind::ISTIO.iter().all(|kind| kind.has_status()));
    }

    #[test]
    fn kinds_of_other_groups_and_versions_are_unknown() {
        assert_eq!(
            Kind::of("gateway.networking.k8s.io/v1", "Gateway"),
            Some(Kind::KubernetesGateway)
        );
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1", "TCPRoute"), None);
        assert_eq!(Kind::of("networking.istio.io/v1", "EnvoyFilter"), None);
        assert_eq!(Kind::of("networking.istio.io/v2", "VirtualService"), None);
        assert_eq!(Kind::of("v1", "VirtualService"), None);
        assert_eq!(Kind::of("", ""), None);
    }
}
