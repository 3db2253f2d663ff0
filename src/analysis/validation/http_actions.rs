//! What an HTTP route does with a request: redirects, rewrites, retries, faults, cross-origin sharing.

use crate::api::networking::{
    Abort, CorsPolicy, Delay, HTTPDirectResponse, HTTPFaultInjection, HTTPRedirect, HTTPRetry,
    HTTPRewrite, RegexRewrite,
};

use super::fields;
use super::http;
use super::regex;
use super::report::Field;

/// Conditions that `retryOn` takes besides HTTP status codes: Envoy's for HTTP and for gRPC.
const RETRY_CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Names of gRPC's status codes, in the order of their numbers.
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// HTTP's methods.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
];

/// Envoy keeps direct responses in memory: from here on it is a lot for each route.
const LARGE_BODY: usize = 100 * 1024;

/// The largest body that a direct response can have.
const LARGEST_BODY: usize = 1024 * 1024;

pub fn redirect(at: &Field<'_>, redirect: &HTTPRedirect) {
    let texts = [
        &redirect.uri,
        &redirect.prefix_rewrite,
        &redirect.authority,
        &redirect.scheme,
    ];
    if texts.iter().all(|text| text.is_empty())
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
    {
        at.invalid(
            "a redirect must change something: uri, prefixRewrite, authority, scheme or port",
        );
    }
    if !redirect.uri.is_empty() && !redirect.prefix_rewrite.is_empty() {
        at.member("prefixRewrite")
            .invalid("cannot stand beside uri");
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        at.member("derivePort").invalid("cannot stand beside port");
    }
    if let Some(port) = redirect.port {
        fields::optional_port(&at.member("port"), port);
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        at.member("scheme")
            .invalid(format!("{:?} is neither http nor https", redirect.scheme));
    }
    if !matches!(redirect.redirect_code, 0 | 300..=399) {
        at.member("redirectCode").invalid(format!(
            "{} is not a redirect's status; those are 3xx",
            redirect.redirect_code
        ));
    }
}

pub fn direct_response(at: &Field<'_>, response: &HTTPDirectResponse) {
    http_status(&at.member("status"), i64::from(response.status));
    at.within("body", &response.body, |at, body| {
        let size = match (&body.string, &body.bytes) {
            (Some(_), Some(_)) => return at.invalid("only one of string, bytes can be set"),
            (Some(text), None) => text.len(),
            // Four characters of base64 are three bytes, less the padding.
            (None, Some(base64)) => base64.trim_end_matches('=').len() * 3 / 4,
            (None, None) => 0,
        };
        if size > LARGEST_BODY {
            at.invalid(format!("{size} bytes are too many; the most is {LARGEST_BODY}"));
        } else if size > LARGE_BODY {
            at.questionable(format!("{size} bytes are kept in every proxy's memory; the body should stay below {LARGE_BODY}"));
        }
    });
}

fn http_status(at: &Field<'_>, status: i64) {
    if !(200..=599).contains(&status) {
        at.invalid(format!("{status} is not an HTTP status from 200 to 599"));
    }
}

