//! Destinations of routes: their hosts, ports and subsets exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::message::Message;
use crate::analysis::view::View;
use crate::api::networking::{Destination, VirtualServiceSpec};
use crate::api::text::enumeration;
use crate::model::{Host, Rule, Service, gateway_key, is_short};
use crate::world::{ObjectKey, ServiceSpec};

use super::nearest::{did_you_mean, nearest_first};
use super::{Inspected, Report};

/// Every destination names a service that the object's namespace sees, and a port of it where it has several.
/// Istio: IST0101 (host, mirror host, host:port), IST0112.
pub(super) fn hosts_and_ports_exist(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let clients = client_namespaces(object);
    // Thousands of routes may name one host that is not there.
    let mut unknown: BTreeMap<&str, String> = BTreeMap::new();
    for (path, destination) in destinations(object.spec) {
        let host = view.resolve(&destination.host, &object.key.namespace);
        let known = view.services(&host);
        let visible: Vec<&Arc<Service>> = known
            .iter()
            .copied()
            .filter(|service| {
                clients
                    .iter()
                    .any(|client| service.visibility.includes(client))
            })
            .collect();
        match visible.first() {
            Some(first) => {
                let same: Vec<&Arc<Service>> = visible
                    .iter()
                    .copied()
                    .filter(|other| other.host == first.host)
                    .collect();
                port_exists(&path, destination, &same, report);
            }
            None => {
                let written = destination.host.as_str();
                let text = unknown
                    .entry(written)
                    .or_insert_with(|| unknown_host(view, object.key, written, &host, &known));
                let message = report.say(&say::HOST_NOT_FOUND, format!("{path}.host"), &**text);
                if let Some(hidden) = known.first() {
                    message.concerning(&hidden.source);
                }
            }
        }
    }
}

fn port_exists(
    path: &str,
    destination: &Destination,
    services: &[&Arc<Service>],
    report: &mut Report<'_>,
) {
    let numbers: BTreeSet<u32> = services
        .iter()
        .flat_map(|service| service.ports.iter())
        .map(|port| port.number)
        .collect();
    let source = || match services {
        [one, other] => format!("{} and {}", one.source, other.source),
        many => enumeration(many.iter().map(|service| &service.source)),
    };
    let list = || enumeration(&numbers);
    match &destination.port {
        Some(port) if !numbers.contains(&port.number) => {
            let has = if numbers.is_empty() {
                "no ports".to_owned()
            } else {
                list()
            };
            let text = format!(
                "host \"{}\" has no port {}; {} has {has}",
                destination.host,
                port.number,
                source()
            );
            let path = format!("{path}.port.number");
            concerning(report.say(&say::PORT_NOT_FOUND, path, text), services);
        }
        None if numbers.len() > 1 => {
            let text = format!(
                "a port is needed, because {} has several: {}",
                source(),
                list()
            );
            let path = format!("{path}.host");
            concerning(report.say(&say::PORT_REQUIRED, path, text), services);
        }
        _ => {}
    }
}

fn concerning(message: &mut Message, services: &[&Arc<Service>]) {
    for service in services {
        message.concerning(&service.source);
    }
}

/// Why a host is unknown, and what may have been meant.
pub(super) fn unknown_host(
    view: &View<'_>,
    object: &ObjectKey,
    written: &str,
    host: &Host,
    hidden: &[&Arc<Service>],
) -> String {
    let namespace = &object.namespace;
    if let Some(service) = hidden.first() {
        return format!(
            "host \"{written}\" is not visible from namespace {namespace}; {} is exported to {}",
            service.source, service.visibility
        );
    }
    if !is_short(written) {
        let completed = Host::new(&format!("{written}.svc.{}", view.settings().cluster_domain));
        let hint = if view.services(&completed).is_empty() {
            String::new()
        } else {
            format!("; did you mean \"{completed}\"?")
        };
        return format!(
            "host \"{written}\" is not known: no Service or ServiceEntry defines it{hint}"
        );
    }
    let services = view.objects::<ServiceSpec>(namespace);
    let hint = did_you_mean(written, services.map(|(key, _)| &*key.name));
    format!(
        "host \"{written}\" is not known: there is no Service {namespace}/{written} and no ServiceEntry for {host}{hint}"
    )
}

/// Every subset that a destination names is defined by the DestinationRules that apply to the client.
/// Istio: IST0101 (host+subset, mirror+subset).
pub(super) fn subsets_exist(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let clients: BTreeSet<Arc<str>> = client_namespaces(object)
        .into_iter()
        .chain(gateway_namespaces(object))
        .collect();
    let mut judged: BTreeMap<(&str, &str), Option<Missing<'_>>> = BTreeMap::new();
    for (path, destination) in destinations(object.spec) {
        let subset = destination.subset.as_str();
        if subset.is_empty() {
            continue;
        }
        let problem = judged
            .entry((&destination.host, subset))
            .or_insert_with(|| {
                let host = view.resolve(&destination.host, &object.key.namespace);
                missing_subset(view, &clients, &host, subset)
            });
        if let Some(missing) = problem {
            let path = format!("{path}.subset");
            let message = report.say(&say::SUBSET_NOT_FOUND, path, &*missing.text);
            for rule in &missing.rules {
                message.concerning(&rule.source);
            }
        }
    }
}

/// In how many DestinationRules that do not apply a subset is looked for.
const LOOKED_THROUGH: usize = 1_000;

/// What is said of a subset that is not defined, and the DestinationRules that it tells of.
struct Missing<'a> {
    text: String,
    rules: Vec<&'a Arc<Rule>>,
}

