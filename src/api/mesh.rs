//! Istio's `MeshConfig` and `ProxyConfig` (`istio.mesh.v1alpha1`), as far as they are used.
//!
//! Unknown fields are ignored, as Istio ignores them in a mesh configuration: an installation's file names many
//! settings of parts that do not exist here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parse::Duration;

/// The mesh-wide configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshConfig {
    /// Port of the outbound listener; 0 or absent means 15001.
    pub proxy_listen_port: Option<u16>,
    /// Port of the inbound listener; 0 or absent means 15006.
    pub proxy_inbound_listen_port: Option<u16>,
    /// The namespace whose ProxyConfig objects are for the whole mesh; absent means `istio-system`.
    pub root_namespace: Option<String>,
    /// The trust domain of workload identities.
    pub trust_domain: Option<String>,
    /// Whether the agent merges the application's metrics into Envoy's; absent means yes.
    pub enable_prometheus_merge: Option<bool>,
    /// Where inbound traffic that passes through goes.
    pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
    /// Backends for telemetry and authorization.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Default of every proxy, as it was written: the fields that the types below do not know reach the proxy too.
    pub default_config: Option<Map<String, Value>>,
    /// Everything as it was written.
    #[serde(skip)]
    pub fields: Map<String, Value>,
}

impl MeshConfig {
    /// Reads a mesh configuration from its fields; `null` counts as absent.
    ///
    /// # Errors
    /// A field has the wrong type.
    pub fn from_fields(
        fields: Map<String, Value>,
    ) -> Result<Self, serde_path_to_error::Error<serde_json::Error>> {
        let fields = ProxyConfig::without_nulls(&fields);
        let mut mesh: Self = serde_path_to_error::deserialize(Value::Object(fields.clone()))?;
        mesh.fields = fields;
        // Checks its types too, so that a mistake shows when the file is read and not at the first pod.
        mesh.proxy_config(&[])?;
        Ok(mesh)
    }

    /// The namespace whose ProxyConfig objects are for the whole mesh.
    pub fn root_namespace(&self) -> &str {
        match self.root_namespace.as_deref() {
            None | Some("") => "istio-system",
            Some(namespace) => namespace,
        }
    }

    /// The configuration of a proxy to which `overlays` (annotations, objects) add, each over those before it.
    ///
    /// # Errors
    /// A field of one of them has the wrong type.
    pub fn proxy_config(
        &self,
        overlays: &[&Map<String, Value>],
    ) -> Result<ProxyConfig, serde_path_to_error::Error<serde_json::Error>> {
        let mut fields = self.default_config.clone().unwrap_or_default();
        for overlay in overlays {
            merge(&mut fields, overlay);
        }
        ProxyConfig::from_fields(fields)
    }
}

/// Where inbound traffic that passes through goes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InboundTrafficPolicy {
    /// `PASSTHROUGH` or `LOCALHOST`.
    pub mode: String,
}

/// A backend for telemetry; only what injection has to tell the proxy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExtensionProvider {
    /// The name by which Telemetry resources refer to it.
    pub name: String,
    /// An OpenTelemetry collector.
    pub opentelemetry: Option<OpenTelemetryProvider>,
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OpenTelemetryProvider {
    /// `ISTIO_CANONICAL` (default) or `OTEL_SEMANTIC_CONVENTIONS`.
    pub service_attribute_enrichment: String,
}

/// The configuration of one proxy: the typed part that is used, and all of it as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyConfig {
    /// The fields that injection reads.
    pub known: KnownProxyConfig,
    /// Every field as written, unknown ones too.
    pub fields: Map<String, Value>,
}

/// The fields of `ProxyConfig` whose type is checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KnownProxyConfig {
    /// `REDIRECT` (default), `TPROXY` or `NONE`.
    pub interception_mode: Option<InterceptionMode>,
    /// Start the application only when the proxy is ready (classic layout).
    pub hold_application_until_proxy_starts: Option<bool>,
    /// Environment of the proxy and of `istio-init`.
    pub proxy_metadata: BTreeMap<String, String>,
    /// Variant of the proxy's image.
    pub image: Option<ProxyImage>,
    /// Port of the agent's status server; absent means 15020.
    pub status_port: Option<u16>,
    /// Worker threads; absent means one per CPU of the limit.
    pub concurrency: Option<i32>,
    /// Where the proxy writes its bootstrap.
    pub config_path: Option<String>,
    /// The Envoy binary.
    pub binary_path: Option<String>,
    /// How long the proxy drains.
    pub drain_duration: Option<String>,
    /// How long a connection may take to drain at the end.
    pub termination_drain_duration: Option<String>,
    /// Where the control plane answers.
    pub discovery_address: Option<String>,
    /// The port of Envoy's admin interface.
    pub proxy_admin_port: Option<u16>,
    /// Name of the service in traces.
    pub service_cluster: Option<String>,
    /// Extra tags of Envoy's statistics.
    pub extra_stat_tags: Vec<String>,
}

