//! EnvoyFilter: patches to generated Envoy configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::message::{Spec, enums, messages};
use super::string_match::WorkloadSelector;
use crate::api::kind::Kind;

messages! {
    /// Patches to the Envoy configuration that is generated for some workloads.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "!(has(self.workloadSelector) && has(self.targetRefs))", "message": "only one of workloadSelector, targetRefs can be set"}
    ]))]
    pub struct EnvoyFilterSpec {
        /// Workloads of this namespace that it is for; all when unset. In the mesh's root namespace it is for all namespaces.
        pub workload_selector: Option<WorkloadSelector>,
        /// Objects that it is for, instead of workloads.
        #[schemars(length(max = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// The patches, in order.
        pub config_patches: Vec<EnvoyConfigObjectPatch>,
        /// Order among EnvoyFilters, smaller first.
        pub priority: i32,
    }

    /// An object that a policy is for.
    #[schemars(extend("required" = ["kind", "name"]))]
    pub struct PolicyTargetReference {
        /// API group; empty for Kubernetes' core group.
        #[schemars(length(max = 253), regex(pattern = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))]
        pub group: String,
        /// Kind.
        #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
        pub kind: String,
        /// Name.
        #[schemars(length(min = 1, max = 253))]
        pub name: String,
        /// Must be empty: references do not cross namespaces.
        #[schemars(extend("x-kubernetes-validations" = [{"rule": "size(self) == 0", "message": "references to other namespaces are not supported"}]))]
        pub namespace: String,
    }

    /// One patch.
    pub struct EnvoyConfigObjectPatch {
        /// What is patched.
        pub apply_to: ApplyTo,
        /// Where.
        pub r#match: Option<EnvoyConfigObjectMatch>,
        /// How.
        pub patch: Option<Patch>,
    }

    /// Where a patch applies.
    #[schemars(extend(
        "x-one-of" = [["listener", "routeConfiguration", "cluster", "waypoint"]],
        "x-kubernetes-validations" = [{
            "rule": "has(self.waypoint) == (has(self.context) && self.context == 'WAYPOINT')",
            "message": "waypoint must be set with context WAYPOINT, and only with it"
        }]
    ))]
    pub struct EnvoyConfigObjectMatch {
        /// Which configuration.
        pub context: PatchContext,
        /// Which proxies.
        pub proxy: Option<ProxyMatch>,
        /// Which listener.
        pub listener: Option<ListenerMatch>,
        /// Which route configuration.
        pub route_configuration: Option<RouteConfigurationMatch>,
        /// Which cluster.
        pub cluster: Option<ClusterMatch>,
        /// Which part of a waypoint.
        pub waypoint: Option<WaypointMatch>,
    }

    /// Proxies by version and metadata.
    pub struct ProxyMatch {
        /// RE2 regular expression for the proxy's version.
        pub proxy_version: String,
        /// Metadata of the proxy's node, compared exactly.
        pub metadata: BTreeMap<String, String>,
    }

    /// A cluster.
    pub struct ClusterMatch {
        /// Port of the service.
        pub port_number: u32,
        /// Full name of the service.
        pub service: String,
        /// Subset of the service.
        pub subset: String,
        /// Name of the cluster, whole.
        pub name: String,
    }

    /// A route configuration.
    pub struct RouteConfigurationMatch {
        /// Port that it is for.
        pub port_number: u32,
        /// Name of the Gateway's port.
        pub port_name: String,
        /// Gateway, as `namespace/name`.
        pub gateway: String,
        /// A virtual host in it.
        pub vhost: Option<VirtualHostMatch>,
        /// Name of the route configuration, whole.
        pub name: String,
    }

    /// A virtual host.
    pub struct VirtualHostMatch {
        /// Name: `host:port` for those that are generated.
        pub name: String,
        /// A domain of it.
        pub domain_name: String,
        /// A route in it.
        pub route: Option<RouteMatch>,
    }

    /// A route of a virtual host.
    pub struct RouteMatch {
        /// Name of the route.
        pub name: String,
        /// What the route does.
        pub action: RouteMatchAction,
    }

    /// A listener.
    pub struct ListenerMatch {
        /// Its port.
        pub port_number: u32,
        /// Reserved by Istio; has no effect.
        pub port_name: String,
        /// A filter chain in it.
        pub filter_chain: Option<FilterChainMatch>,
        /// Name of a listener filter in it.
        pub listener_filter: String,
        /// Its name, whole.
        pub name: String,
    }

    /// A filter chain.
    pub struct FilterChainMatch {
        /// Its name.
        pub name: String,
        /// Server name (SNI) that it is for.
        pub sni: String,
        /// `raw_buffer` or `tls`.
        pub transport_protocol: String,
        /// Application protocols (ALPN), comma-separated.
        pub application_protocols: String,
        /// A network filter in it.
        pub filter: Option<FilterMatch>,
        /// Destination port that it is for.
        pub destination_port: u32,
        /// Name of its transport socket.
        pub transport_socket: String,
    }

    /// A network filter.
    pub struct FilterMatch {
        /// Its name.
        pub name: String,
        /// A filter within it: an HTTP filter of the HTTP connection manager.
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// A filter within a network filter.
    pub struct SubFilterMatch {
        /// Its name.
        pub name: String,
    }

    /// A part of a waypoint's configuration.
    pub struct WaypointMatch {
        /// Port of the service.
        #[schemars(schema_with = "super::schema::port_number")]
        pub port_number: u32,
        /// A network filter.
        pub filter: Option<FilterMatch>,
        /// A route.
        pub route: Option<WaypointRouteMatch>,
    }

    /// A route of a waypoint.
    pub struct WaypointRouteMatch {
        /// Its name.
        pub name: String,
    }

    /// How the configuration is changed.
    pub struct Patch {
        /// The change.
        pub operation: PatchOperation,
        /// Envoy configuration, in JSON.
        #[schemars(schema_with = "super::schema::any_object")]
        pub value: Map<String, Value>,
        /// Where an added filter goes among the others.
        pub filter_class: FilterClass,
    }
}

