//! DestinationRule: what applies to traffic for a host after routing.

use std::collections::BTreeMap;

use super::connection_pool::{ConnectionPoolSettings, OutlierDetection};
use super::load_balancer::LoadBalancerSettings;
use super::message::{Spec, enums, messages};
use super::string_match::{LabelWorkloadSelector, PortSelector};
use super::tls::ClientTLSSettings;
use crate::api::kind::Kind;

messages! {
    /// What applies to traffic for a host after routing: policies, and the subsets that routes can name.
    #[schemars(extend("required" = ["host"]))]
    pub struct DestinationRuleSpec {
        /// Name of a service in the registry, or a name with a wildcard as its first label. A short name is completed
        /// with this object's namespace.
        #[schemars(extend("x-kubernetes-validations" = [{"rule": "size(self) > 0", "message": "host must not be empty"}]))]
        pub host: String,
        /// Policies for all subsets and ports, unless these say otherwise.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named sets of the host's endpoints.
        pub subsets: Vec<Subset>,
        /// Namespaces whose workloads see this object: `.` for its own, `*` for all. Empty means the default of the mesh.
        pub export_to: Vec<String>,
        /// Workloads of this namespace whose traffic the rule applies to; all when unset.
        pub workload_selector: Option<LabelWorkloadSelector>,
    }

    /// A named set of the host's endpoints.
    #[schemars(extend("required" = ["name"]))]
    pub struct Subset {
        /// The name that routes use.
        pub name: String,
        /// Labels that the endpoints have, all of them.
        pub labels: BTreeMap<String, String>,
        /// Policies for the subset; what they leave out comes from the host's.
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// Policies for traffic to a host or a subset.
    pub struct TrafficPolicy {
        /// Choice of the endpoint.
        pub load_balancer: Option<Box<LoadBalancerSettings>>,
        /// Limits on connections and requests.
        pub connection_pool: Option<Box<ConnectionPoolSettings>>,
        /// Ejection of endpoints that fail.
        pub outlier_detection: Option<Box<OutlierDetection>>,
        /// TLS to the endpoints.
        pub tls: Option<Box<ClientTLSSettings>>,
        /// Policies for single ports; nothing is inherited from the policies beside this list.
        #[schemars(extend("maxItems" = 4096))]
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Sends the traffic through a tunnel.
        pub tunnel: Option<Box<TunnelSettings>>,
        /// Sends the PROXY protocol ahead of the traffic.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Share of requests that may be retries.
        pub retry_budget: Option<RetryBudget>,
    }

    /// Policies for one port of a host.
    pub struct PortTrafficPolicy {
        /// The port on the host.
        pub port: Option<PortSelector>,
        /// Choice of the endpoint.
        pub load_balancer: Option<Box<LoadBalancerSettings>>,
        /// Limits on connections and requests.
        pub connection_pool: Option<Box<ConnectionPoolSettings>>,
        /// Ejection of endpoints that fail.
        pub outlier_detection: Option<Box<OutlierDetection>>,
        /// TLS to the endpoints.
        pub tls: Option<Box<ClientTLSSettings>>,
    }

    /// A tunnel for TCP or TLS traffic.
    #[schemars(extend("required" = ["targetHost", "targetPort"]))]
    pub struct TunnelSettings {
        /// `CONNECT` (the default) or `POST`.
        pub protocol: String,
        /// Where the tunnel leads: a name or an address.
        pub target_host: String,
        /// The port there.
        pub target_port: u32,
    }

    /// The PROXY protocol.
    pub struct ProxyProtocol {
        /// Its version.
        pub version: ProxyProtocolVersion,
    }

    /// Limits retries to a share of the requests.
    pub struct RetryBudget {
        /// Percent of the active and pending requests that may be retries; 20 when unset.
        #[schemars(range(min = 0, max = 100), extend("nullable" = true))]
        pub percent: Option<f64>,
        /// Retries that are always allowed; 3 when unset.
        pub min_retry_concurrency: u32,
        /// Over how long requests are counted.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub budget_interval: Option<crate::api::parse::Duration>,
    }
}

enums! {
    /// Versions of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// The text form.
        #[default]
        V1,
        /// The binary form.
        V2,
    }
}

impl Spec for DestinationRuleSpec {
    const KIND: Kind = Kind::DestinationRule;
}
