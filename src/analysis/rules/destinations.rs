//! Destinations of routes: their hosts, ports and subsets exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::message::Message;
use crate::analysis::view::{MOST_SERVICES, View};
use crate::api::networking::{Destination, VirtualServiceSpec};
use crate::api::text::enumeration;
use crate::model::{Host, Rule, Service, gateway_key, is_short};
use crate::world::{ObjectKey, ServiceSpec};

use super::nearest::nearest_first;
use super::{Inspected, Report};

/// How often it is looked up for one object what a namespace sees of a host; of what is beyond, nothing is said.
const MOST_LOOKS: usize = 20_000;

/// Every destination names a service that the object's namespace sees, and a port of it where it has several.
/// Istio: IST0101 (host, mirror host, host:port), IST0112.
pub(super) fn hosts_and_ports_exist(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let clients = client_namespaces(object);
    let mut looks = MOST_LOOKS;
    // Thousands of routes may name one host.
    let mut looked_up: BTreeMap<&str, Option<Result<Known<'_>, Unknown<'_>>>> = BTreeMap::new();
    for (path, destination) in destinations(object.spec) {
        let written = destination.host.as_str();
        let found = looked_up.entry(written).or_insert_with(|| {
            looks = looks.checked_sub(clients.len())?;
            Some(Known::of(view, object.key, &clients, written, report))
        });
        match found {
            None => {}
            Some(Ok(known)) => port_exists(&path, destination, known, report),
            Some(Err(unknown)) => {
                let path = format!("{path}.host");
                let message = report.say(&say::HOST_NOT_FOUND, path, &*unknown.text);
                if let Some(hidden) = unknown.hidden {
                    message.concerning(&hidden.source);
                }
            }
        }
    }
}

/// What the clients of routes see of a host.
struct Known<'a> {
    services: Vec<&'a Arc<Service>>,
    ports: BTreeSet<u32>,
    /// Whether there may be others, with other ports.
    has_more: bool,
}

/// Why they see nothing.
struct Unknown<'a> {
    text: String,
    /// A service that is there, and not visible.
    hidden: Option<&'a Arc<Service>>,
}

impl<'a> Known<'a> {
    fn of(
        view: &View<'a>,
        object: &ObjectKey,
        clients: &BTreeSet<Arc<str>>,
        written: &str,
        report: &mut Report<'_>,
    ) -> Result<Known<'a>, Unknown<'a>> {
        let host = view.resolve(written, &object.namespace);
        let mut services = view.services(&host, clients);
        let Some(first) = services.first().map(|first| first.host.clone()) else {
            let hidden = view.any_service(&host);
            return Err(Unknown {
                text: unknown_host(view, object, written, &host, hidden, report),
                hidden,
            });
        };
        let has_more = services.len() >= MOST_SERVICES;
        services.retain(|other| other.host == first);
        let ports = services.iter().flat_map(|service| service.ports.iter());
        let ports = ports.map(|port| port.number).collect();
        Ok(Known {
            services,
            ports,
            has_more,
        })
    }
}

