//! What is read of Istio's policies: whom they apply to, and what they name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::api::networking::{DecodeError, decode_spec, null_is_default};

/// To which workloads a policy applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Target {
    /// Those of the namespace with these labels; absent means all.
    pub selector: Option<WorkloadSelector>,
    /// The one Gateway or Service that it is attached to.
    pub target_ref: Option<TargetReference>,
    /// The same, as a list.
    #[serde(deserialize_with = "null_is_default")]
    pub target_refs: Vec<TargetReference>,
}

impl Target {
    /// Whether it is attached to objects by their name.
    pub fn names_objects(&self) -> bool {
        self.target_ref.is_some() || !self.target_refs.is_empty()
    }

    /// The labels of its selector; `None` when it is for all workloads of the namespace.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.selector
            .as_ref()
            .map(|selector| &selector.match_labels)
            .filter(|labels| !labels.is_empty())
    }
}

/// Workloads by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// Labels that a workload must have.
    #[serde(deserialize_with = "null_is_default")]
    pub match_labels: BTreeMap<String, String>,
}

/// An object by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetReference {
    /// Its API group; empty for Kubernetes' core group.
    #[serde(deserialize_with = "null_is_default")]
    pub group: String,
    /// Its kind.
    #[serde(deserialize_with = "null_is_default")]
    pub kind: String,
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
}

/// Who may call a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizationPolicySpec {
    /// To whom it applies.
    #[serde(flatten)]
    pub target: Target,
    /// The rules.
    #[serde(deserialize_with = "null_is_default")]
    pub rules: Vec<AccessRule>,
}

/// One rule: who may do what under which conditions, of which only who is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccessRule {
    /// Who.
    #[serde(deserialize_with = "null_is_default")]
    pub from: Vec<AccessFrom>,
}

/// A source in its wrapper.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccessFrom {
    /// The source.
    #[serde(deserialize_with = "null_is_default")]
    pub source: AccessSource,
}

/// Where requests come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessSource {
    /// Namespaces, with a wildcard at one end.
    #[serde(deserialize_with = "null_is_default")]
    pub namespaces: Vec<String>,
    /// Namespaces that are left out.
    #[serde(deserialize_with = "null_is_default")]
    pub not_namespaces: Vec<String>,
}

/// Whether a workload takes mutual TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeerAuthenticationSpec {
    /// To whom it applies.
    #[serde(flatten)]
    pub target: Target,
}

/// Which tokens of users a workload takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RequestAuthenticationSpec {
    /// To whom it applies.
    #[serde(flatten)]
    pub target: Target,
}

/// A WebAssembly filter of a workload's proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WasmPluginSpec {
    /// To whom it applies.
    #[serde(flatten)]
    pub target: Target,
}

/// Metrics, access logs and traces of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TelemetrySpec {
    /// To whom it applies.
    #[serde(flatten)]
    pub target: Target,
    /// Traces.
    #[serde(deserialize_with = "null_is_default")]
    pub tracing: Vec<Reporting>,
    /// Access logs.
    #[serde(deserialize_with = "null_is_default")]
    pub access_logging: Vec<Reporting>,
}

/// Where something is reported to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reporting {
    /// The providers of the mesh configuration; none means its default ones.
    #[serde(deserialize_with = "null_is_default")]
    pub providers: Vec<ProviderReference>,
    /// Whether nothing is reported.
    #[serde(deserialize_with = "null_is_default")]
    pub disabled: bool,
}

/// A provider of the mesh configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProviderReference {
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
}

macro_rules! policies {
    ($($spec:ident),*) => {$(
        impl $spec {
            pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
                decode_spec(object)
            }
        }
    )*};
}
policies!(
    AuthorizationPolicySpec,
    PeerAuthenticationSpec,
    RequestAuthenticationSpec,
    TelemetrySpec,
    WasmPluginSpec
);
