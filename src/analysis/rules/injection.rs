//! Which pods are in the mesh: labels of namespaces, and what the pods of a namespace have to show for them.

use std::collections::BTreeMap;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::labels::{INJECT, INJECTION_SWITCHES, REVISION};
use crate::api::networking::ProxyConfigSpec;
use crate::api::text::enumeration;
use crate::api::yaml;
use crate::inject::annotations::{PROXY_CONFIG, PROXY_IMAGE, PROXY_IMAGE_TYPE};
use crate::inject::policy::IGNORED_NAMESPACES;
use crate::model::selects;
use crate::world::{
    ConfigMapSpec, Container, INJECTOR_CONFIG_MAPS, InjectorConfig, NamespaceSpec, Object,
    ObjectKey, PodSpec,
};

use super::{Inspected, Report};

/// On a namespace or a pod: `ambient` captures its traffic without a sidecar.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// On a pod: that its traffic is captured without a sidecar.
const AMBIENT_REDIRECTION: &str = "ambient.istio.io/redirection";

/// Labels or annotations.
type Pairs = BTreeMap<String, String>;

/// What the labels of a namespace say about injection.
struct Choice<'a> {
    /// `istio-injection` or `injection`, whichever is set, with its value.
    switch: Option<(&'static str, &'a str)>,
    revision: Option<&'a str>,
    ambient: bool,
}

impl<'a> Choice<'a> {
    fn of(labels: &'a Pairs) -> Choice<'a> {
        let switch = INJECTION_SWITCHES.into_iter().rev().find_map(|name| {
            let value = labels.get(name).filter(|value| !value.is_empty())?;
            Some((name, value.as_str()))
        });
        Choice {
            switch,
            revision: labels.get(REVISION).map(String::as_str),
            ambient: labels
                .get(DATAPLANE_MODE)
                .is_some_and(|mode| mode == "ambient"),
        }
    }

    /// Whether pods without a word of their own are injected.
    fn injects(&self) -> bool {
        match self.switch {
            Some((_, value)) => value == "enabled",
            None => self.revision.is_some(),
        }
    }

    /// The labels that choose differently, where there are two.
    fn contradiction(&self) -> Vec<&'static str> {
        let switch = self.switch.map(|(name, _)| name);
        let revision = self.revision.map(|_| REVISION);
        // An explicit "disabled" beside ambient says the same twice.
        let is_off = self.switch.is_some_and(|(_, value)| value == "disabled");
        let ambient = (self.ambient && (!is_off || revision.is_some())).then_some(DATAPLANE_MODE);
        let set: Vec<&str> = [switch, revision, ambient].into_iter().flatten().collect();
        if set.len() > 1 { set } else { Vec::new() }
    }
}

/// The namespace says by exactly one label how its pods join the mesh. Istio: IST0102, IST0123, IST0148.
pub(super) fn namespaces_choose_once(
    view: &View<'_>,
    object: &Inspected<'_, NamespaceSpec>,
    report: &mut Report<'_>,
) {
    let name = &*object.key.name;
    if is_systems(view, name) {
        return;
    }
    let choice = Choice::of(&object.meta.labels);
    let set = choice.contradiction();
    if !set.is_empty() {
        let text = format!("the namespace has the labels {}", enumeration(&set));
        report.say(&say::INJECTION_LABELS_CONFLICT, "metadata.labels", text);
    } else if choice.switch.is_none() && choice.revision.is_none() && !choice.ambient {
        let by_default =
            injector(view, "").is_some_and(|config| config.enable_namespaces_by_default);
        let none = "the namespace has neither istio-injection nor istio.io/rev";
        if by_default {
            let text = format!("{none}, but the injector takes namespaces without a label too");
            report.say(&say::INJECTED_BY_DEFAULT, "metadata.labels", text);
        } else {
            report.say(&say::NOT_INJECTED, "metadata.labels", none);
        }
    }
}

