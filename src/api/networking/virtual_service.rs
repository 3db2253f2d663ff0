//! VirtualService: how requests to a host are routed.

use std::collections::BTreeMap;

use super::http::{
    CorsPolicy, HTTPDirectResponse, HTTPFaultInjection, HTTPMirrorPolicy, HTTPRedirect, HTTPRetry,
    HTTPRewrite, Headers,
};
use super::message::{Spec, messages};
use super::string_match::{Destination, Percent, StringMatch};
use crate::api::kind::Kind;
use crate::api::parse::Duration;

messages! {
    /// How requests to some hosts are routed: HTTP, TLS and TCP routes, each list in order of precedence.
    pub struct VirtualServiceSpec {
        /// The hosts whose traffic these routes take: DNS names, short names of services in this namespace, names
        /// with a wildcard as their first label, or IP addresses. Empty only where another VirtualService delegates
        /// to this one.
        pub hosts: Vec<String>,
        /// Gateways (`name`, or `namespace/name`) at which the routes apply; the reserved word `mesh` stands for all
        /// sidecars. Empty means `mesh`.
        pub gateways: Vec<String>,
        /// Routes of HTTP traffic, the first match wins.
        pub http: Vec<HTTPRoute>,
        /// Routes of TLS and HTTPS traffic that is passed through, chosen by SNI.
        pub tls: Vec<TLSRoute>,
        /// Routes of other TCP traffic.
        pub tcp: Vec<TCPRoute>,
        /// Namespaces whose workloads see this object: `.` for its own, `*` for all, `~` for none. Empty means the
        /// default of the mesh.
        pub export_to: Vec<String>,
    }

    /// What happens to HTTP requests that match.
    pub struct HTTPRoute {
        /// Name for logs and metrics.
        pub name: String,
        /// The conditions of which one must hold; empty matches every request.
        pub r#match: Vec<HTTPMatchRequest>,
        /// Destinations that share the matching requests by weight.
        pub route: Vec<HTTPRouteDestination>,
        /// Answers with a redirect instead of routing.
        pub redirect: Option<Box<HTTPRedirect>>,
        /// Answers with a fixed response instead of routing.
        pub direct_response: Option<HTTPDirectResponse>,
        /// Hands the request to the routes of another VirtualService, one without hosts.
        pub delegate: Option<Delegate>,
        /// Changes path and authority before the request goes on.
        pub rewrite: Option<Box<HTTPRewrite>>,
        /// Time for the whole request, retries included. Unset means no limit.
        pub timeout: Option<Duration>,
        /// When and how often failed requests are tried again.
        pub retries: Option<Box<HTTPRetry>>,
        /// Faults to inject, for tests of clients.
        pub fault: Option<Box<HTTPFaultInjection>>,
        /// Also sends the requests here; the answers are thrown away.
        pub mirror: Option<Destination>,
        /// Also sends the requests to each of these; the answers are thrown away.
        pub mirrors: Vec<HTTPMirrorPolicy>,
        /// Deprecated: whole percent of requests that are mirrored; `mirrorPercentage` takes its place.
        #[schemars(extend("nullable" = true))]
        pub mirror_percent: Option<u32>,
        /// Deprecated: an older spelling of `mirrorPercent`.
        #[serde(rename = "mirror_percent")]
        #[schemars(extend("nullable" = true))]
        pub mirror_percent_snake: Option<u32>,
        /// Share of the requests that `mirror` receives; all when unset.
        pub mirror_percentage: Option<Percent>,
        /// Cross-origin resource sharing.
        pub cors_policy: Option<Box<CorsPolicy>>,
        /// Header changes for all destinations of the route.
        pub headers: Option<Box<Headers>>,
    }

    /// Another VirtualService that routes the request on.
    pub struct Delegate {
        /// Its name.
        pub name: String,
        /// Its namespace; empty means that of the delegating VirtualService.
        pub namespace: String,
    }

    /// Conditions on an HTTP request, all of which must hold.
    pub struct HTTPMatchRequest {
        /// Name for logs and metrics, added to the route's name.
        pub name: String,
        /// Path; compared case-sensitively unless `ignoreUriCase` is set.
        pub uri: Option<StringMatch>,
        /// URI scheme.
        pub scheme: Option<StringMatch>,
        /// HTTP method.
        pub method: Option<StringMatch>,
        /// Authority (Host header).
        pub authority: Option<StringMatch>,
        /// Headers by lower-case name; an empty matcher asks only for presence.
        pub headers: BTreeMap<String, StringMatch>,
        /// Port of the host that the request was sent to.
        pub port: u32,
        /// Labels of the client's workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways at which the condition applies, instead of the VirtualService's.
        pub gateways: Vec<String>,
        /// Query parameters by name.
        pub query_params: BTreeMap<String, StringMatch>,
        /// Whether exact and prefix matches of `uri` ignore case.
        pub ignore_uri_case: bool,
        /// Headers that must not match so.
        pub without_headers: BTreeMap<String, StringMatch>,
        /// Namespace of the client's workload.
        pub source_namespace: String,
        /// Prefix for statistics of matching requests.
        pub stat_prefix: String,
    }

    /// One of the destinations that share a route's requests.
    #[schemars(extend("required" = ["destination"]))]
    pub struct HTTPRouteDestination {
        /// Where the requests go.
        pub destination: Option<Destination>,
        /// Share, relative to the sum of the route's weights. A single destination gets everything.
        #[schemars(extend("x-kubernetes-validations" = [{"rule": "self >= 0", "message": "weight must not be negative"}]))]
        pub weight: i32,
        /// Header changes for this destination.
        pub headers: Option<Headers>,
    }

    /// What happens to TLS connections that match.
    #[schemars(extend("required" = ["match"]))]
    pub struct TLSRoute {
        /// The conditions of which one must hold.
        pub r#match: Vec<TLSMatchAttributes>,
        /// Destinations that share the matching connections by weight.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a TLS connection, all of which must hold.
    #[schemars(extend("required" = ["sniHosts"]))]
    pub struct TLSMatchAttributes {
        /// Server names (SNI), each one of the VirtualService's hosts or covered by one; a wildcard prefix is allowed.
        pub sni_hosts: Vec<String>,
        /// Addresses or CIDR blocks of the original destination.
        pub destination_subnets: Vec<String>,
        /// Port of the host that the connection was made to.
        pub port: u32,
        /// Labels of the client's workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways at which the condition applies, instead of the VirtualService's.
        pub gateways: Vec<String>,
        /// Namespace of the client's workload.
        pub source_namespace: String,
    }

    /// What happens to TCP connections that match.
    pub struct TCPRoute {
        /// The conditions of which one must hold; empty matches every connection.
        pub r#match: Vec<L4MatchAttributes>,
        /// Destinations that share the matching connections by weight.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a TCP connection, all of which must hold.
    pub struct L4MatchAttributes {
        /// Addresses or CIDR blocks of the original destination.
        pub destination_subnets: Vec<String>,
        /// Port of the host that the connection was made to.
        pub port: u32,
        /// Address or CIDR block of the client.
        pub source_subnet: String,
        /// Labels of the client's workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways at which the condition applies, instead of the VirtualService's.
        pub gateways: Vec<String>,
        /// Namespace of the client's workload.
        pub source_namespace: String,
    }

    /// One of the destinations that share a TLS or TCP route's connections.
    #[schemars(extend("required" = ["destination"]))]
    pub struct RouteDestination {
        /// Where the connections go.
        pub destination: Option<Destination>,
        /// Share, relative to the sum of the route's weights. A single destination gets everything.
        #[schemars(extend("x-kubernetes-validations" = [{"rule": "self >= 0", "message": "weight must not be negative"}]))]
        pub weight: i32,
    }
}

impl Spec for VirtualServiceSpec {
    const KIND: Kind = Kind::VirtualService;
}
