//! Choice of the endpoint that a request goes to.

use std::collections::BTreeMap;

use super::message::{enums, messages};
use crate::api::parse::Duration;

messages! {
    /// Choice of the endpoint.
    #[schemars(extend("x-one-of" = [["simple", "consistentHash", "backendUtilization"]]))]
    pub struct LoadBalancerSettings {
        /// One of the simple algorithms.
        pub simple: Option<SimpleLB>,
        /// Requests that are alike go to the same endpoint.
        pub consistent_hash: Option<ConsistentHashLB>,
        /// By the utilization that endpoints report.
        pub backend_utilization: Option<BackendUtilizationLB>,
        /// Preference for near endpoints; takes the place of the mesh's setting.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Spreads traffic over zones in step with where its clients are.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated: how long a new endpoint's share grows; `warmup` takes its place.
        pub warmup_duration_secs: Option<Duration>,
        /// How the share of a new endpoint grows.
        pub warmup: Option<WarmupConfiguration>,
    }

    /// How the share of a new endpoint grows.
    #[schemars(extend("required" = ["duration"]))]
    pub struct WarmupConfiguration {
        /// How long it grows.
        pub duration: Option<Duration>,
        /// Percent of its full share that it begins with; 10 when unset.
        #[schemars(range(min = 0, max = 100), extend("nullable" = true))]
        pub minimum_percent: Option<f64>,
        /// How fast it grows; 1 (the default) is linear.
        #[schemars(range(min = 0), extend("nullable" = true))]
        pub aggression: Option<f64>,
    }

    /// Requests that are alike go to the same endpoint.
    #[schemars(extend("x-one-of" = [["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"], ["ringHash", "maglev"]]))]
    pub struct ConsistentHashLB {
        /// Alike by this header.
        pub http_header_name: Option<String>,
        /// Alike by this cookie.
        pub http_cookie: Option<HTTPCookie>,
        /// Alike by the client's address.
        pub use_source_ip: Option<bool>,
        /// Alike by this query parameter.
        pub http_query_parameter_name: Option<String>,
        /// The ring algorithm.
        pub ring_hash: Option<RingHash>,
        /// The Maglev algorithm.
        pub maglev: Option<MagLev>,
        /// Deprecated: `ringHash.minimumRingSize` takes its place.
        pub minimum_ring_size: u64,
    }

    /// A cookie that keeps a client at its endpoint.
    #[schemars(extend("required" = ["name"]))]
    pub struct HTTPCookie {
        /// Its name.
        pub name: String,
        /// Its path.
        pub path: String,
        /// Its lifetime: the proxy makes the cookie when it is absent; 0 makes a session cookie, unset makes none.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub ttl: Option<Duration>,
        /// Further attributes.
        pub attributes: Vec<HTTPCookieAttribute>,
    }

    /// An attribute of a cookie.
    #[schemars(extend("required" = ["name"]))]
    pub struct HTTPCookieAttribute {
        /// Its name.
        pub name: String,
        /// Its value, if it takes one.
        pub value: String,
    }

    /// Consistent hashing with a ring.
    pub struct RingHash {
        /// Least number of places on the ring; more places spread more evenly. 1024 when unset.
        pub minimum_ring_size: u64,
    }

    /// Consistent hashing with Maglev's table.
    pub struct MagLev {
        /// Size of the table, a prime number; 65537 when unset.
        pub table_size: u64,
    }

    /// Choice by the utilization that endpoints report (ORCA).
    pub struct BackendUtilizationLB {
        /// How long an endpoint must report before its weight counts.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub weight_stabilization_period: Option<Duration>,
        /// After how long without a report its weight no longer counts.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub weight_expiration_period: Option<Duration>,
        /// How often weights are computed anew.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub weight_update_period: Option<Duration>,
        /// How much an endpoint's errors take from its weight, in percent.
        pub error_utilization_penalty_percent: u32,
        /// Names of the reported metrics that make up the utilization.
        pub metric_names_for_computing_utilization: Vec<String>,
    }

    /// Preference for near endpoints. Localities are written `region/zone/sub-zone`, with `*` for any.
    pub struct LocalityLoadBalancerSetting {
        /// Explicit shares by the client's locality.
        pub distribute: Vec<Distribute>,
        /// Where traffic goes when its own region fails.
        pub failover: Vec<Failover>,
        /// Labels that make an endpoint preferred when it has them in common with the client, in order.
        pub failover_priority: Vec<String>,
        /// Turns the preference on or off; the mesh's setting when unset.
        #[schemars(extend("nullable" = true))]
        pub enabled: Option<bool>,
    }

    /// Shares of the traffic that comes from one locality.
    pub struct Distribute {
        /// The client's locality.
        pub from: String,
        /// Percent by the endpoints' locality; together 100.
        pub to: BTreeMap<String, u32>,
    }

    /// Where traffic goes when its own region fails.
    pub struct Failover {
        /// The region that fails.
        pub from: String,
        /// The region that takes over.
        pub to: String,
    }

    /// Spreads traffic over zones in step with where its clients are.
    pub struct ZoneAwareLoadBalancerSetting {
        /// Turns it on or off.
        #[schemars(extend("nullable" = true))]
        pub enabled: Option<bool>,
        /// Least number of endpoints for it to apply; 6 when unset.
        #[schemars(range(min = 1), extend("nullable" = true))]
        pub min_cluster_size: Option<u32>,
        /// Where traffic goes when its own region fails.
        pub failover: Vec<Failover>,
        /// Labels that make an endpoint preferred when it has them in common with the client, in order.
        pub failover_priority: Vec<String>,
    }
}

enums! {
    /// Simple algorithms.
    pub enum SimpleLB {
        /// The default of the mesh (least requests).
        #[default]
        Unspecified,
        /// Deprecated: as `LEAST_REQUEST`.
        LeastConn,
        /// Any healthy endpoint.
        Random,
        /// To the address that the client asked for, without any choice.
        Passthrough,
        /// One after the other.
        RoundRobin,
        /// The one of two with fewer requests in flight.
        LeastRequest,
    }
}
