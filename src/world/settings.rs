//! Mesh-wide settings that change what objects mean.

use serde::Deserialize;
use serde_json::Value;

/// Where objects are visible and how hosts are named; read from Istio's MeshConfig.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// Suffix of Kubernetes services' names.
    #[serde(skip)]
    pub cluster_domain: String,
    /// The namespace whose DestinationRules, Sidecars and policies apply to the whole mesh.
    pub root_namespace: String,
    /// Whether proxies allocate addresses for ServiceEntries that have none (`defaultConfig.proxyMetadata`).
    #[serde(skip)]
    pub allocates_addresses: bool,
    /// Whether a Gateway applies to pods of its own namespace only, as where Istio's control plane is given
    /// `PILOT_SCOPE_GATEWAY_TO_NAMESPACE`; otherwise its selector finds them in every namespace.
    #[serde(skip)]
    pub gateways_stay_in_their_namespace: bool,
    /// Variant of the proxy's image (`defaultConfig.image.imageType`).
    #[serde(skip)]
    pub image_type: String,
    /// Whether access logs that name no provider have one (`defaultProviders.accessLogging`).
    #[serde(skip)]
    pub logs_by_default: bool,
    /// The providers of Lightstep, which is no more (`extensionProviders`).
    #[serde(skip)]
    pub lightstep_providers: Vec<String>,
    /// `exportTo` of Services and ServiceEntries that have none.
    pub default_service_export_to: Vec<String>,
    /// `exportTo` of VirtualServices that have none.
    pub default_virtual_service_export_to: Vec<String>,
    /// `exportTo` of DestinationRules that have none.
    pub default_destination_rule_export_to: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        let everywhere = || vec!["*".to_owned()];
        Settings {
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            allocates_addresses: false,
            gateways_stay_in_their_namespace: false,
            image_type: String::new(),
            logs_by_default: false,
            lightstep_providers: Vec::new(),
            default_service_export_to: everywhere(),
            default_virtual_service_export_to: everywhere(),
            default_destination_rule_export_to: everywhere(),
        }
    }
}

/// A mesh configuration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mesh configuration: {path}: {text}")]
pub struct SettingsError {
    /// The field.
    pub path: String,
    /// What is wrong with it.
    pub text: String,
}

impl Settings {
    /// Reads the settings from a MeshConfig; fields that are absent, `null` or empty keep their defaults.
    ///
    /// # Errors
    /// A field has the wrong type.
    pub fn of_mesh_config(config: &Value) -> Result<Settings, SettingsError> {
        if config.is_null() {
            return Ok(Settings::default());
        }
        let mut settings: Settings =
            serde_path_to_error::deserialize(config).map_err(|error| SettingsError {
                path: error.path().to_string(),
                text: error.into_inner().to_string(),
            })?;
        let metadata = &config["defaultConfig"]["proxyMetadata"];
        let is_set = |name: &str| metadata[name] == "true";
        settings.allocates_addresses =
            is_set("ISTIO_META_DNS_CAPTURE") && is_set("ISTIO_META_DNS_AUTO_ALLOCATE");
        let image_type = &config["defaultConfig"]["image"]["imageType"];
        image_type
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut settings.image_type);
        let loggers = &config["defaultProviders"]["accessLogging"];
        settings.logs_by_default = loggers.as_array().is_some_and(|list| !list.is_empty());
        settings.lightstep_providers = config["extensionProviders"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|provider| !provider["lightstep"].is_null())
            .filter_map(|provider| Some(provider["name"].as_str()?.to_owned()))
            .collect();
        let default = Settings::default();
        if settings.root_namespace.is_empty() {
            settings.root_namespace = default.root_namespace;
        }
        for (scope, default) in [
            (
                &mut settings.default_service_export_to,
                default.default_service_export_to,
            ),
            (
                &mut settings.default_virtual_service_export_to,
                default.default_virtual_service_export_to,
            ),
            (
                &mut settings.default_destination_rule_export_to,
                default.default_destination_rule_export_to,
            ),
        ] {
            if scope.is_empty() {
                *scope = default;
            }
        }
        Ok(settings)
    }
}
