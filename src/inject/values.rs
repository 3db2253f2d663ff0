//! The settings of injection, under the keys of Istio's Helm values.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};

/// A value has the wrong type.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ValuesError {
    /// Dotted path of the key.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The values that injection reads; other keys of Istio's charts are ignored.
///
/// Every field is what remains after merging with [`defaults`]: a key that a person took away with `null` reads as
/// empty, zero or false.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Values {
    #[serde(deserialize_with = "text")]
    pub revision: String,
    pub global: Global,
    pub pilot: Pilot,
    pub sidecar_injector_webhook: SidecarInjectorWebhook,
    /// All of them as they were written, for the expressions of custom templates.
    #[serde(skip)]
    pub all: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Global {
    #[serde(deserialize_with = "text")]
    pub hub: String,
    #[serde(deserialize_with = "text")]
    pub tag: String,
    /// Suffix of the tag of the proxy's image where no ProxyConfig and no annotation says another.
    #[serde(deserialize_with = "text")]
    pub variant: String,
    #[serde(deserialize_with = "text")]
    pub platform: String,
    #[serde(deserialize_with = "text")]
    pub image_pull_policy: String,
    #[serde(deserialize_with = "or_default")]
    pub image_pull_secrets: Vec<String>,
    #[serde(deserialize_with = "text")]
    pub istio_namespace: String,
    #[serde(deserialize_with = "text")]
    pub ca_address: String,
    #[serde(deserialize_with = "text", rename = "meshID")]
    pub mesh_id: String,
    #[serde(deserialize_with = "text")]
    pub network: String,
    #[serde(deserialize_with = "text")]
    pub trust_domain: String,
    pub log_as_json: bool,
    pub mount_mtls_certs: bool,
    pub native_nftables: bool,
    #[serde(deserialize_with = "or_default")]
    pub logging: Logging,
    #[serde(deserialize_with = "or_default")]
    pub multi_cluster: MultiCluster,
    #[serde(deserialize_with = "or_default")]
    pub sds: Sds,
    #[serde(deserialize_with = "or_default")]
    pub sts: Sts,
    #[serde(deserialize_with = "or_default")]
    pub proxy: Proxy,
    #[serde(deserialize_with = "or_default", rename = "proxy_init")]
    pub proxy_init: ProxyInit,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Logging {
    #[serde(deserialize_with = "text")]
    pub level: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct MultiCluster {
    #[serde(deserialize_with = "text")]
    pub cluster_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Sds {
    #[serde(deserialize_with = "or_default")]
    pub token: SdsToken,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct SdsToken {
    #[serde(deserialize_with = "text")]
    pub aud: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Sts {
    #[serde(deserialize_with = "text")]
    pub service_port: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Proxy {
    #[serde(deserialize_with = "text")]
    pub auto_inject: String,
    #[serde(deserialize_with = "text")]
    pub cluster_domain: String,
    #[serde(deserialize_with = "text")]
    pub component_log_level: String,
    #[serde(deserialize_with = "text")]
    pub log_level: String,
    #[serde(deserialize_with = "text")]
    pub outlier_log_path: String,
    #[serde(deserialize_with = "text")]
    pub image: String,
    #[serde(deserialize_with = "text", rename = "includeIPRanges")]
    pub include_ip_ranges: String,
    #[serde(deserialize_with = "text", rename = "excludeIPRanges")]
    pub exclude_ip_ranges: String,
    #[serde(deserialize_with = "text")]
    pub include_inbound_ports: String,
    #[serde(deserialize_with = "text")]
    pub exclude_inbound_ports: String,
    #[serde(deserialize_with = "text")]
    pub include_outbound_ports: String,
    #[serde(deserialize_with = "text")]
    pub exclude_outbound_ports: String,
    #[serde(deserialize_with = "text")]
    pub status_port: String,
    #[serde(deserialize_with = "text")]
    pub readiness_initial_delay_seconds: String,
    #[serde(deserialize_with = "text")]
    pub readiness_period_seconds: String,
    #[serde(deserialize_with = "text")]
    pub readiness_failure_threshold: String,
    #[serde(deserialize_with = "or_default")]
    pub startup_probe: StartupProbe,
    #[serde(deserialize_with = "or_default")]
    pub hold_application_until_proxy_starts: bool,
    #[serde(deserialize_with = "or_default")]
    pub privileged: bool,
    #[serde(deserialize_with = "text")]
    pub cap_net_bind_service: String,
    #[serde(deserialize_with = "or_default")]
    pub seccomp_profile: Map<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub lifecycle: Map<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub resources: Map<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct StartupProbe {
    pub enabled: bool,
    pub failure_threshold: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct ProxyInit {
    #[serde(deserialize_with = "text")]
    pub image: String,
    #[serde(deserialize_with = "or_default")]
    pub force_apply_iptables: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Pilot {
    #[serde(deserialize_with = "or_default")]
    pub cni: Cni,
    #[serde(deserialize_with = "texts")]
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct Cni {
    #[serde(deserialize_with = "or_default")]
    pub enabled: bool,
    #[serde(deserialize_with = "text")]
    pub provider: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names are the documented keys of Istio's charts"
)]
pub struct SidecarInjectorWebhook {
    #[serde(deserialize_with = "or_default")]
    pub never_inject_selector: Vec<LabelSelector>,
    #[serde(deserialize_with = "or_default")]
    pub always_inject_selector: Vec<LabelSelector>,
    #[serde(deserialize_with = "or_default")]
    pub enable_namespaces_by_default: bool,
    #[serde(deserialize_with = "or_default", rename = "rewriteAppHTTPProbe")]
    pub rewrite_app_http_probe: bool,
    #[serde(deserialize_with = "or_default")]
    pub default_templates: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub templates: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub template_aliases: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "texts")]
    pub injected_annotations: BTreeMap<String, String>,
}

impl Values {
    /// Values that a person writes: they lie over [`defaults`] as Helm lays them, `null` takes a default away.
    ///
    /// # Errors
    /// The key whose value has the wrong type.
    pub fn over_defaults(written: &Value) -> Result<Self, ValuesError> {
        let mut values = defaults();
        overlay(&mut values, written);
        Self::read(values)
    }

    /// Values as Helm rendered them into the configuration: what a `null` took away is absent there, so the
    /// resources, if there are any, are taken as they are.
    ///
    /// # Errors
    /// The key whose value has the wrong type.
    pub fn rendered(written: &Value) -> Result<Self, ValuesError> {
        let mut values = defaults();
        overlay(&mut values, written);
        let resources = "/global/proxy/resources";
        if let (Some(into), Some(given)) =
            (values.pointer_mut(resources), written.pointer(resources))
        {
            *into = given.clone();
        }
        Self::read(values)
    }

    /// Whether namespaces assign users to pods, as OpenShift's do.
    pub fn is_openshift(&self) -> bool {
        let environment = self.pilot.env.get("PLATFORM").map(String::as_str);
        environment.unwrap_or(&self.global.platform) == "openshift"
    }

    fn read(values: Value) -> Result<Self, ValuesError> {
        let mut read: Self =
            serde_path_to_error::deserialize(&values).map_err(|error| ValuesError {
                path: error.path().to_string(),
                problem: error.into_inner().to_string(),
            })?;
        read.all = values;
        Ok(read)
    }
}

/// The defaults, which are those of Istio's charts except for names of our own.
pub fn defaults() -> Value {
    json!({
        "revision": "",
        "global": {
            "hub": "ghcr.io/outrigger",
            "tag": env!("CARGO_PKG_VERSION"),
            "istioNamespace": "outrigger-system",
            "imagePullPolicy": "",
            "imagePullSecrets": [],
            "logAsJson": false,
            "logging": { "level": "default:info" },
            "multiCluster": { "clusterName": "" },
            "sds": { "token": { "aud": "istio-ca" } },
            "proxy": {
                "autoInject": "enabled",
                "clusterDomain": "cluster.local",
                "componentLogLevel": "misc:error",
                "logLevel": "warning",
                "image": "proxyv2",
                "includeIPRanges": "*",
                "excludeIPRanges": "",
                "includeInboundPorts": "*",
                "excludeInboundPorts": "",
                "includeOutboundPorts": "",
                "excludeOutboundPorts": "",
                "statusPort": 15020,
                "readinessInitialDelaySeconds": 0,
                "readinessPeriodSeconds": 15,
                "readinessFailureThreshold": 4,
                "startupProbe": { "enabled": true, "failureThreshold": 600 },
                "holdApplicationUntilProxyStarts": false,
                "privileged": false,
                "resources": {
                    "requests": { "cpu": "100m", "memory": "128Mi" },
                    "limits": { "cpu": "2000m", "memory": "1024Mi" },
                },
            },
            "proxy_init": { "image": "proxyv2", "forceApplyIptables": false },
        },
        "pilot": { "cni": { "enabled": false, "provider": "default" } },
        "sidecarInjectorWebhook": {
            "neverInjectSelector": [],
            "alwaysInjectSelector": [],
            "rewriteAppHTTPProbe": true,
            "defaultTemplates": [],
            "templates": {},
            "templateAliases": {},
            "injectedAnnotations": {},
        },
    })
}

/// Lays `over` onto `values` as Helm does: maps key by key, everything else replaced, `null` removes.
fn overlay(values: &mut Value, over: &Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (key, over) in over {
                if over.is_null() {
                    values.shift_remove(key);
                } else {
                    overlay(values.entry(key).or_insert(Value::Null), over);
                }
            }
        }
        // A file that is empty says nothing.
        (_, Value::Null) => {}
        (values, over) => *values = without_nulls(over.clone()),
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        map.retain(|_, value| !value.is_null());
        for value in map.values_mut() {
            *value = without_nulls(value.take());
        }
    }
    value
}

/// YAML makes numbers and booleans of texts that look like them (`tag: 1.12`, `statusPort: 15020`).
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text_of(Value::deserialize(deserializer)?)
        .ok_or_else(|| D::Error::custom("must be a string, a number or a boolean"))
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let entries = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    entries
        .into_iter()
        .map(|(key, value)| match text_of(value) {
            Some(value) => Ok((key, value)),
            None => Err(D::Error::custom(format!(
                "{key} must be a string, a number or a boolean"
            ))),
        })
        .collect()
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_takes_a_default_away_and_other_defaults_stay() {
        let written = json!({ "global": { "proxy": {
            "resources": { "limits": { "cpu": null } }, "statusPort": 0, "logLevel": null,
        }}});
        let proxy = Values::over_defaults(&written).unwrap().global.proxy;
        assert_eq!(proxy.resources["limits"], json!({ "memory": "1024Mi" }));
        assert_eq!(proxy.status_port, "0");
        assert_eq!(proxy.log_level, "");
        assert_eq!(proxy.component_log_level, "misc:error");
    }

    #[test]
    fn rendered_resources_are_taken_as_they_are() {
        let written =
            json!({ "global": { "proxy": { "resources": { "requests": { "cpu": "1m" } } } } });
        let proxy = Values::rendered(&written).unwrap().global.proxy;
        assert_eq!(
            Value::Object(proxy.resources),
            json!({ "requests": { "cpu": "1m" } })
        );
        assert_eq!(proxy.log_level, "warning");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_key() {
        let written = json!({ "global": { "proxy": { "resources": "lots" } } });
        let error = Values::over_defaults(&written).unwrap_err().to_string();
        assert!(error.starts_with("global.proxy.resources: "), "{error}");
    }
}
