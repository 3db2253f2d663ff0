//! Settings → Envoy's bootstrap configuration.
//!
//! Listeners and clusters have the names that Istio gives them, which dashboards and people look for. Until
//! configuration comes from the control plane, a sidecar passes every connection on to where it was going.

use serde_json::{Value, json};

use super::settings::{ProxySettings, Role};

/// Where captured connections enter.
const OUTBOUND_PORT: u16 = 15001;
const INBOUND_PORT: u16 = 15006;
/// Readiness of proxy and agent together.
const HEALTH_PORT: u16 = 15021;
/// Envoy's metrics.
const METRICS_PORT: u16 = 15090;
/// The directory below the configuration's where a router's listeners are, and the file there.
pub(super) const LISTENERS_DIR: &str = "listeners";
pub(super) const LISTENERS_FILE: &str = "lds.json";

const CORE: &str = "type.googleapis.com/envoy.extensions";
/// No limit: as long as connections are only passed on, the proxy must not be the one that refuses.
const UNLIMITED: u32 = u32::MAX;

/// The whole bootstrap configuration.
#[must_use]
pub fn bootstrap(settings: &ProxySettings) -> Value {
    let mut listeners = vec![
        http_listener(
            "metrics",
            METRICS_PORT,
            "stats",
            &routes("/stats/prometheus", "prometheus_stats"),
        ),
        http_listener(
            "health",
            HEALTH_PORT,
            "agent",
            &routes("/healthz/ready", "agent"),
        ),
    ];
    let mut clusters = vec![
        static_cluster("prometheus_stats", Some(settings.admin_port)),
        static_cluster("agent", Some(settings.status_port)),
        static_cluster("BlackHoleCluster", None),
    ];
    if settings.role == Role::Sidecar {
        let outbound = (
            "virtualOutbound",
            OUTBOUND_PORT,
            "OUTBOUND",
            "PassthroughCluster",
        );
        let inbound = (
            "virtualInbound",
            INBOUND_PORT,
            "INBOUND",
            "InboundPassthroughCluster",
        );
        listeners.extend([capture_listener(outbound), capture_listener(inbound)]);
        clusters.extend([
            passthrough_cluster("PassthroughCluster", None),
            inbound_passthrough_cluster(),
        ]);
    }
    let mut bootstrap = json!({
        "node": {"id": settings.node_id, "cluster": settings.cluster, "metadata": settings.metadata},
        "admin": {"address": address("127.0.0.1", settings.admin_port)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "overload_manager": {"resource_monitors": [connection_limit()]},
    });
    if settings.role == Role::Router {
        bootstrap["dynamic_resources"] = json!({"lds_config": listeners_from_file(settings)});
    }
    bootstrap
}

/// As many connections as there may be, said explicitly: without a word about it Envoy warns at every start.
fn connection_limit() -> Value {
    json!({
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": format!("{CORE}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
            "max_active_downstream_connections": i32::MAX,
        },
    })
}

/// The directory is watched, not the file: a new version is moved into place, which Envoy sees as one step.
fn listeners_from_file(settings: &ProxySettings) -> Value {
    let directory = settings.config_dir.join(LISTENERS_DIR);
    json!({
        "resource_api_version": "V3",
        "path_config_source": {
            "path": directory.join(LISTENERS_FILE),
            "watched_directory": {"path": directory},
        },
    })
}

fn address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn tcp_proxy(cluster: &str) -> Value {
    json!([{
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": format!("{CORE}.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": cluster,
            "cluster": cluster,
        },
    }])
}

/// A listener for redirected connections: it learns where each was going and passes it on to there.
///
/// A connection that was going to one of the two capture ports themselves was not redirected, or was redirected from
/// there: passing it on would send it round for ever, so it ends in the black hole.
fn capture_listener((name, port, direction, cluster): (&str, u16, &str, &str)) -> Value {
    let black_hole = |port: u16| {
        json!({
            "name": format!("{name}-blackhole-{port}"),
            "filter_chain_match": {"destination_port": port},
            "filters": tcp_proxy("BlackHoleCluster"),
        })
    };
    json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "traffic_direction": direction,
        "listener_filters": [{
            "name": "envoy.filters.listener.original_dst",
            "typed_config": {"@type": format!("{CORE}.filters.listener.original_dst.v3.OriginalDst")},
        }],
        "filter_chains": [black_hole(OUTBOUND_PORT), black_hole(INBOUND_PORT)],
        "default_filter_chain": {"name": format!("{name}-catchall-tcp"), "filters": tcp_proxy(cluster)},
    })
}

/// An HTTP listener on every address.
pub(super) fn http_listener(
    name: &str,
    port: u16,
    stat_prefix: &str,
    virtual_hosts: &Value,
) -> Value {
    json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "filter_chains": [{"filters": [http_filter(stat_prefix, virtual_hosts)]}],
    })
}

/// The network filter that speaks HTTP.
pub(super) fn http_filter(stat_prefix: &str, virtual_hosts: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{CORE}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": stat_prefix,
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "300s",
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "use_remote_address": true,
            "route_config": {"name": stat_prefix, "virtual_hosts": virtual_hosts},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": format!("{CORE}.filters.http.router.v3.Router")},
            }],
        },
    })
}

/// One path to one cluster; Envoy answers 404 to any other.
fn routes(path: &str, cluster: &str) -> Value {
    json!([{
        "name": "backend",
        "domains": ["*"],
        "routes": [{"match": {"path": path}, "route": {"cluster": cluster, "timeout": "5s"}}],
    }])
}

/// A cluster on loopback, or without any endpoint.
fn static_cluster(name: &str, port: Option<u16>) -> Value {
    let endpoints: Vec<Value> = port
        .iter()
        .map(|port| json!({"endpoint": {"address": address("127.0.0.1", *port)}}))
        .collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

/// A cluster whose endpoint is where the connection was going.
fn passthrough_cluster(name: &str, source: Option<&str>) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "ORIGINAL_DST",
        "connect_timeout": "10s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cleanup_interval": "60s",
        "circuit_breakers": {"thresholds": [{
            "max_connections": UNLIMITED,
            "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED,
            "max_retries": UNLIMITED,
            "track_remaining": true,
        }]},
    });
    if let Some(source) = source {
        cluster["upstream_bind_config"] =
            json!({"source_address": {"address": source, "port_value": 0}});
    }
    cluster
}

/// Connections to the application come from 127.0.0.6, by which the rules of capture know them.
fn inbound_passthrough_cluster() -> Value {
    passthrough_cluster("InboundPassthroughCluster", Some("127.0.0.6"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(role: Role) -> ProxySettings {
        let env = |name: &str| {
            let value = match name {
                "POD_NAME" => "reviews-v1-7f44c4d57c-ksf9b",
                "POD_NAMESPACE" => "default",
                "INSTANCE_IP" => "172.17.0.16",
                "ISTIO_META_WORKLOAD_NAME" => "reviews-v1",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let metadata = [("ISTIO_META_CLUSTER_ID".to_owned(), "Kubernetes".to_owned())];
        ProxySettings::read(role, &|_| None, &env, metadata.into_iter(), false).unwrap()
    }

    #[test]
    fn a_sidecar_passes_every_connection_on() {
        insta::assert_json_snapshot!(bootstrap(&settings(Role::Sidecar)));
    }

    #[test]
    fn a_router_has_its_listeners_from_a_file() {
        insta::assert_json_snapshot!(bootstrap(&settings(Role::Router)));
    }
}
