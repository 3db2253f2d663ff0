//! What `proxy` needs to know, from its flags, from `PROXY_CONFIG` and from the environment of the pod.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::api::parse;

/// What the proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Beside an application, whose connections it takes.
    Sidecar,
    /// A gateway, with listeners of its own.
    Router,
}

impl Role {
    /// The word in the proxy's id, and the argument of `proxy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// When a proxy that is asked to stop may do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// After this time.
    After(Duration),
    /// As soon as no connection is open, but not before this time.
    WhenIdle(Duration),
}

/// Everything that decides how Envoy is configured and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// What the proxy is for.
    pub role: Role,
    /// Envoy's node id: `role~ip~pod.namespace~domain`.
    pub node_id: String,
    /// Envoy's cluster name, the workload's.
    pub cluster: String,
    /// `ISTIO_META_*` of the environment, without that prefix.
    pub metadata: BTreeMap<String, String>,
    /// Directory that the configuration is written to.
    pub config_dir: PathBuf,
    /// Envoy.
    pub binary: PathBuf,
    /// Port of Envoy's admin interface, on loopback.
    pub admin_port: u16,
    /// Port of the agent's health and metrics, on every address.
    pub status_port: u16,
    /// Envoy's worker threads; 0 for one a core.
    pub concurrency: u32,
    /// How long Envoy's drain sequence takes.
    pub drain: Duration,
    /// When a proxy that is asked to stop does so.
    pub termination: Termination,
    /// Envoy's log level.
    pub log_level: String,
    /// Envoy's log levels by component; empty for none.
    pub component_log_level: String,
    /// Envoy logs JSON.
    pub json_logs: bool,
}

/// Why the settings of `proxy` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxySettingsError {
    /// One value can't be read.
    #[error("{origin} {value:?} cannot be used; allowed: {allowed}")]
    Value {
        /// The flag or variable.
        origin: &'static str,
        /// What it says.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// `PROXY_CONFIG` can't be read.
    #[error("PROXY_CONFIG is not the JSON of a ProxyConfig: {0}")]
    ProxyConfig(String),
}

/// The fields of Istio's ProxyConfig that have an effect here; others are let through.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProxyConfig {
    config_path: Option<PathBuf>,
    binary_path: Option<PathBuf>,
    service_cluster: Option<String>,
    drain_duration: Option<parse::Duration>,
    termination_drain_duration: Option<parse::Duration>,
    proxy_admin_port: Option<u16>,
    status_port: Option<u16>,
    concurrency: Option<u32>,
}

const PORT: &str = "a port from 1 to 65535";
const SECONDS: &str = "a whole number of seconds";
const LENGTH_OF_TIME: &str = "a length of time such as 45s or 1m0s";
/// Istio's defaults.
const ADMIN_PORT: u16 = 15000;
const STATUS_PORT: u16 = 15020;
const DRAIN: Duration = Duration::from_secs(45);
const TERMINATION_DRAIN: Duration = Duration::from_secs(5);
const CONCURRENCY: u32 = 2;

