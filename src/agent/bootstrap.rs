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

/// The address families that the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// IPv4 alone.
    V4,
    /// IPv4 and IPv6, whichever of them the pod has addresses of.
    Dual,
}

/// The mark of connections that keep their client's address; rules of capture know it, and it is not configurable.
const ORIGINAL_SOURCE_MARK: u32 = 1337;

/// The whole bootstrap configuration.
#[must_use]
pub fn bootstrap(settings: &ProxySettings, stack: Stack) -> Value {
    let mut listeners = vec![
        http_listener(
            "metrics",
            (METRICS_PORT, stack),
            "stats",
            &routes("/stats/prometheus", "prometheus_stats"),
        ),
        http_listener(
            "health",
            (HEALTH_PORT, stack),
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
        let (mut outbound, mut inbound) = (
            capture_listener(outbound, stack),
            capture_listener(inbound, stack),
        );
        if transparent(settings) {
            outbound["transparent"] = json!(true);
            inbound["transparent"] = json!(true);
            keep_source(&mut inbound);
        }
        listeners.extend([outbound, inbound]);
        clusters.extend([
            passthrough_cluster("PassthroughCluster"),
            inbound_passthrough_cluster(stack),
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

/// Binds a listener of IPv4 to every IPv6 address as well. Statistics go on to call it by the first.
fn also_on_ipv6(listener: &mut Value, port: u16, stack: Stack) {
    if stack == Stack::Dual {
        listener["additional_addresses"] = json!([{"address": address("::", port)}]);
    }
}

/// Whether inbound connections are handed over unchanged (TPROXY).
fn transparent(settings: &ProxySettings) -> bool {
    settings
        .metadata
        .get("INTERCEPTION_MODE")
        .is_some_and(|mode| mode == "TPROXY")
}

/// Lets connections to the application come from the client's own address. It wins over the address that the cluster
/// binds to.
fn keep_source(listener: &mut Value) {
    let filter = json!({
        "name": "envoy.filters.listener.original_src",
        "typed_config": {
            "@type": format!("{CORE}.filters.listener.original_src.v3.OriginalSrc"),
            "mark": ORIGINAL_SOURCE_MARK,
        },
    });
    if let Some(filters) = listener["listener_filters"].as_array_mut() {
        filters.push(filter);
    }
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
fn capture_listener(
    (name, port, direction, cluster): (&str, u16, &str, &str),
    stack: Stack,
) -> Value {
    let black_hole = |port: u16| {
        json!({
            "name": format!("{name}-blackhole-{port}"),
            "filter_chain_match": {"destination_port": port},
            "filters": tcp_proxy("BlackHoleCluster"),
        })
    };
    let mut listener = json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "traffic_direction": direction,
        "listener_filters": [{
            "name": "envoy.filters.listener.original_dst",
            "typed_config": {"@type": format!("{CORE}.filters.listener.original_dst.v3.OriginalDst")},
        }],
        "filter_chains": [black_hole(OUTBOUND_PORT), black_hole(INBOUND_PORT)],
        "default_filter_chain": {"name": format!("{name}-catchall-tcp"), "filters": tcp_proxy(cluster)},
    });
    also_on_ipv6(&mut listener, port, stack);
    listener
}

/// An HTTP listener on every address.
pub(super) fn http_listener(
    name: &str,
    (port, stack): (u16, Stack),
    stat_prefix: &str,
    virtual_hosts: &Value,
) -> Value {
    let mut listener = json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "filter_chains": [{"filters": [http_filter(stat_prefix, virtual_hosts)]}],
    });
    also_on_ipv6(&mut listener, port, stack);
    listener
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
fn passthrough_cluster(name: &str) -> Value {
    json!({
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
    })
}

/// Connections to the application come from 127.0.0.6 or ::6, by which the rules of capture know them. Envoy takes
/// the one of the destination's family.
fn inbound_passthrough_cluster(stack: Stack) -> Value {
    let source = |address: &str| json!({"address": address, "port_value": 0});
    let mut bind = json!({"source_address": source("127.0.0.6")});
    if stack == Stack::Dual {
        bind["extra_source_addresses"] = json!([{"address": source("::6")}]);
    }
    let mut cluster = passthrough_cluster("InboundPassthroughCluster");
    cluster["upstream_bind_config"] = bind;
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(role: Role, mode: &str) -> ProxySettings {
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
        let metadata = [
            ("ISTIO_META_CLUSTER_ID".to_owned(), "Kubernetes".to_owned()),
            ("ISTIO_META_INTERCEPTION_MODE".to_owned(), mode.to_owned()),
        ];
        ProxySettings::read(role, &|_| None, &env, metadata.into_iter(), false).unwrap()
    }

    #[test]
    fn a_sidecar_passes_every_connection_on() {
        let settings = settings(Role::Sidecar, "REDIRECT");
        insta::assert_json_snapshot!(bootstrap(&settings, Stack::V4));
    }

    #[test]
    fn with_tproxy_a_sidecar_keeps_the_clients_address_in_both_families() {
        let settings = settings(Role::Sidecar, "TPROXY");
        let bootstrap = bootstrap(&settings, Stack::Dual);
        insta::assert_json_snapshot!(bootstrap["static_resources"]);
    }

    #[test]
    fn a_router_has_its_listeners_from_a_file() {
        let settings = settings(Role::Router, "REDIRECT");
        insta::assert_json_snapshot!(bootstrap(&settings, Stack::V4));
    }
}