/// How traffic reaches the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum InterceptionMode {
    /// NAT to the proxy's port; the source address of inbound connections is lost.
    #[default]
    #[serde(rename = "REDIRECT")]
    Redirect,
    /// Transparent proxying of inbound connections; their source address stays.
    #[serde(rename = "TPROXY")]
    Tproxy,
    /// Nothing is captured.
    #[serde(rename = "NONE")]
    None,
}

impl InterceptionMode {
    /// The name as Istio writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "REDIRECT",
            Self::Tproxy => "TPROXY",
            Self::None => "NONE",
        }
    }
}

/// Variant of the proxy's image.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyImage {
    /// `default`, `debug`, `distroless`: a suffix of the tag.
    pub image_type: String,
}

impl ProxyConfig {
    fn from_fields(
        fields: Map<String, Value>,
    ) -> Result<Self, serde_path_to_error::Error<serde_json::Error>> {
        let known = Self::without_nulls(&fields);
        let known = serde_path_to_error::deserialize(Value::Object(known))?;
        Ok(Self { known, fields })
    }

    /// The first value that has the right type and cannot work: what Istio's validation of a ProxyConfig refuses, of
    /// the fields that are read here.
    pub fn problem(&self) -> Option<String> {
        let known = &self.known;
        let empty = [
            ("configPath", &known.config_path),
            ("binaryPath", &known.binary_path),
            ("serviceCluster", &known.service_cluster),
        ];
        if let Some((name, _)) = empty
            .into_iter()
            .find(|(_, value)| value.as_deref() == Some(""))
        {
            return Some(format!("{name}: must not be empty"));
        }
        if let Some(concurrency) = known.concurrency.filter(|number| *number < 0) {
            return Some(format!("concurrency: {concurrency} must be 0 or more"));
        }
        let durations = [
            ("drainDuration", &known.drain_duration),
            (
                "terminationDrainDuration",
                &known.termination_drain_duration,
            ),
        ];
        durations.into_iter().find_map(|(name, text)| {
            let text = text.as_deref()?;
            match text.parse::<Duration>() {
                Ok(duration) if duration.as_nanos() >= 0 => None,
                Ok(_) => Some(format!("{name}: {text:?} must not be negative")),
                Err(error) => Some(format!("{name}: {error}")),
            }
        })
    }

    /// The fields that differ from Istio's built-in defaults, which is what the proxy is told.
    pub fn non_default_fields(&self) -> Map<String, Value> {
        let defaults = built_in_defaults();
        let mut fields = Self::without_nulls(&self.fields);
        fields.retain(|name, value| defaults.get(name) != Some(value));
        fields
    }

    /// All fields, with Istio's built-in defaults for those that nobody sets.
    pub fn effective_fields(&self) -> Map<String, Value> {
        let mut fields = match built_in_defaults() {
            Value::Object(defaults) => defaults,
            _ => Map::new(),
        };
        merge(&mut fields, &Self::without_nulls(&self.fields));
        fields
    }

    fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
        fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Istio's `DefaultProxyConfig`: a field that repeats one of these says nothing.
fn built_in_defaults() -> Value {
    json!({
        "configPath": "./etc/istio/proxy",
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "drainDuration": "45s",
        "interceptionMode": "REDIRECT",
        "proxyAdminPort": 15000,
        "serviceCluster": "istio-proxy",
        "statNameLength": 189,
        "statusPort": 15020,
        "terminationDrainDuration": "5s",
        "binaryPath": "/usr/local/bin/envoy",
    })
}

/// Merges messages as protobuf does: objects field by field, everything else replaced.
fn merge(into: &mut Map<String, Value>, overlay: &Map<String, Value>) {
    for (name, value) in overlay {
        match (into.get_mut(name), value) {
            (Some(Value::Object(into)), Value::Object(overlay)) => merge(into, overlay),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(config: Value) -> MeshConfig {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_field_equal_to_the_built_in_default_is_not_told_to_the_proxy() {
        let mesh = mesh(json!({ "defaultConfig": {
            "configPath": "./etc/istio/proxy", "drainDuration": "7s", "futureField": [1],
        }}));
        let config = mesh.proxy_config(&[]).unwrap();
        assert_eq!(
            Value::Object(config.non_default_fields()),
            json!({ "drainDuration": "7s", "futureField": [1] })
        );
    }

    #[test]
    fn an_overlay_merges_proxy_metadata_by_key() {
        let mesh =
            mesh(json!({ "defaultConfig": { "proxyMetadata": { "A": "mesh", "B": "mesh" } } }));
        let overlay = json!({ "proxyMetadata": { "B": "pod" } });
        let config = mesh.proxy_config(&[overlay.as_object().unwrap()]).unwrap();
        let metadata: Vec<_> = config.known.proxy_metadata.into_iter().collect();
        assert_eq!(
            metadata,
            [("A".into(), "mesh".into()), ("B".into(), "pod".into())]
        );
    }

    #[test]
    fn a_wrong_type_is_an_error_that_names_the_field() {
        let overlay = json!({ "proxyMetadata": { "A": { "B": 1 } } });
        let error = MeshConfig::default()
            .proxy_config(&[overlay.as_object().unwrap()])
            .unwrap_err();
        assert!(error.to_string().contains("proxyMetadata.A"), "{error}");
    }
}