impl ProxySettings {
    /// Reads the settings. `arg` looks up a flag of `proxy` by its long name, `env` an environment variable. A flag
    /// wins over `PROXY_CONFIG`, which wins over what can be guessed from the rest of the environment.
    ///
    /// # Errors
    /// The first value that can't be used.
    pub fn read(
        role: Role,
        arg: &dyn Fn(&str) -> Option<String>,
        env: &dyn Fn(&str) -> Option<String>,
        environment: impl Iterator<Item = (String, String)>,
        json_logs: bool,
    ) -> Result<Self, ProxySettingsError> {
        let config: ProxyConfig = match env("PROXY_CONFIG").filter(|text| !text.trim().is_empty()) {
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| ProxySettingsError::ProxyConfig(error.to_string()))?,
            None => ProxyConfig::default(),
        };
        let or = |name: &str, default: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .unwrap_or(default.to_owned())
        };
        let namespace = or("POD_NAMESPACE", "default");
        let (pod, ip) = (or("POD_NAME", "unknown"), or("INSTANCE_IP", "127.0.0.1"));
        let domain = arg("domain").unwrap_or_else(|| format!("{namespace}.svc.cluster.local"));
        let workload = or("ISTIO_META_WORKLOAD_NAME", "istio-proxy");
        let directory = |flag: &str, config: &Option<PathBuf>, default: &str| {
            arg(flag)
                .map(PathBuf::from)
                .or(config.clone())
                .unwrap_or_else(|| PathBuf::from(default))
        };
        Ok(Self {
            role,
            node_id: format!("{}~{ip}~{pod}.{namespace}~{domain}", role.as_str()),
            cluster: arg("serviceCluster")
                .or(config.service_cluster)
                .unwrap_or(format!("{workload}.{namespace}")),
            metadata: metadata(environment),
            config_dir: directory("configPath", &config.config_path, "/etc/istio/proxy"),
            binary: directory("binaryPath", &config.binary_path, "/usr/local/bin/envoy"),
            admin_port: port(
                "--proxyAdminPort",
                arg("proxyAdminPort"),
                config.proxy_admin_port,
                ADMIN_PORT,
            )?,
            status_port: port(
                "--statusPort",
                arg("statusPort"),
                config.status_port,
                STATUS_PORT,
            )?,
            concurrency: concurrency(arg("concurrency"), config.concurrency, env)?,
            drain: match arg("drainDuration") {
                Some(text) => text
                    .parse::<parse::Duration>()
                    .ok()
                    .and_then(parse::Duration::to_std)
                    .ok_or(ProxySettingsError::Value {
                        origin: "--drainDuration",
                        value: text,
                        allowed: LENGTH_OF_TIME,
                    })?,
                None => config
                    .drain_duration
                    .and_then(parse::Duration::to_std)
                    .unwrap_or(DRAIN),
            },
            termination: termination(config.termination_drain_duration, env)?,
            log_level: arg("proxyLogLevel").unwrap_or_else(|| "warning".to_owned()),
            component_log_level: arg("proxyComponentLogLevel").unwrap_or_default(),
            json_logs,
        })
    }
}

fn metadata(environment: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    environment
        .filter_map(|(name, value)| Some((name.strip_prefix("ISTIO_META_")?.to_owned(), value)))
        .collect()
}

fn port(
    origin: &'static str,
    given: Option<String>,
    configured: Option<u16>,
    default: u16,
) -> Result<u16, ProxySettingsError> {
    let Some(value) = given else {
        return Ok(configured.unwrap_or(default));
    };
    match value.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(ProxySettingsError::Value {
            origin,
            value,
            allowed: PORT,
        }),
    }
}

