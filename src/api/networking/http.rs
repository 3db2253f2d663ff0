//! What an HTTP route of a VirtualService does with a request.

use std::collections::BTreeMap;

use super::message::{enums, messages};
use super::string_match::{Destination, Percent, StringMatch};
use crate::api::parse::Duration;

messages! {
    /// Changes to the headers of requests and of responses.
    pub struct Headers {
        /// Applied to the request before it goes on.
        pub request: Option<HeaderOperations>,
        /// Applied to the response before it goes back.
        pub response: Option<HeaderOperations>,
    }

    /// Changes to headers.
    pub struct HeaderOperations {
        /// Headers that get these values, whatever they had.
        pub set: BTreeMap<String, String>,
        /// Headers to which these values are appended.
        pub add: BTreeMap<String, String>,
        /// Names of headers that are taken out.
        pub remove: Vec<String>,
    }

    /// A redirect to another place.
    #[schemars(extend("x-one-of" = [["port", "derivePort"]]))]
    pub struct HTTPRedirect {
        /// The new path, whole.
        pub uri: String,
        /// Takes the place of the path's part that `match.uri.prefix` matched.
        pub prefix_rewrite: String,
        /// The new authority.
        pub authority: String,
        /// The new port.
        pub port: Option<u32>,
        /// How the new port follows from the request.
        pub derive_port: Option<RedirectPortSelection>,
        /// The new scheme.
        pub scheme: String,
        /// Status: 301 when unset, or 302, 303, 307, 308.
        pub redirect_code: u32,
    }

    /// A response that the proxy gives by itself.
    #[schemars(extend("required" = ["status"]))]
    pub struct HTTPDirectResponse {
        /// HTTP status.
        pub status: u32,
        /// Body; empty when unset.
        pub body: Option<HTTPBody>,
    }

    /// The body of a response that the proxy gives by itself.
    #[schemars(extend("x-one-of" = [["string", "bytes"]]))]
    pub struct HTTPBody {
        /// As text.
        pub string: Option<String>,
        /// As bytes in base64.
        #[schemars(extend("format" = "byte"))]
        pub bytes: Option<String>,
    }

    /// Changes to path and authority.
    pub struct HTTPRewrite {
        /// Takes the place of the path, or of the part that `match.uri.prefix` matched.
        pub uri: String,
        /// The new authority.
        pub authority: String,
        /// Rewrites the path by a regular expression.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A replacement by regular expression.
    pub struct RegexRewrite {
        /// RE2 regular expression for the parts that are replaced.
        pub r#match: String,
        /// What they become; `\1` and so on stand for groups.
        pub rewrite: String,
    }

    /// When and how often a failed request is tried again.
    pub struct HTTPRetry {
        /// How often, the first try not counted; 0 turns retries off.
        pub attempts: i32,
        /// Time for each try; the route's timeout when unset.
        pub per_try_timeout: Option<Duration>,
        /// Conditions in Envoy's words, comma-separated; HTTP status codes are allowed among them.
        pub retry_on: String,
        /// Whether retries may go to another locality.
        #[schemars(extend("nullable" = true))]
        pub retry_remote_localities: Option<bool>,
        /// Whether retries avoid hosts that were tried already.
        #[schemars(extend("nullable" = true))]
        pub retry_ignore_previous_hosts: Option<bool>,
        /// Shortest wait between tries; it grows from there.
        pub backoff: Option<Duration>,
    }

    /// Cross-origin resource sharing.
    pub struct CorsPolicy {
        /// Deprecated: origins, compared exactly; `allowOrigins` takes its place.
        pub allow_origin: Vec<String>,
        /// Origins that may make requests.
        pub allow_origins: Vec<StringMatch>,
        /// HTTP methods that they may use.
        pub allow_methods: Vec<String>,
        /// Request headers that they may send.
        pub allow_headers: Vec<String>,
        /// Response headers that they may read.
        pub expose_headers: Vec<String>,
        /// How long a preflight answer may be kept.
        pub max_age: Option<Duration>,
        /// Whether requests may carry credentials.
        #[schemars(extend("nullable" = true))]
        pub allow_credentials: Option<bool>,
        /// What becomes of preflight requests from other origins.
        pub unmatched_preflights: UnmatchedPreflights,
    }

    /// Faults to inject.
    pub struct HTTPFaultInjection {
        /// Delays requests.
        pub delay: Option<Delay>,
        /// Ends requests early with an error.
        pub abort: Option<Abort>,
    }

    /// A delay before requests go on.
    #[schemars(extend("x-one-of" = [["fixedDelay", "exponentialDelay"]]))]
    pub struct Delay {
        /// Deprecated: whole percent of requests; `percentage` takes its place.
        pub percent: i32,
        /// The delay.
        pub fixed_delay: Option<Duration>,
        /// Reserved by Istio; has no effect.
        pub exponential_delay: Option<Duration>,
        /// Share of requests that are delayed; all when unset.
        pub percentage: Option<Percent>,
    }

    /// An error instead of the destination's answer.
    #[schemars(extend("x-one-of" = [["httpStatus", "grpcStatus", "http2Error"]]))]
    pub struct Abort {
        /// HTTP status.
        pub http_status: Option<i32>,
        /// gRPC status, by name or number.
        pub grpc_status: Option<String>,
        /// Reserved by Istio; has no effect.
        pub http2_error: Option<String>,
        /// Share of requests that are ended; all when unset.
        pub percentage: Option<Percent>,
    }

    /// A destination that receives a copy of the requests.
    #[schemars(extend("required" = ["destination"]))]
    pub struct HTTPMirrorPolicy {
        /// Where the copies go.
        pub destination: Option<Destination>,
        /// Share of the requests; all when unset.
        pub percentage: Option<Percent>,
    }
}

enums! {
    /// How the port of a redirect follows from the request.
    pub enum RedirectPortSelection {
        /// 80 for HTTP, 443 for HTTPS.
        #[default]
        FromProtocolDefault,
        /// The port of the request.
        FromRequestPort,
    }

    /// What becomes of preflight requests whose origin is not allowed.
    pub enum UnmatchedPreflights {
        /// As `FORWARD`.
        #[default]
        Unspecified,
        /// They go on to the destination.
        Forward,
        /// The proxy answers them, without the headers that would allow the request.
        Ignore,
    }
}