enums! {
    /// What is patched.
    pub enum ApplyTo {
        /// Not given.
        #[default]
        Invalid,
        /// A listener.
        Listener,
        /// A filter chain of a listener.
        FilterChain,
        /// A network filter of a filter chain.
        NetworkFilter,
        /// An HTTP filter of the HTTP connection manager.
        HttpFilter,
        /// A route configuration.
        RouteConfiguration,
        /// A virtual host of a route configuration.
        VirtualHost,
        /// A route of a virtual host.
        HttpRoute,
        /// A cluster.
        Cluster,
        /// An extension's configuration that is delivered apart (ECDS).
        ExtensionConfig,
        /// The bootstrap configuration.
        Bootstrap,
        /// A listener filter.
        ListenerFilter,
    }

    /// Which configuration is patched.
    pub enum PatchContext {
        /// All of it.
        #[default]
        Any,
        /// Sidecars, for traffic to their workload.
        SidecarInbound,
        /// Sidecars, for traffic from their workload.
        SidecarOutbound,
        /// Gateways.
        Gateway,
        /// Waypoints.
        Waypoint,
    }

    /// What a route does.
    pub enum RouteMatchAction {
        /// Anything.
        #[default]
        Any,
        /// Routes to a cluster.
        Route,
        /// Redirects.
        Redirect,
        /// Answers by itself.
        DirectResponse,
    }

    /// The change that a patch makes.
    pub enum PatchOperation {
        /// Not given.
        #[default]
        Invalid,
        /// Merged into what is there; lists are appended to.
        Merge,
        /// Added to a list.
        Add,
        /// Taken out.
        Remove,
        /// Put before what matches, or first.
        InsertBefore,
        /// Put after what matches, or last.
        InsertAfter,
        /// Put first.
        InsertFirst,
        /// Takes the place of the filter that matches.
        Replace,
        /// Merged into what is there; lists are replaced.
        MergeAndReplaceList,
    }

    /// Where an added filter goes among the others.
    pub enum FilterClass {
        /// The control plane decides.
        #[default]
        Unspecified,
        /// After authentication.
        Authn,
        /// After authorization.
        Authz,
        /// Before statistics.
        Stats,
    }
}

impl Spec for EnvoyFilterSpec {
    const KIND: Kind = Kind::EnvoyFilter;
}
