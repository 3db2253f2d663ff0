//! The injection webhooks as they are registered: which of them the API server calls for a pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use serde_json::Value;

use crate::api::labels;

/// The label that the API server puts on every namespace.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What the names of our webhooks end in; Istio's end in `.sidecar-injector.istio.io`.
const OURS: &str = ".sidecar-injector.outrigger.dev";
/// What every mesh's injection webhook has in its name.
const INJECTOR: &str = "sidecar-injector";

/// One webhook of a `MutatingWebhookConfiguration` that is called when pods are created.
#[derive(Debug, Clone)]
pub struct InjectionWebhook {
    /// Name of the configuration.
    pub configuration: String,
    /// Name of the webhook.
    pub name: String,
    /// The revision that answers, as the configuration's label says: `default` for the one without a name.
    pub revision: String,
    /// Namespace of the Service that answers; empty for a URL.
    pub control_plane: String,
    namespace: Selector,
    object: Selector,
}

/// A webhook configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MutatingWebhookConfiguration {configuration}: webhook {webhook}: {field}: {problem}")]
pub struct WebhookError {
    configuration: String,
    webhook: String,
    field: &'static str,
    problem: String,
}

impl InjectionWebhook {
    /// The injection webhooks of a configuration, Istio's as well as ours.
    ///
    /// # Errors
    /// A selector of one of them is none.
    pub fn of(configuration: &Value) -> Result<Vec<Self>, WebhookError> {
        let webhooks = configuration.get("webhooks").and_then(Value::as_array);
        webhooks
            .into_iter()
            .flatten()
            .filter(|webhook| {
                text(webhook, "/name").contains(INJECTOR) && concerns_new_pods(webhook)
            })
            .map(|webhook| Self::read(configuration, webhook))
            .collect()
    }

    fn read(configuration: &Value, webhook: &Value) -> Result<Self, WebhookError> {
        let selector = |field: &'static str| {
            let written = webhook.get(field).cloned().unwrap_or_default();
            let problem = |problem: String| WebhookError {
                configuration: text(configuration, "/metadata/name").to_owned(),
                webhook: text(webhook, "/name").to_owned(),
                field,
                problem,
            };
            if written.is_null() {
                return Ok(Selector::default());
            }
            let written: LabelSelector =
                serde_json::from_value(written).map_err(|error| problem(error.to_string()))?;
            Selector::try_from(written).map_err(|error| problem(error.to_string()))
        };
        let revision = configuration
            .get("metadata")
            .and_then(|metadata| metadata.get("labels")?.get(labels::REVISION)?.as_str());
        Ok(Self {
            configuration: text(configuration, "/metadata/name").to_owned(),
            name: text(webhook, "/name").to_owned(),
            revision: revision.unwrap_or("default").to_owned(),
            control_plane: text(webhook, "/clientConfig/service/namespace").to_owned(),
            namespace: selector("namespaceSelector")?,
            object: selector("objectSelector")?,
        })
    }

    /// Whether it is Outrigger's.
    pub fn is_ours(&self) -> bool {
        self.name.ends_with(OURS)
    }

    /// Whether the API server calls it for a pod with these labels in a namespace with these.
    pub fn is_called(
        &self,
        namespace: &BTreeMap<String, String>,
        pod: &BTreeMap<String, String>,
    ) -> bool {
        self.namespace.matches(namespace) && self.object.matches(pod)
    }
}

fn concerns_new_pods(webhook: &Value) -> bool {
    let holds = |rule: &Value, field: &str, wanted: &str| {
        rule.get(field)
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|item| item == wanted || item == "*"))
    };
    let rules = webhook.get("rules").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        holds(rule, "operations", "CREATE")
            && holds(rule, "resources", "pods")
            && holds(rule, "apiGroups", "")
    })
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