fn port_exists(path: &Path, destination: &Destination, known: &Known<'_>, report: &mut Report<'_>) {
    let (services, numbers) = (known.services.as_slice(), &known.ports);
    let source = || match services {
        [one, other] => format!("{} and {}", one.source, other.source),
        many => enumeration(many.iter().map(|service| &service.source)),
    };
    let list = || enumeration(numbers);
    match &destination.port {
        Some(port) if !numbers.contains(&port.number) && !known.has_more => {
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
    hidden: Option<&Arc<Service>>,
    report: &mut Report<'_>,
) -> String {
    let namespace = &object.namespace;
    if let Some(service) = hidden {
        return format!(
            "host \"{written}\" is not visible from namespace {namespace}; {} is exported to {}",
            service.source, service.visibility
        );
    }
    if !is_short(written) {
        let completed = Host::new(&format!("{written}.svc.{}", view.settings().cluster_domain));
        let hint = match view.any_service(&completed) {
            Some(_) => format!("; did you mean \"{completed}\"?"),
            None => String::new(),
        };
        return format!(
            "host \"{written}\" is not known: no Service or ServiceEntry defines it{hint}"
        );
    }
    let services = view.objects::<ServiceSpec>(namespace);
    let hint = report
        .hints
        .did_you_mean(written, services.map(|(key, _)| &*key.name));
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
    let mut looks = MOST_LOOKS;
    let mut judged: BTreeMap<(&str, &str), Option<Missing<'_>>> = BTreeMap::new();
    for (path, destination) in destinations(object.spec) {
        let subset = destination.subset.as_str();
        if subset.is_empty() {
            continue;
        }
        let problem = judged
            .entry((&destination.host, subset))
            .or_insert_with(|| {
                looks = looks.checked_sub(clients.len())?;
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
    let defines = |rule: &&Arc<Rule>| rule.spec.subsets.iter().any(|subset| subset.name == wanted);
    let mut nearest = None;
    for client in clients {
        let services = view.services(host, [client]);
        let effective = effective_rules(view, host, &services, client);
        // Where more services may be, their rules may define it.
        if services.len() >= MOST_SERVICES || effective.iter().any(defines) {
            return None;
        }
        if nearest.is_none() && !effective.is_empty() {
            nearest = Some(effective);
        }
    }
    Some(unknown_subset(wanted, host, nearest, view.rules(host)))
}

fn unknown_subset<'a>(
    wanted: &str,
    host: &Host,
    effective: Option<Vec<&'a Arc<Rule>>>,
    all: impl Iterator<Item = &'a Arc<Rule>>,
) -> Missing<'a> {
    let Some(effective) = effective else {
        let mut all = all.peekable();
        let nearest = all.peek().copied();
        let without_effect = all
            .by_ref()
            .take(LOOKED_THROUGH)
            .find(|rule| rule.spec.subsets.iter().any(|subset| subset.name == wanted));
        let text = match (without_effect, nearest) {
            (Some(rule), _) => format!(
                "subset \"{wanted}\" is not defined for this object's clients; {} defines it, but does not apply to them \
                 (it is in namespace {} and exported to {})",
                rule.source, rule.source.namespace, rule.visibility
            ),
            (None, Some(rule)) if all.next().is_none() => format!(
                "subset \"{wanted}\" is not defined: no DestinationRule for {host} has it, and none applies to this object's \
                 clients ({} is exported to {})",
                rule.source, rule.visibility
            ),
            (None, Some(rule)) => format!(
                "subset \"{wanted}\" is not defined for this object's clients: no DestinationRule for {host} applies to them \
                 ({} is exported to {}; {LOOKED_THROUGH} that do not apply were looked through for the subset, there are more)",
                rule.source, rule.visibility
            ),
            (None, None) => format!(
                "subset \"{wanted}\" is not defined; there is no DestinationRule for {host}"
            ),
        };
        return Missing {
            text,
            rules: without_effect.or(nearest).into_iter().collect(),
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
    let root = || view.settings().root_namespace.as_str().into();
    for namespace in std::iter::once(client)
        .chain(service_namespaces)
        .cloned()
        .chain(std::iter::once_with(root))
    {
        let mut tier = view
            .rules_of(&namespace, host)
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

/// Where a destination stands in a VirtualService; written only when there is something to say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    protocol: &'static str,
    route: usize,
    of: Member,
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Route(usize),
    Mirror,
    Mirrors(usize),
}

/// The field path: `spec.http[0].route[0].destination`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.{}[{}].", self.protocol, self.route)?;
        match self.of {
            Member::Route(index) => write!(f, "route[{index}].destination"),
            Member::Mirror => f.write_str("mirror"),
            Member::Mirrors(index) => write!(f, "mirrors[{index}].destination"),
        }
    }
}

/// The destinations of an object's routes and mirrors that name a host, with their places.
pub(super) fn destinations(
    spec: &VirtualServiceSpec,
) -> impl Iterator<Item = (Path, &Destination)> {
    let at = |protocol, route| {
        move |of| Path {
            protocol,
            route,
            of,
        }
    };
    let http = spec.http.iter().enumerate().flat_map(move |(i, http)| {
        let at = at("http", i);
        let routes = http.route.iter().enumerate();
        let routes = routes.map(move |(j, route)| (at(Member::Route(j)), &route.destination));
        let mirrors = http.mirrors.iter().enumerate();
        let mirrors = mirrors.map(move |(j, mirror)| (at(Member::Mirrors(j)), &mirror.destination));
        routes
            .chain([(at(Member::Mirror), &http.mirror)])
            .chain(mirrors)
    });
    let tls = spec.tls.iter().map(|tls| &tls.route).enumerate();
    let tls = tls.map(|(i, routes)| ("tls", i, routes));
    let tcp = spec.tcp.iter().map(|tcp| &tcp.route).enumerate();
    let tcp = tcp.map(|(i, routes)| ("tcp", i, routes));
    let others = tls.chain(tcp).flat_map(move |(protocol, i, routes)| {
        let at = at(protocol, i);
        let routes = routes.iter().enumerate();
        routes.map(move |(j, route)| (at(Member::Route(j)), &route.destination))
    });
    http.chain(others)
        .filter_map(|(path, destination)| Some((path, destination.as_ref()?)))
        .filter(|(_, destination)| !destination.host.is_empty())
}
