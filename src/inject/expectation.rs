//! What a pod would get if it were made now: for those who look at pods that exist.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Config, annotations, check,
    context::{Context, INIT, PROXY, VALIDATION},
    namespace::{self, Install, Match},
    overrides,
    pod::Pod,
    policy::Decision,
    status::Status,
    surroundings::Surroundings,
    wants_native,
    workload::Workload,
};

/// Name of the container of the proxy.
pub const PROXY_CONTAINER: &str = PROXY;

/// What the webhook would do to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Which part of the webhook configuration makes the API server ask; never [`Match::No`].
    pub called: Match,
    /// What the policy says then; it injects.
    pub decision: Decision,
    /// Whether the proxy would be a native sidecar.
    pub native: bool,
    /// The image of each injected container by its name, as far as it is known without the templates: those of
    /// people's own say what they like, and so does a pod whose own `istio-proxy` names an image.
    pub images: Vec<(&'static str, String)>,
}

/// What a pod would get, by the rules of the API server's selectors and of the webhook; `None`: no proxy.
///
/// `pod` need not be whole: its metadata's labels and annotations and the spec's `hostNetwork` decide.
pub fn expect(
    config: &Config,
    pod: &Value,
    namespace: &str,
    surroundings: &Surroundings<'_>,
) -> Option<Expectation> {
    let view = Pod::new(pod, namespace).ok()?;
    let called = called(config, &view, namespace, surroundings);
    if called == Match::No {
        return None;
    }
    // What an injector wrote on the pod is not on the one that is made anew.
    let decision = config.policy.decide(&view);
    decision.inject.then(|| Expectation {
        called,
        decision,
        native: wants_native(config, &view),
        images: images(config, pod, &view, surroundings),
    })
}

/// Which part of the webhook configuration makes the API server ask about a pod.
pub fn called(
    config: &Config,
    pod: &Pod<'_>,
    namespace: &str,
    surroundings: &Surroundings<'_>,
) -> Match {
    let values = &config.values;
    // As in the webhook configuration: the control plane is never asked about its own pods.
    if namespace == values.global.istio_namespace {
        return Match::No;
    }
    let install = Install {
        revision: &values.revision,
        by_default: values.sidecar_injector_webhook.enable_namespaces_by_default,
    };
    let nothing = BTreeMap::new();
    let labels = surroundings
        .namespace
        .map_or(&nothing, |namespace| &namespace.labels);
    namespace::called(install, labels, &pod.labels_owned())
}

fn images(
    config: &Config,
    pod: &Value,
    view: &Pod<'_>,
    surroundings: &Surroundings<'_>,
) -> Vec<(&'static str, String)> {
    let values = &config.values;
    let chosen = config
        .templates
        .chosen(view.annotation(annotations::TEMPLATES));
    let built_in = chosen.is_ok_and(|names| {
        let mut names = names.iter();
        names.all(|name| !config.templates.is_custom(name))
    });
    let saved = overrides::saved(view.annotation(annotations::OVERRIDES));
    let own_image = saved.map_or(true, |saved| saved.choose_images());
    let Some(proxy) = check(config, view, surroundings)
        .ok()
        .filter(|_| built_in && !own_image)
    else {
        return Vec::new();
    };
    let context = Context {
        config,
        pod: view,
        workload: &Workload::of(pod, view),
        proxy: &proxy,
        native: false,
        env: &[],
        surroundings,
    };
    let init = context.image(&values.global.proxy_init.image);
    vec![
        (PROXY, context.image(&values.global.proxy.image)),
        (VALIDATION, init.clone()),
        (INIT, init),
    ]
}

/// What an injection wrote on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injected {
    /// Nothing: no injection has seen it.
    No,
    /// Another mesh's injector did it.
    ByAnother,
    /// Outrigger did.
    ByUs {
        /// The revision.
        revision: String,
        /// Whether the proxy is a native sidecar; `None` where that was not written down.
        native: Option<bool>,
    },
}

/// Reads what an injection wrote into annotations.
pub fn injected<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Injected {
    let Some(status) = annotation(annotations::STATUS) else {
        return Injected::No;
    };
    let Some(by) = annotation(annotations::INJECTED_BY) else {
        return Injected::ByAnother;
    };
    let by: Value = serde_json::from_str(by).unwrap_or_default();
    Injected::ByUs {
        revision: Status::parse(status).revision,
        native: by["layout"].as_str().map(|layout| layout == "native"),
    }
}
