//! The settings of injection for the whole mesh, read once.

use serde_json::Value;

use crate::api::mesh::{MeshConfig, ProxyConfig};

use super::{
    annotations,
    pod::Pod,
    policy::{self, Decision, Policy, Reason, Ruling},
    template::Templates,
    values::{self, Values},
};

/// Settings of the whole mesh, read once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Values under Istio's Helm keys.
    pub values: Values,
    /// Istio's MeshConfig.
    pub mesh: MeshConfig,
    /// Every kubelet runs native sidecars (Kubernetes 1.33 or newer); a pod's annotation can say otherwise.
    pub native_sidecars: bool,
    pub(super) policy: Policy,
    pub(super) templates: Templates,
    /// The configuration of a proxy about which nothing says more than the mesh's `defaultConfig`.
    pub(super) proxy: ProxyConfig,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// In the values.
    #[error("values: {0}")]
    Values(#[from] values::ValuesError),
    /// In the MeshConfig.
    #[error("mesh configuration: {0}")]
    Mesh(String),
}

impl Config {
    /// Reads the settings as the chart wrote them into the configuration of the control plane. Beside them: what was
    /// not understood and has no effect.
    ///
    /// # Errors
    /// A setting has the wrong type.
    pub fn from_json(
        values: &Value,
        mesh: &Value,
        native_sidecars: bool,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let values = Values::rendered(values)?;
        let mesh = match mesh {
            Value::Object(fields) => MeshConfig::from_fields(fields.clone())
                .map_err(|error| ConfigError::Mesh(error.to_string()))?,
            Value::Null => MeshConfig::default(),
            _ => return Err(ConfigError::Mesh("must be a map".to_owned())),
        };
        Ok(Self::new(values, mesh, native_sidecars))
    }

    /// Puts the settings together. Beside them: what in the settings was not understood and has no effect.
    pub fn new(values: Values, mesh: MeshConfig, native_sidecars: bool) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let policy = policy_of(&values, &mut problems);
        let proxy = mesh.proxy_config(&[]).unwrap_or_else(|error| {
            problems.push(format!("meshConfig.defaultConfig: {error}"));
            ProxyConfig::default()
        });
        let (templates, wrong) = Templates::read(&values, &mesh.fields);
        problems.extend(wrong);
        let config = Self {
            values,
            mesh,
            native_sidecars,
            policy,
            templates,
            proxy,
        };
        (config, problems)
    }

    /// The revision's name as it is shown: `default` for the one without a name.
    pub fn revision(&self) -> &str {
        match self.values.revision.as_str() {
            "" => "default",
            revision => revision,
        }
    }

    /// Whether the control plane of these settings, once it is asked about the pod, injects it, and by which rule.
    pub fn decide(&self, pod: &Pod<'_>) -> Decision {
        match self.policy.decide(pod) {
            Decision { inject: true, .. } if has_foreign_status(pod) => Decision {
                inject: false,
                reason: Reason::ForeignStatus,
            },
            decision => decision,
        }
    }

    /// What each rule says about the pod, in order, up to the one that decides.
    pub fn rulings(&self, pod: &Pod<'_>) -> Vec<Ruling> {
        if self.decide(pod).reason == Reason::ForeignStatus {
            return vec![Ruling {
                reason: Reason::ForeignStatus,
                injects: false,
                applies: true,
            }];
        }
        self.policy.rulings(pod)
    }
}

/// Another mesh has injected the pod: two sets of capture rules in one pod break it.
fn has_foreign_status(pod: &Pod<'_>) -> bool {
    pod.annotation(annotations::STATUS).is_some()
        && pod.annotation(annotations::INJECTED_BY).is_none()
}

fn policy_of(values: &Values, problems: &mut Vec<String>) -> Policy {
    let webhook = &values.sidecar_injector_webhook;
    let mut selectors = |name: &str, written: &[_]| {
        let (selectors, wrong) =
            policy::selectors(&format!("sidecarInjectorWebhook.{name}"), written.to_vec());
        problems.extend(wrong);
        selectors
    };
    let never = selectors("neverInjectSelector", &webhook.never_inject_selector);
    let always = selectors("alwaysInjectSelector", &webhook.always_inject_selector);
    let default = match values.global.proxy.auto_inject.as_str() {
        "enabled" => Some(policy::Fallback::Enabled),
        "disabled" => Some(policy::Fallback::Disabled),
        other => {
            problems.push(format!(
                "global.proxy.autoInject: {other:?} is neither \"enabled\" nor \"disabled\": no pod is injected"
            ));
            None
        }
    };
    Policy {
        default,
        never,
        always,
    }
}
