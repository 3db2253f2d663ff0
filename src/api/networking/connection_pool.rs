//! Limits on connections and requests, and ejection of endpoints that fail.

use super::message::{enums, messages};
use crate::api::parse::Duration;

messages! {
    /// Limits on connections and requests.
    pub struct ConnectionPoolSettings {
        /// For TCP, and so for HTTP as well.
        pub tcp: Option<TCPSettings>,
        /// For HTTP alone.
        pub http: Option<HTTPSettings>,
    }

    /// Limits on TCP connections.
    pub struct TCPSettings {
        /// Most connections to the destination.
        pub max_connections: i32,
        /// Time to make a connection; 10s when unset.
        pub connect_timeout: Option<Duration>,
        /// Keep-alive probes of the operating system.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Longest life of a connection.
        pub max_connection_duration: Option<Duration>,
        /// How long a TCP connection may be without traffic; 1h when unset, 0s means for ever.
        #[schemars(schema_with = "super::schema::any_duration")]
        pub idle_timeout: Option<Duration>,
    }

    /// Keep-alive probes of the operating system.
    pub struct TcpKeepalive {
        /// How many may stay unanswered.
        pub probes: u32,
        /// How long a connection is idle before the first.
        pub time: Option<Duration>,
        /// Time between them.
        pub interval: Option<Duration>,
    }

    /// Limits on HTTP requests.
    pub struct HTTPSettings {
        /// Most requests that wait for a connection.
        pub http1_max_pending_requests: i32,
        /// Most requests in flight (of HTTP/1.1 too).
        pub http2_max_requests: i32,
        /// Most requests on one connection; 0 means no limit.
        pub max_requests_per_connection: i32,
        /// Most retries in flight.
        pub max_retries: i32,
        /// How long a connection may be without requests; 1h when unset.
        pub idle_timeout: Option<Duration>,
        /// Whether HTTP/1.1 becomes HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Whether the client's protocol is kept; `h2UpgradePolicy` has no effect then.
        pub use_client_protocol: bool,
        /// Most streams in flight on one HTTP/2 connection.
        pub max_concurrent_streams: i32,
        /// PING frames that keep an HTTP/2 connection alive.
        pub http2_keep_alive: Option<HTTP2KeepAlive>,
    }

    /// PING frames that keep an HTTP/2 connection alive.
    pub struct HTTP2KeepAlive {
        /// Time between them.
        pub interval: Option<Duration>,
        /// How long an answer may take.
        pub timeout: Option<Duration>,
    }

    /// Ejection of endpoints that fail.
    pub struct OutlierDetection {
        /// Deprecated: `consecutive5xxErrors` and `consecutiveGatewayErrors` take its place.
        pub consecutive_errors: i32,
        /// Whether failures on this side (connecting) are counted apart from the endpoint's answers.
        pub split_external_local_origin_errors: bool,
        /// Local failures in a row that eject; 5 when unset, needs `splitExternalLocalOriginErrors`.
        #[schemars(extend("nullable" = true))]
        pub consecutive_local_origin_failures: Option<u32>,
        /// Gateway errors (502, 503, 504) in a row that eject; 0 turns this off.
        #[schemars(extend("nullable" = true))]
        pub consecutive_gateway_errors: Option<u32>,
        /// Server errors (5xx) in a row that eject; 5 when unset, 0 turns this off.
        #[schemars(extend("nullable" = true))]
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between sweeps; 10s when unset.
        pub interval: Option<Duration>,
        /// How long an endpoint is out the first time; it grows with every ejection. 30s when unset.
        pub base_ejection_time: Option<Duration>,
        /// Most percent of the endpoints that may be out; 10 when unset.
        pub max_ejection_percent: i32,
        /// Ejection is off while fewer percent of the endpoints are healthy.
        pub min_health_percent: i32,
        /// HTTP status codes that count as errors, instead of 5xx.
        #[schemars(inner(range(min = 100, max = 599)))]
        pub outlier_detection_http_error_codes: Vec<u32>,
    }
}

enums! {
    /// Whether HTTP/1.1 connections become HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        #[default]
        Default,
        /// They stay.
        DoNotUpgrade,
        /// They become HTTP/2.
        Upgrade,
    }
}
