//! Pods and Deployments: as whom they run, which image their proxy has, which Services send to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::metadata::Metadata;
use crate::api::policies::RequestAuthenticationSpec;
use crate::api::text::enumeration;
use crate::world::{
    DeploymentSpec, MutatingWebhookConfigurationSpec, ObjectKey, PodSpec, ServicePort, ServiceSpec,
    TargetPort,
};

use super::injection::{is_in_mesh, labels_of_namespace};
use super::{Inspected, Report};

/// The user of the proxy, whose traffic is never captured.
const PROXY_USER: i64 = 1337;

/// The image that says "the injector's".
const AUTO: &str = "auto";

/// On what Istio makes for a Gateway of the Gateway API: which controller made it.
const MANAGED_BY: &str = "gateway.istio.io/managed";
const WAYPOINTS: &str = "istio.io-mesh-controller";

/// Whether an object is a part of a control plane, which Istio labels so.
pub(super) fn is_control_planes(meta: &Metadata) -> bool {
    meta.labels.contains_key("istio")
        || meta
            .labels
            .get("release")
            .is_some_and(|release| release == "istio")
}

/// A pod is not the proxy's user, nor is one of its applications. Istio: IST0144.
pub(super) fn pods_run_as_others(
    _: &View<'_>,
    object: &Inspected<'_, PodSpec>,
    report: &mut Report<'_>,
) {
    if !is_control_planes(object.meta) {
        runs_as_another(object.spec, "spec", report);
    }
}

/// The same of the pods that a Deployment makes. Istio: IST0144.
pub(super) fn deployments_run_as_others(
    _: &View<'_>,
    object: &Inspected<'_, DeploymentSpec>,
    report: &mut Report<'_>,
) {
    if !is_control_planes(object.meta) {
        runs_as_another(&object.spec.template.spec, "spec.template.spec", report);
    }
}

fn runs_as_another(pod: &PodSpec, at: &str, report: &mut Report<'_>) {
    let mut wrong = Vec::new();
    if pod.security_context.run_as_user == Some(PROXY_USER) {
        wrong.push(format!("{at}.securityContext.runAsUser"));
    }
    for (index, container) in pod.applications() {
        if container.security_context.run_as_user == Some(PROXY_USER) {
            wrong.push(format!(
                "{at}.containers[{index}].securityContext.runAsUser"
            ));
        }
    }
    for path in wrong {
        let text = format!("{PROXY_USER} is the user of the proxy");
        report.say(&say::PROXYS_USER, path, text);
    }
}

/// No pod waits for an image that only an injector could have given it. Istio: IST0147.
pub(super) fn pods_have_real_images(
    _: &View<'_>,
    object: &Inspected<'_, PodSpec>,
    report: &mut Report<'_>,
) {
    if let Some(path) = auto_image(object.spec, "spec") {
        let text = "the image \"auto\" was not replaced, because no injector saw the pod";
        report.say(&say::AUTO_IMAGE_LEFT, path, text);
    }
}

/// A Deployment whose proxy's image is `auto` is seen by an injector. Istio: IST0146.
pub(super) fn deployments_with_auto_image_are_injected(
    view: &View<'_>,
    object: &Inspected<'_, DeploymentSpec>,
    report: &mut Report<'_>,
) {
    let template = &object.spec.template;
    let Some(path) = auto_image(&template.spec, "spec.template.spec") else {
        return;
    };
    let namespace = labels_of_namespace(view, &object.key.namespace);
    let is_seen = view
        .all::<MutatingWebhookConfigurationSpec>()
        .filter_map(|(_, object)| object.spec())
        .flat_map(|spec| &spec.0)
        .filter(|webhook| is_injectors(&webhook.name))
        .any(|webhook| {
            webhook.namespace_selector.matches(&namespace)
                && webhook.object_selector.matches(&template.metadata.labels)
        });
    if !is_seen {
        let text = format!(
            "no injection webhook is asked about these pods: neither their labels nor those of namespace {} choose one",
            object.key.namespace
        );
        report.say(&say::AUTO_IMAGE_UNSEEN, path, text);
    }
}

/// Whether a webhook of this name injects.
pub(super) fn is_injectors(webhook: &str) -> bool {
    webhook.ends_with("istio.io") || webhook.ends_with("outrigger.dev")
}

fn auto_image(pod: &PodSpec, at: &str) -> Option<String> {
    let lists = [
        ("containers", &pod.containers),
        ("initContainers", &pod.init_containers),
    ];
    lists.into_iter().find_map(|(list, containers)| {
        let is_auto = |container: &crate::world::Container| {
            container.name == "istio-proxy" && container.image == AUTO
        };
        let index = containers.iter().position(is_auto)?;
        Some(format!("{at}.{list}[{index}].image"))
    })
}