/// The container's CPU limit is the best guess where nobody said anything: more threads than that only wait.
fn concurrency(
    given: Option<String>,
    configured: Option<u32>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<u32, ProxySettingsError> {
    const ALLOWED: &str = "a number of threads; 0 for one a core";
    match (given, configured) {
        (Some(value), _) => match value.parse() {
            Ok(threads) => Ok(threads),
            Err(_) => Err(ProxySettingsError::Value {
                origin: "--concurrency",
                value,
                allowed: ALLOWED,
            }),
        },
        (None, Some(threads)) => Ok(threads),
        (None, None) => {
            let limit = env("ISTIO_CPU_LIMIT")
                .and_then(|limit| limit.parse().ok())
                .filter(|limit| *limit > 0);
            Ok(limit.unwrap_or(CONCURRENCY))
        }
    }
}

fn seconds(
    origin: &'static str,
    env: &dyn Fn(&str) -> Option<String>,
    allowed: &'static str,
) -> Result<Option<Duration>, ProxySettingsError> {
    let Some(value) = env(origin) else {
        return Ok(None);
    };
    match (
        value.parse::<u64>(),
        value
            .parse::<parse::Duration>()
            .ok()
            .and_then(parse::Duration::to_std),
    ) {
        (Ok(seconds), _) => Ok(Some(Duration::from_secs(seconds))),
        (_, Some(duration)) => Ok(Some(duration)),
        _ => Err(ProxySettingsError::Value {
            origin,
            value,
            allowed,
        }),
    }
}

fn termination(
    configured: Option<parse::Duration>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Termination, ProxySettingsError> {
    if env("EXIT_ON_ZERO_ACTIVE_CONNECTIONS").as_deref() == Some("true") {
        let at_least = seconds("MINIMUM_DRAIN_DURATION", env, LENGTH_OF_TIME)?;
        return Ok(Termination::WhenIdle(at_least.unwrap_or(TERMINATION_DRAIN)));
    }
    let time = seconds("TERMINATION_DRAIN_DURATION_SECONDS", env, SECONDS)?
        .or(configured.and_then(parse::Duration::to_std))
        .unwrap_or(TERMINATION_DRAIN);
    Ok(Termination::After(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        args: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Result<ProxySettings, ProxySettingsError> {
        let find = |pairs: &[(&str, &str)], name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let all = env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ProxySettings::read(
            Role::Sidecar,
            &|name| find(args, name),
            &|name| find(env, name),
            all,
            false,
        )
    }

    #[test]
    fn a_pod_without_settings_gets_istios_defaults() {
        let env = [
            ("POD_NAME", "reviews-1"),
            ("POD_NAMESPACE", "shop"),
            ("INSTANCE_IP", "10.1.2.3"),
        ];
        let settings = read(&[], &env).unwrap();
        assert_eq!(
            settings.node_id,
            "sidecar~10.1.2.3~reviews-1.shop~shop.svc.cluster.local"
        );
        assert_eq!(settings.cluster, "istio-proxy.shop");
        assert_eq!(
            (
                settings.admin_port,
                settings.status_port,
                settings.concurrency
            ),
            (15000, 15020, 2)
        );
        assert_eq!(
            settings.termination,
            Termination::After(Duration::from_secs(5))
        );
        assert_eq!(settings.drain, Duration::from_secs(45));
    }

    #[test]
    fn a_flag_wins_over_proxy_config_which_wins_over_the_cpu_limit() {
        let config = r#"{"concurrency":3,"drainDuration":"10s","terminationDrainDuration":"1m","tracing":{"x":1}}"#;
        let env = [("PROXY_CONFIG", config), ("ISTIO_CPU_LIMIT", "8")];
        let settings = read(&[("drainDuration", "1m5s")], &env).unwrap();
        assert_eq!(settings.concurrency, 3);
        assert_eq!(settings.drain, Duration::from_secs(65));
        assert_eq!(
            settings.termination,
            Termination::After(Duration::from_secs(60))
        );
        assert_eq!(
            read(&[], &[("ISTIO_CPU_LIMIT", "8")]).unwrap().concurrency,
            8
        );
    }

    #[test]
    fn an_idle_proxy_may_end_early_when_it_is_told_so() {
        let env = [
            ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
            ("MINIMUM_DRAIN_DURATION", "2s"),
        ];
        assert_eq!(
            read(&[], &env).unwrap().termination,
            Termination::WhenIdle(Duration::from_secs(2))
        );
    }

    #[test]
    fn an_unusable_value_is_named_with_what_is_allowed() {
        let error =
            |args: &[(&str, &str)], env: &[(&str, &str)]| read(args, env).unwrap_err().to_string();
        assert_eq!(
            error(&[("statusPort", "0")], &[]),
            "--statusPort \"0\" cannot be used; allowed: a port from 1 to 65535"
        );
        assert!(
            error(&[("drainDuration", "soon")], &[])
                .starts_with("--drainDuration \"soon\" cannot be used")
        );
        assert!(
            error(&[], &[("PROXY_CONFIG", "{\"concurrency\":\"x\"}")])
                .starts_with("PROXY_CONFIG is not the JSON")
        );
    }

    #[test]
    fn metadata_of_the_environment_becomes_the_nodes() {
        let settings = read(
            &[],
            &[("ISTIO_META_CLUSTER_ID", "Kubernetes"), ("HOME", "/")],
        )
        .unwrap();
        assert_eq!(
            settings.metadata.into_iter().collect::<Vec<_>>(),
            [("CLUSTER_ID".into(), "Kubernetes".into())]
        );
    }
}