pub fn rewrite(at: &Field<'_>, rewrite: &HTTPRewrite) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none()
    {
        at.invalid("a rewrite must change something: uri, uriRegexRewrite or authority");
    }
    if !rewrite.uri.is_empty() && rewrite.uri_regex_rewrite.is_some() {
        at.member("uriRegexRewrite")
            .invalid("cannot stand beside uri");
    }
    at.within(
        "uriRegexRewrite",
        &rewrite.uri_regex_rewrite,
        |at, rewrite: &RegexRewrite| {
            for (name, text) in [("match", &rewrite.r#match), ("rewrite", &rewrite.rewrite)] {
                if text.is_empty() {
                    at.member(name)
                        .invalid("must not be empty: match and rewrite go together");
                }
            }
            at.member("match").check(regex::check(&rewrite.r#match));
        },
    );
}

pub fn retries(at: &Field<'_>, retries: &HTTPRetry) {
    fields::not_negative(&at.member("attempts"), retries.attempts);
    let configured = retries.per_try_timeout.is_some()
        || !retries.retry_on.is_empty()
        || retries.retry_remote_localities.is_some()
        || retries.retry_ignore_previous_hosts.is_some()
        || retries.backoff.is_some();
    if retries.attempts == 0 && configured {
        at.member("attempts")
            .invalid("0 attempts turn retries off, yet they are configured");
    }
    fields::duration(&at.member("perTryTimeout"), &retries.per_try_timeout);
    fields::duration(&at.member("backoff"), &retries.backoff);
    if retries.retry_on.is_empty() {
        return;
    }
    for condition in retries.retry_on.split(',').map(str::trim) {
        let is_status = condition
            .parse::<u16>()
            .is_ok_and(|status| (100..600).contains(&status));
        if !is_status && !RETRY_CONDITIONS.contains(&condition) {
            let known = RETRY_CONDITIONS.join(", ");
            at.member("retryOn").invalid(format!(
                "{condition:?} is neither an HTTP status nor one of {known}"
            ));
        }
    }
}

pub fn cors(at: &Field<'_>, policy: &CorsPolicy) {
    at.each("allowOrigins", &policy.allow_origins, |at, origin| {
        if origin.exact.as_deref() == Some("") {
            at.member("exact")
                .invalid("an empty origin matches nothing");
        }
        if origin.exact.is_none() && origin.prefix.is_none() && origin.regex.is_none() {
            at.invalid("one of exact, prefix, regex is needed");
        }
        http::string_match(at, origin);
    });
    at.each("allowMethods", &policy.allow_methods, |at, method| {
        if method != "*" && !METHODS.contains(&method.as_str()) {
            at.invalid(format!(
                "{method:?} is not an HTTP method: {}",
                METHODS.join(", ")
            ));
        }
    });
    at.each("allowHeaders", &policy.allow_headers, |at, name| {
        http::listed_header(at, name)
    });
    at.each("exposeHeaders", &policy.expose_headers, |at, name| {
        http::listed_header(at, name)
    });
    fields::duration_or_zero(&at.member("maxAge"), &policy.max_age);
    if policy
        .max_age
        .is_some_and(|age| age.as_nanos() % 1_000_000_000 != 0)
    {
        at.member("maxAge").invalid("browsers count whole seconds");
    }
}

pub fn fault(at: &Field<'_>, fault: &HTTPFaultInjection) {
    if fault.abort.is_none() && fault.delay.is_none() {
        at.invalid("one of delay, abort is needed");
    }
    at.within("delay", &fault.delay, delay);
    at.within("abort", &fault.abort, abort);
}

fn delay(at: &Field<'_>, delay: &Delay) {
    fields::whole_percent(&at.member("percent"), i64::from(delay.percent));
    fields::percent(&at.member("percentage"), &delay.percentage);
    fields::duration(&at.member("fixedDelay"), &delay.fixed_delay);
    if delay.exponential_delay.is_some() {
        at.member("exponentialDelay")
            .invalid("is not supported; use fixedDelay");
    } else if delay.fixed_delay.is_none() {
        at.member("fixedDelay").invalid("a delay needs its length");
    }
}

fn abort(at: &Field<'_>, abort: &Abort) {
    fields::percent(&at.member("percentage"), &abort.percentage);
    let members = [
        ("httpStatus", abort.http_status.is_some()),
        ("grpcStatus", abort.grpc_status.is_some()),
        ("http2Error", abort.http2_error.is_some()),
    ];
    fields::only_one(at, &members);
    if let Some(status) = abort.http_status {
        http_status(&at.member("httpStatus"), i64::from(status));
    }
    if let Some(status) = &abort.grpc_status {
        let by_number = status
            .parse::<usize>()
            .is_ok_and(|number| number < GRPC_STATUS.len());
        if !by_number && !GRPC_STATUS.contains(&status.as_str()) {
            at.member("grpcStatus").invalid(format!(
                "{status:?} is not a gRPC status: {}",
                GRPC_STATUS.join(", ")
            ));
        }
    }
    if abort.http2_error.is_some() {
        at.member("http2Error")
            .invalid("is not supported; use httpStatus or grpcStatus");
    }
}
