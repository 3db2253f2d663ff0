//! How a proxy that is to stop lets its connections end.

use std::time::Duration;

use hyper::Method;
use tracing::{info, warn};

use super::client::Endpoint;
use super::settings::{Role, Termination};

const LIMIT: Duration = Duration::from_secs(2);
/// Time between two looks at the open connections.
const PERIOD: Duration = Duration::from_millis(500);

/// Tells Envoy to drain: open connections are told to end, new ones are refused once the drain time is over. A
/// sidecar's outbound listeners go on, for as long as the application does.
pub(super) async fn begin(admin: &Endpoint, role: Role) {
    let path = match role {
        Role::Sidecar => "/drain_listeners?inboundonly&graceful&skip_exit",
        Role::Router => "/drain_listeners?graceful&skip_exit",
    };
    match admin.ask(Method::POST, path, LIMIT).await {
        Ok(answer) if answer.status.is_success() => info!("draining"),
        Ok(answer) => warn!(status = %answer.status, "Envoy does not drain"),
        Err(error) => warn!(%error, "Envoy does not drain"),
    }
}

/// Waits until a draining proxy may end.
pub(super) async fn finished(admin: &Endpoint, termination: Termination) {
    match termination {
        Termination::After(time) => tokio::time::sleep(time).await,
        Termination::WhenIdle(at_least) => {
            tokio::time::sleep(at_least).await;
            loop {
                match active_connections(admin).await {
                    Some(0) => break,
                    Some(connections) => info!(connections, "waiting for open connections"),
                    None => break,
                }
                tokio::time::sleep(PERIOD).await;
            }
        }
    }
    info!("drained");
}

/// How many connections are open to Envoy's listeners; `None` where Envoy does not say.
async fn active_connections(admin: &Endpoint) -> Option<u64> {
    let path = r"/stats?filter=^listener\..*\.downstream_cx_active$";
    let answer = admin.ask(Method::GET, path, LIMIT).await.ok()?;
    Some(sum_of_active(&String::from_utf8_lossy(&answer.body)))
}

/// Adds up the gauges of listeners, without the proxy's own (admin, health, metrics) and without the shares of single
/// worker threads.
fn sum_of_active(stats: &str) -> u64 {
    let gauges = stats.lines().filter_map(|line| line.split_once(": "));
    let counted = gauges.filter(|(name, _)| {
        let own = [
            "listener.admin.",
            "listener.0.0.0.0_15021.",
            "listener.0.0.0.0_15090.",
        ];
        name.ends_with(".downstream_cx_active")
            && !name.contains(".worker_")
            && !name.contains(".main_thread.")
            && !own.iter().any(|own| name.starts_with(own))
    });
    counted
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_of_others_count_and_each_once() {
        let stats = "listener.0.0.0.0_15006.downstream_cx_active: 2\n\
                     listener.0.0.0.0_15006.worker_0.downstream_cx_active: 2\n\
                     listener.0.0.0.0_15001.downstream_cx_active: 1\n\
                     listener.0.0.0.0_15021.downstream_cx_active: 4\n\
                     listener.admin.downstream_cx_active: 1\n\
                     listener.admin.main_thread.downstream_cx_active: 1\n";
        assert_eq!(sum_of_active(stats), 3);
    }
}