/// Whether a namespace belongs to Kubernetes or to the control plane.
pub(super) fn is_systems(view: &View<'_>, namespace: &str) -> bool {
    IGNORED_NAMESPACES.contains(&namespace)
        || namespace == "istio-system"
        || namespace == view.settings().root_namespace
}

/// A pod of a namespace that injects has a proxy, unless it said no. Istio: IST0103.
pub(super) fn pods_have_their_proxy(
    view: &View<'_>,
    object: &Inspected<'_, PodSpec>,
    report: &mut Report<'_>,
) {
    let pod = object.spec;
    if pod.host_network || pod.has_ended() || pod.proxy().is_some() {
        return;
    }
    let namespace = &object.key.namespace;
    let injects = namespace_labels(view, namespace).is_some_and(|labels| {
        let choice = Choice::of(labels);
        choice.injects() && choice.contradiction().is_empty()
    });
    let own = object.meta.labels.get(INJECT);
    let own = own.or_else(|| object.meta.annotations.get(INJECT));
    let refused = own.is_some_and(|value| value.eq_ignore_ascii_case("false"));
    if injects && !refused && !is_systems(view, namespace) {
        let text = format!(
            "namespace {namespace} is injected, but the pod has no container istio-proxy: it was made before the \
             namespace had its label, or while no injector answered"
        );
        report.say(&say::PROXY_MISSING, "spec.containers", text);
    }
}

fn namespace_labels<'a>(view: &View<'a>, namespace: &str) -> Option<&'a Pairs> {
    let key = ObjectKey::new(Kind::Namespace, std::sync::Arc::default(), namespace);
    let object: &'a std::sync::Arc<Object<NamespaceSpec>> = view.object(&key)?;
    Some(&object.meta.labels)
}

/// Whether pods with these labels and annotations have a sidecar, or will have one when they are made.
pub(super) fn is_in_mesh(
    view: &View<'_>,
    namespace: &str,
    labels: &Pairs,
    annotations: &Pairs,
    pod: &PodSpec,
) -> bool {
    if pod.proxy().is_some_and(|proxy| !proxy.image.is_empty()) {
        return true;
    }
    match labels.get(INJECT).or_else(|| annotations.get(INJECT)) {
        Some(value) => value == "true",
        None => {
            namespace_labels(view, namespace).is_some_and(|labels| Choice::of(labels).injects())
        }
    }
}

/// Whether a pod's traffic is captured without a sidecar.
pub(super) fn is_ambient(annotations: &Pairs) -> bool {
    annotations
        .get(AMBIENT_REDIRECTION)
        .is_some_and(|value| value == "enabled")
}

/// Whether the pods of a namespace are captured without a sidecar.
pub(super) fn is_ambient_namespace(view: &View<'_>, namespace: &str) -> bool {
    namespace_labels(view, namespace).is_some_and(|labels| {
        let choice = Choice::of(labels);
        choice.ambient && !choice.injects()
    })
}

/// The labels of a namespace, none where it is not known.
pub(super) fn labels_of_namespace(view: &View<'_>, namespace: &str) -> Pairs {
    namespace_labels(view, namespace)
        .cloned()
        .unwrap_or_default()
}

/// What the injector of a revision is told.
fn injector<'a>(view: &View<'a>, revision: &str) -> Option<&'a InjectorConfig> {
    let name = |prefix: &str| match revision {
        "" | "default" => prefix.to_owned(),
        revision => format!("{prefix}-{revision}"),
    };
    let names = INJECTOR_CONFIG_MAPS.map(name);
    let mut all = view.all::<ConfigMapSpec>();
    all.find_map(|(key, object)| {
        let is_its = names.iter().any(|name| **name == *key.name);
        object.spec().filter(|_| is_its)?.injector.as_ref()
    })
}

