//! Limits on connections and requests, and ejection of endpoints.

use crate::api::networking::{
    ConnectionPoolSettings, H2UpgradePolicy, HTTPSettings, OutlierDetection, TCPSettings,
};

use super::fields;
use super::report::Field;

pub fn check(at: &Field<'_>, settings: &ConnectionPoolSettings) {
    if settings.tcp.is_none() && settings.http.is_none() {
        at.invalid("one of tcp, http is needed");
    }
    at.within("tcp", &settings.tcp, tcp);
    at.within("http", &settings.http, http);
}

fn tcp(at: &Field<'_>, settings: &TCPSettings) {
    fields::not_negative(&at.member("maxConnections"), settings.max_connections);
    fields::duration(&at.member("connectTimeout"), &settings.connect_timeout);
    fields::duration(
        &at.member("maxConnectionDuration"),
        &settings.max_connection_duration,
    );
    fields::duration_or_zero(&at.member("idleTimeout"), &settings.idle_timeout);
    at.within("tcpKeepalive", &settings.tcp_keepalive, |at, keepalive| {
        fields::duration(&at.member("time"), &keepalive.time);
        fields::duration(&at.member("interval"), &keepalive.interval);
    });
}

fn http(at: &Field<'_>, settings: &HTTPSettings) {
    for (name, number) in [
        (
            "http1MaxPendingRequests",
            settings.http1_max_pending_requests,
        ),
        ("http2MaxRequests", settings.http2_max_requests),
        (
            "maxRequestsPerConnection",
            settings.max_requests_per_connection,
        ),
        ("maxRetries", settings.max_retries),
        ("maxConcurrentStreams", settings.max_concurrent_streams),
    ] {
        fields::not_negative(&at.member(name), number);
    }
    fields::duration(&at.member("idleTimeout"), &settings.idle_timeout);
    if settings.use_client_protocol && settings.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        at.member("useClientProtocol")
            .invalid("keeps the client's protocol, yet h2UpgradePolicy is UPGRADE");
    }
    at.within(
        "http2KeepAlive",
        &settings.http2_keep_alive,
        |at, keep_alive| {
            for (name, duration) in [
                ("interval", &keep_alive.interval),
                ("timeout", &keep_alive.timeout),
            ] {
                if duration.is_none() {
                    at.member(name)
                        .invalid("interval and timeout are both needed");
                }
                fields::duration(&at.member(name), duration);
            }
        },
    );
}

pub fn outlier_detection(at: &Field<'_>, settings: &OutlierDetection) {
    fields::duration(&at.member("interval"), &settings.interval);
    fields::duration(&at.member("baseEjectionTime"), &settings.base_ejection_time);
    fields::whole_percent(
        &at.member("maxEjectionPercent"),
        i64::from(settings.max_ejection_percent),
    );
    fields::whole_percent(
        &at.member("minHealthPercent"),
        i64::from(settings.min_health_percent),
    );
    if settings.consecutive_errors != 0 {
        at.member("consecutiveErrors")
            .questionable("is deprecated; use consecutive5xxErrors or consecutiveGatewayErrors");
    }
    let local_failures = settings
        .consecutive_local_origin_failures
        .unwrap_or_default();
    if local_failures > 0 && !settings.split_external_local_origin_errors {
        at.member("consecutiveLocalOriginFailures")
            .invalid("counts nothing unless splitExternalLocalOriginErrors is true");
    }
    at.each(
        "outlierDetectionHttpErrorCodes",
        &settings.outlier_detection_http_error_codes,
        |at, code| {
            if !(100..=599).contains(code) {
                at.invalid(format!("{code} is not an HTTP status"));
            }
        },
    );
}