/// The Services of a Deployment in the mesh agree on its ports. Istio: IST0116, IST0137.
pub(super) fn services_of_a_deployment_agree(
    view: &View<'_>,
    object: &Inspected<'_, DeploymentSpec>,
    report: &mut Report<'_>,
) {
    let template = &object.spec.template;
    let (labels, annotations) = (&template.metadata.labels, &template.metadata.annotations);
    let namespace = &object.key.namespace;
    let is_waypoint = object
        .meta
        .labels
        .get(MANAGED_BY)
        .is_some_and(|by| by == WAYPOINTS);
    if is_waypoint || !is_in_mesh(view, namespace, labels, annotations, &template.spec) {
        return;
    }
    let mut services: Vec<_> = view.selecting::<ServiceSpec>(namespace, labels).collect();
    services.sort_by_key(|(key, _)| *key);
    if services
        .iter()
        .map(|(_, spec)| spec.ports.len())
        .sum::<usize>()
        < 2
    {
        return;
    }
    for (port, by_protocol) in grouped(&services, |port| Some((port.port, protocol(port)))) {
        if by_protocol.len() > 1 {
            let said = told(&by_protocol, |protocol| protocol.clone());
            let text = format!("port {port} of its Services has several protocols: {said}");
            let message = report.say(
                &say::PORT_PROTOCOLS_DIFFER,
                "spec.template.metadata.labels",
                text,
            );
            concerning(message, &by_protocol);
        }
    }
    for (target, by_port) in grouped(&services, |port| Some((target(port), port.port))) {
        if by_port.len() > 1 {
            let said = told(&by_port, ToString::to_string);
            let text = format!("port {target} of its pods has several ports of Services: {said}");
            let message = report.say(
                &say::TARGET_PORTS_DIFFER,
                "spec.template.metadata.labels",
                text,
            );
            concerning(message, &by_port);
        }
    }
}

/// What Services say of something, by it and by what is said.
type Grouped<'a, K, V> = BTreeMap<K, BTreeMap<V, BTreeSet<&'a ObjectKey>>>;

fn grouped<'a, K: Ord, V: Ord>(
    services: &[(&'a ObjectKey, &ServiceSpec)],
    of: impl Fn(&ServicePort) -> Option<(K, V)>,
) -> Grouped<'a, K, V> {
    let mut groups: Grouped<'a, K, V> = BTreeMap::new();
    for (key, spec) in services {
        for (by, what) in spec.ports.iter().filter_map(&of) {
            groups
                .entry(by)
                .or_default()
                .entry(what)
                .or_default()
                .insert(key);
        }
    }
    groups
}

/// `TCP (Service a/x), UDP (Service a/y)`
fn told<V: Ord>(by: &BTreeMap<V, BTreeSet<&ObjectKey>>, name: impl Fn(&V) -> String) -> String {
    let each = by.iter().map(|(what, services)| {
        let services = services.iter().map(ToString::to_string);
        format!(
            "{} ({})",
            name(what),
            services.collect::<Vec<_>>().join(", ")
        )
    });
    enumeration(each)
}

fn concerning<V: Ord>(
    message: &mut crate::analysis::Message,
    by: &BTreeMap<V, BTreeSet<&ObjectKey>>,
) {
    for service in by.values().flatten() {
        message.concerning(service);
    }
}

fn protocol(port: &ServicePort) -> String {
    if port.protocol.is_empty() {
        "TCP".to_owned()
    } else {
        port.protocol.clone()
    }
}

fn target(port: &ServicePort) -> String {
    match &port.target_port {
        Some(TargetPort::Name(name)) if !name.is_empty() => name.clone(),
        Some(TargetPort::Number(number)) if *number != 0 => number.to_string(),
        _ => port.port.to_string(),
    }
}

/// Istio's control plane is told which addresses it must not fetch keys from, where it fetches any. Istio: IST0175.
pub(super) fn keys_are_fetched_with_care(
    view: &View<'_>,
    object: &Inspected<'_, DeploymentSpec>,
    report: &mut Report<'_>,
) {
    let is_istiod = object
        .meta
        .labels
        .get("app")
        .is_some_and(|app| app == "istiod");
    if !is_istiod || object.spec.restricts_jwks {
        return;
    }
    let policies: Vec<&ObjectKey> = view
        .all::<RequestAuthenticationSpec>()
        .map(|(key, _)| key)
        .collect();
    let Some(first) = policies.first() else {
        return;
    };
    let others = match policies.len() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    let text = format!(
        "{first}{others} may have keys fetched from any address: BLOCKED_CIDRS_IN_JWKS_URIS is not set"
    );
    report
        .say(
            &say::JWKS_UNRESTRICTED,
            "spec.template.spec.containers",
            text,
        )
        .concerning(first);
}