/// What to say of a subset that is not defined for any of the clients; `None` when it is.
fn missing_subset<'a>(
    view: &View<'a>,
    clients: &BTreeSet<Arc<str>>,
    host: &Host,
    wanted: &str,
) -> Option<Missing<'a>> {
    let services = view.services(host);
    let effective: Vec<Vec<&'a Arc<Rule>>> = clients
        .iter()
        .map(|client| effective_rules(view, host, &services, client))
        .collect();
    let defines = |rule: &&Arc<Rule>| rule.spec.subsets.iter().any(|subset| subset.name == wanted);
    if effective.iter().flatten().any(defines) {
        return None;
    }
    let nearest = effective.into_iter().find(|rules| !rules.is_empty());
    Some(unknown_subset(wanted, host, nearest, view.rules(host)))
}

fn unknown_subset<'a>(
    wanted: &str,
    host: &Host,
    effective: Option<Vec<&'a Arc<Rule>>>,
    all: impl Iterator<Item = &'a Arc<Rule>>,
) -> Missing<'a> {
    let Some(effective) = effective else {
        let mut all = all.take(LOOKED_THROUGH);
        let without_effect =
            all.find(|rule| rule.spec.subsets.iter().any(|subset| subset.name == wanted));
        let text = match without_effect {
            Some(rule) => format!(
                "subset \"{wanted}\" is not defined for this object's clients; {} defines it, but does not apply to them \
                 (it is in namespace {} and exported to {})",
                rule.source, rule.source.namespace, rule.visibility
            ),
            None => format!(
                "subset \"{wanted}\" is not defined; there is no DestinationRule for {host}"
            ),
        };
        return Missing {
            text,
            rules: without_effect.into_iter().collect(),
        };
    };
    let has = effective.iter().map(|rule| {
        let names = nearest_first(
            wanted,
            rule.spec.subsets.iter().map(|subset| subset.name.as_str()),
        );
        let names = if names.is_empty() {
            "no subsets".to_owned()
        } else {
            enumeration(names)
        };
        format!("{} has {names}", rule.source)
    });
    let text = format!(
        "subset \"{wanted}\" is not defined; {}",
        has.collect::<Vec<_>>().join("; ")
    );
    Missing {
        text,
        rules: effective,
    }
}

/// The namespaces whose sidecars use the routes, as far as the object names them: those that it is exported to, and its
/// own where it is exported to all.
fn client_namespaces(object: &Inspected<'_, VirtualServiceSpec>) -> BTreeSet<Arc<str>> {
    let own = || object.key.namespace.clone();
    let exported = object
        .spec
        .export_to
        .iter()
        .map(|entry| match entry.as_str() {
            "*" | "." => own(),
            other => other.into(),
        });
    let clients: BTreeSet<Arc<str>> = exported.collect();
    if clients.is_empty() {
        BTreeSet::from([own()])
    } else {
        clients
    }
}

/// The namespaces of the gateways that use the routes.
fn gateway_namespaces(
    object: &Inspected<'_, VirtualServiceSpec>,
) -> impl Iterator<Item = Arc<str>> {
    let gateways = object.spec.gateways.iter();
    gateways
        .filter_map(|gateway| gateway_key(gateway, &object.key.namespace))
        .map(|key| key.namespace)
}

/// The DestinationRules that apply to clients in a namespace: those of that namespace if there are any, else those of
/// the service's, else those of the root namespace; among them, those with the most specific host.
/// Istio: `PushContext.destinationRule`.
fn effective_rules<'a>(
    view: &View<'a>,
    host: &Host,
    services: &[&Arc<Service>],
    client: &Arc<str>,
) -> Vec<&'a Arc<Rule>> {
    let service_namespaces = services.iter().map(|service| &service.source.namespace);
    let root = view.settings().root_namespace.as_str().into();
    for namespace in std::iter::once(client)
        .chain(service_namespaces)
        .chain([&root])
    {
        let mut tier = view
            .rules_of(namespace, host)
            .filter(|rule| rule.visibility.includes(client))
            .peekable();
        if let Some(most_specific) = tier.peek().map(|rule| &rule.host) {
            return tier
                .take_while(|rule| rule.host == *most_specific)
                .collect();
        }
    }
    Vec::new()
}

/// The destinations of an object's routes and mirrors that name a host, with their field paths.
pub(super) fn destinations(spec: &VirtualServiceSpec) -> Vec<(String, &Destination)> {
    let mut found = Vec::new();
    for (i, http) in spec.http.iter().enumerate() {
        for (j, route) in http.route.iter().enumerate() {
            found.push((
                format!("spec.http[{i}].route[{j}].destination"),
                route.destination.as_ref(),
            ));
        }
        found.push((format!("spec.http[{i}].mirror"), http.mirror.as_ref()));
        for (j, mirror) in http.mirrors.iter().enumerate() {
            found.push((
                format!("spec.http[{i}].mirrors[{j}].destination"),
                mirror.destination.as_ref(),
            ));
        }
    }
    let tls = spec
        .tls
        .iter()
        .map(|tls| &tls.route)
        .enumerate()
        .map(|(i, routes)| ("tls", i, routes));
    let tcp = spec
        .tcp
        .iter()
        .map(|tcp| &tcp.route)
        .enumerate()
        .map(|(i, routes)| ("tcp", i, routes));
    for (protocol, i, routes) in tls.chain(tcp) {
        for (j, route) in routes.iter().enumerate() {
            found.push((
                format!("spec.{protocol}[{i}].route[{j}].destination"),
                route.destination.as_ref(),
            ));
        }
    }
    found
        .into_iter()
        .filter_map(|(path, destination)| Some((path, destination?)))
        .filter(|(_, destination)| !destination.host.is_empty())
        .collect()
}