/// The proxies of a namespace's pods have the image that the injector would give them now. Istio: IST0158.
pub(super) fn proxies_have_the_injectors_image(
    view: &View<'_>,
    object: &Inspected<'_, NamespaceSpec>,
    report: &mut Report<'_>,
) {
    let choice = Choice::of(&object.meta.labels);
    let is_enabled = choice.switch.is_some_and(|(_, value)| value == "enabled");
    if !is_enabled && choice.revision.is_none() {
        return;
    }
    let Some(config) = injector(view, choice.revision.unwrap_or_default()) else {
        return;
    };
    let namespace = &object.key.name;
    let mut old: Vec<(&ObjectKey, &Container)> = Vec::new();
    for (key, pod) in view.objects::<PodSpec>(namespace) {
        let Some(spec) = pod.spec().filter(|spec| !spec.has_ended()) else {
            continue;
        };
        let chosen = pod.meta.annotations.get(PROXY_IMAGE);
        let Some(proxy) = spec.proxy().filter(|_| chosen.is_none_or(String::is_empty)) else {
            continue;
        };
        if proxy.image != config.image && !is_variant(view, key, pod, proxy, config) {
            old.push((key, proxy));
        }
    }
    if let Some((first, proxy)) = old.first() {
        let more = match old.len() {
            1 => String::new(),
            count => format!(", and so on in {} more pods", count - 1),
        };
        let text = format!(
            "the injector's image is \"{}\", but {first} runs \"{}\"{more}",
            config.image, proxy.image
        );
        let message = report.say(&say::PROXY_IMAGE_DIFFERS, "", text);
        for (pod, _) in old.iter().take(MOST_PODS) {
            message.concerning(pod);
        }
    }
}

/// Most pods that a message names.
const MOST_PODS: usize = 10;

/// Whether an image is the injector's in the variant that the pod asks for.
fn is_variant(
    view: &View<'_>,
    key: &ObjectKey,
    pod: &Object<PodSpec>,
    proxy: &Container,
    config: &InjectorConfig,
) -> bool {
    let suffix = proxy.image.strip_prefix(config.image.as_str());
    suffix
        .and_then(|suffix| suffix.strip_prefix('-'))
        .is_some_and(|variant| variant == image_type(view, key, pod))
}

/// The variant of the proxy's image for a pod, from the narrowest setting: its annotations, a ProxyConfig that selects
/// it, one of its namespace, one of the whole mesh, the mesh configuration.
fn image_type(view: &View<'_>, key: &ObjectKey, pod: &Object<PodSpec>) -> String {
    let annotation = |name: &str| pod.meta.annotations.get(name);
    if let Some(variant) = annotation(PROXY_IMAGE_TYPE) {
        return variant.clone();
    }
    let of_config = |spec: &ProxyConfigSpec| {
        let image = spec.image.as_ref()?;
        Some(image.image_type.clone()).filter(|variant| !variant.is_empty())
    };
    let in_namespace = |namespace: &str, selecting: bool| {
        let namespace = namespace.into();
        view.objects::<ProxyConfigSpec>(&namespace)
            .find_map(|(_, object)| {
                let spec = object.spec()?;
                let selector = spec
                    .selector
                    .as_ref()
                    .map(|selector| &selector.match_labels);
                match selector.filter(|labels| !labels.is_empty()) {
                    Some(labels) if selecting && selects(labels, &pod.meta.labels) => {
                        of_config(spec)
                    }
                    None if !selecting => of_config(spec),
                    _ => None,
                }
            })
    };
    let overlay = || {
        let config = yaml::parse(annotation(PROXY_CONFIG)?).ok()?;
        Some(config["image"]["imageType"].as_str()?.to_owned())
    };
    in_namespace(&key.namespace, true)
        .or_else(overlay)
        .or_else(|| in_namespace(&key.namespace, false))
        .or_else(|| in_namespace(&view.settings().root_namespace, false))
        .unwrap_or_else(|| view.settings().image_type.clone())
}
