//! What single objects say about hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::networking::{
    DestinationRuleSpec, GatewaySpec, Server, ServiceEntrySpec, VirtualServiceSpec,
};
use crate::world::{Object, ObjectKey, ServiceSpec, Settings};

use super::host::Host;
use super::index::Entry;
use super::mentions::gateway_key;
use super::visibility::Visibility;

/// The annotation by which a Kubernetes Service says from where it is seen; comma-separated, as `exportTo`.
const SERVICE_EXPORT_TO: &str = "networking.istio.io/exportTo";

/// The name by which a VirtualService says that it applies to the sidecars.
pub const MESH_GATEWAY: &str = "mesh";

/// How many places the routes or the services of one object have in the index, for all of its hosts together: an object of
/// some kilobytes could else have a million.
const MOST_PLACES: usize = 2_048;

/// How many courses routes have for each host whatever number of hosts there is.
const FOLLOWED_ALWAYS: usize = 4;

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What a ServiceEntry says that it speaks; empty for a port of a Kubernetes Service, whose name tells.
    pub protocol: String,
}

/// A service of the registry: one host of a Service or of a ServiceEntry.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its host.
    pub host: Host,
    /// The object that defines it.
    pub source: ObjectKey,
    /// When that was created.
    pub created: Option<Timestamp>,
    /// From where it is seen.
    pub visibility: Visibility,
    /// Its ports, as they are listed.
    pub ports: Arc<[Port]>,
    /// What says which endpoints it has. Nothing else is up to date there.
    pub definition: Definition,
    /// Whether it is indexed under each namespace that it is exported to, where these are not all: they may be many.
    pub(super) is_followed: bool,
}

/// What an object says that defines a service.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// A Kubernetes Service.
    Service(Arc<ServiceSpec>),
    /// A ServiceEntry.
    ServiceEntry(Arc<ServiceEntrySpec>),
}

impl Definition {
    /// Whether both select the same endpoints; false where that would take long to tell.
    fn selects_the_same(&self, other: &Definition) -> bool {
        match (self, other) {
            (Definition::Service(a), Definition::Service(b)) => a.selector == b.selector,
            (Definition::ServiceEntry(a), Definition::ServiceEntry(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Service {
    /// The scopes that it is indexed under.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        let (first, namespaces) = match &self.visibility {
            Visibility::Everywhere => (Scope::Everywhere, None),
            Visibility::Namespaces(list) => (Scope::Limited, Some(list)),
        };
        let is_many = namespaces.is_some() && !self.is_followed;
        let followed = namespaces.filter(|_| self.is_followed);
        let each = followed.into_iter().flat_map(|list| list.iter());
        [Some(first), is_many.then_some(Scope::Many)]
            .into_iter()
            .flatten()
            .chain(each.cloned().map(Scope::In))
    }
}

/// A DestinationRule, by the host that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The host that it is for.
    pub host: Host,
    /// The DestinationRule.
    pub source: ObjectKey,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// From where it is seen.
    pub visibility: Visibility,
    /// What it says.
    pub spec: Arc<DestinationRuleSpec>,
}

/// A VirtualService, by a host that it routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes {
    /// The host that it routes.
    pub host: Host,
    /// The VirtualService.
    pub source: ObjectKey,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// From where it is seen.
    pub visibility: Visibility,
    /// Whether it applies to sidecars (and not to gateways alone).
    pub for_mesh: bool,
    /// Whether its HTTP routes for the host send to subsets of it.
    pub splits: bool,
    /// The Gateways that it names.
    pub gateways: Arc<BTreeSet<ObjectKey>>,
    /// What it says.
    pub spec: Arc<VirtualServiceSpec>,
}

/// Whom routes for a host concern: those of one course may be rivals, or are looked for together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// Requests through sidecars.
    Sidecars(Scope),
    /// Requests through a Gateway, for HTTP.
    Gateway(ObjectKey),
    /// Nobody in particular: the routes split the requests to their host by its subsets.
    Splitting,
}

/// How far routes or services are exported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To all namespaces.
    Everywhere,
    /// To some namespaces.
    Limited,
    /// To so many namespaces that they are not indexed by each.
    Many,
    /// To some namespaces, this one among them.
    In(Arc<str>),
}

impl Routes {
    /// The scopes in which other routes are exported just as far: there they are rivals. Of very many, the first.
    pub fn scopes(&self) -> Vec<Scope> {
        match &self.visibility {
            Visibility::Everywhere => vec![Scope::Everywhere],
            Visibility::Namespaces(list) => {
                let first = list.iter().take(self.followed());
                first.cloned().map(Scope::In).collect()
            }
        }
    }

    /// The Gateways at which other routes may be rivals. Of very many, the first.
    pub fn at_gateways(&self) -> impl Iterator<Item = Course> + '_ {
        let first = self.gateways.iter().take(self.followed());
        first.cloned().map(Course::Gateway)
    }

    /// How many namespaces and how many Gateways of the object are looked at together with other objects.
    fn followed(&self) -> usize {
        followed(self.spec.hosts.len())
    }

    /// The scope of routes that are exported farther, or less far, and are seen from where these are; none where nobody
    /// sees these.
    pub fn other_scope(&self) -> Option<Scope> {
        match &self.visibility {
            Visibility::Everywhere => Some(Scope::Limited),
            Visibility::Namespaces(list) => (!list.is_empty()).then_some(Scope::Everywhere),
        }
    }

    pub(super) fn courses(&self) -> Vec<Course> {
        let mut courses = Vec::new();
        if self.for_mesh {
            courses.extend(self.scopes().into_iter().map(Course::Sidecars));
            if self.other_scope() == Some(Scope::Everywhere) {
                courses.push(Course::Sidecars(Scope::Limited));
            }
        }
        if !self.spec.http.is_empty() {
            courses.extend(self.at_gateways());
        }
        if self.splits {
            courses.push(Course::Splitting);
        }
        courses
    }
}

/// How many courses each of so many hosts of an object has in the index.
fn followed(hosts: usize) -> usize {
    (MOST_PLACES / hosts.max(1)).max(FOLLOWED_ALWAYS)
}

/// Whether each of so many hosts of an object is indexed by all namespaces that see it.
fn is_followed(visibility: &Visibility, hosts: usize) -> bool {
    match visibility {
        Visibility::Everywhere => true,
        Visibility::Namespaces(list) => list.len() <= followed(hosts),
    }
}

/// A Gateway, by a host that one of its servers serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The host, without the namespace that may stand before it.
    pub host: Host,
    /// The Gateway.
    pub source: ObjectKey,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Ports and addresses of the servers that serve it.
    pub listeners: BTreeSet<Listener>,
    /// To the VirtualServices of which namespace (`None` for all) which servers offer it.
    pub offers: BTreeSet<(Option<Arc<str>>, usize)>,
    /// The labels of the pods that it is for.
    pub selector: Arc<Selector>,
    /// What it says.
    pub spec: Arc<GatewaySpec>,
}

/// A port and an address, which is empty for all.
pub type Listener = (u32, Arc<str>);

/// Labels that pods must have.
pub type Selector = BTreeMap<String, String>;

/// By what Gateways are looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// What one Gateway offers to the VirtualServices of a namespace alone, or of all (`None`).
    Offered(ObjectKey, Option<Arc<str>>),
    /// Where pods listen: those with the labels of this selector, or any (`None`).
    Listening(Listener, Option<Arc<Selector>>),
}

impl Served {
    /// The servers that offer the host to VirtualServices of a namespace alone, or of all.
    pub fn servers(&self, client: Option<&Arc<str>>) -> impl Iterator<Item = usize> + '_ {
        let client = client.cloned();
        let from = self.offers.range((client.clone(), 0)..);
        from.take_while(move |(other, _)| *other == client)
            .map(|(_, server)| *server)
    }

    pub(super) fn doors(&self) -> Vec<Door> {
        let mut clients: Vec<&Option<Arc<str>>> =
            self.offers.iter().map(|(client, _)| client).collect();
        clients.dedup();
        let offered = clients.into_iter().cloned();
        let offered = offered.map(|client| Door::Offered(self.source.clone(), client));
        let listening = self.listeners.iter().flat_map(|listener| {
            let of = |selector| Door::Listening(listener.clone(), selector);
            [of(None), of(Some(Arc::clone(&self.selector)))]
        });
        offered.chain(listening).collect()
    }
}

/// A host that a VirtualService sends to.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The VirtualService.
    pub source: ObjectKey,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The subsets of the host that it names, in order, each once.
    pub subsets: Vec<Arc<str>>,
}

macro_rules! entry {
    ($($type:ty: |$own:ident, $other:ident| $same:expr;)*) => {$(
        impl Entry for $type {
            fn host(&self) -> &Host {
                &self.host
            }

            fn source(&self) -> &ObjectKey {
                &self.source
            }

            fn created(&self) -> Option<Timestamp> {
                self.created
            }

            fn says_the_same(&self, other: &Self) -> bool {
                let ($own, $other) = (self, other);
                $own.host == $other.host
                    && $own.source == $other.source
                    && $own.created == $other.created
                    && $same
            }
        }
    )*};
}
entry! {
    Service: |a, b| a.visibility == b.visibility && a.is_followed == b.is_followed && a.ports == b.ports
        && a.definition.selects_the_same(&b.definition);
    Rule: |a, b| Arc::ptr_eq(&a.spec, &b.spec);
    Routes: |a, b| Arc::ptr_eq(&a.spec, &b.spec);
    Served: |a, b| Arc::ptr_eq(&a.spec, &b.spec);
    Target: |a, b| a.subsets == b.subsets;
}

/// Whether a VirtualService with these `gateways` applies to sidecars.
pub fn applies_to_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|gateway| gateway == MESH_GATEWAY)
}

pub(super) fn of_service(
    key: &ObjectKey,
    object: &Object<ServiceSpec>,
    settings: &Settings,
) -> Option<Service> {
    let spec = object.spec.as_ref().ok()?;
    let export_to: Vec<String> = object
        .meta
        .annotations
        .get(SERVICE_EXPORT_TO)
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(|entry| entry.trim().to_owned())
        .filter(|entry| !entry.is_empty())
        .collect();
    let visibility = Visibility::of(
        &export_to,
        &settings.default_service_export_to,
        &key.namespace,
    );
    Some(Service {
        host: Host::of_service(&key.name, &key.namespace, &settings.cluster_domain),
        source: key.clone(),
        created: object.meta.created,
        is_followed: is_followed(&visibility, 1),
        visibility,
        ports: spec
            .ports
            .iter()
            .map(|port| Port {
                number: port.port.into(),
                name: port.name.clone(),
                protocol: String::new(),
            })
            .collect(),
        definition: Definition::Service(Arc::clone(spec)),
    })
}

pub(super) fn of_service_entry(
    key: &ObjectKey,
    object: &Object<ServiceEntrySpec>,
    settings: &Settings,
) -> Vec<Service> {
    let Ok(spec) = &object.spec else {
        return Vec::new();
    };
    let ports: Arc<[Port]> = spec
        .ports
        .iter()
        .map(|port| Port {
            number: port.number,
            name: port.name.clone(),
            protocol: port.protocol.clone(),
        })
        .collect();
    let visibility = Visibility::of(
        &spec.export_to,
        &settings.default_service_export_to,
        &key.namespace,
    );
    let is_followed = is_followed(&visibility, spec.hosts.len());
    hosts(&spec.hosts, key, settings)
        .map(|host| Service {
            host,
            source: key.clone(),
            created: object.meta.created,
            visibility: visibility.clone(),
            ports: ports.clone(),
            definition: Definition::ServiceEntry(Arc::clone(spec)),
            is_followed,
        })
        .collect()
}

pub(super) fn of_destination_rule(
    key: &ObjectKey,
    object: &Object<DestinationRuleSpec>,
    settings: &Settings,
) -> Option<Rule> {
    let spec = object.spec.as_ref().ok()?;
    Some(Rule {
        host: Host::resolve(&spec.host, &key.namespace, &settings.cluster_domain),
        source: key.clone(),
        created: object.meta.created,
        visibility: Visibility::of(
            &spec.export_to,
            &settings.default_destination_rule_export_to,
            &key.namespace,
        ),
        spec: spec.clone(),
    })
}

pub(super) fn of_virtual_service(
    key: &ObjectKey,
    object: &Object<VirtualServiceSpec>,
    settings: &Settings,
) -> Vec<Routes> {
    let Ok(spec) = &object.spec else {
        return Vec::new();
    };
    let visibility = Visibility::of(
        &spec.export_to,
        &settings.default_virtual_service_export_to,
        &key.namespace,
    );
    let resolve = |host: &str| Host::resolve(host, &key.namespace, &settings.cluster_domain);
    let for_mesh = applies_to_mesh(&spec.gateways);
    let gateways = spec.gateways.iter();
    let gateways = gateways.filter_map(|written| gateway_key(written, &key.namespace));
    let gateways = Arc::new(gateways.collect());
    let http = spec.http.iter().flat_map(|http| &http.route);
    let mut split: Vec<&str> = http
        .filter_map(|route| route.destination.as_ref())
        .filter(|destination| !destination.subset.is_empty())
        .map(|destination| destination.host.as_str())
        .collect();
    once(&mut split);
    let mut split: Vec<Host> = split.into_iter().map(resolve).collect();
    split.sort_unstable();
    let of_host = |host: Host| Routes {
        splits: split.binary_search(&host).is_ok(),
        host,
        source: key.clone(),
        created: object.meta.created,
        visibility: visibility.clone(),
        for_mesh,
        gateways: Arc::clone(&gateways),
        spec: spec.clone(),
    };
    hosts(&spec.hosts, key, settings).map(of_host).collect()
}

/// The hosts of an object, each once: they may repeat, also by being written short here and in full there.
fn hosts(
    written: &[String],
    key: &ObjectKey,
    settings: &Settings,
) -> impl Iterator<Item = Host> + use<> {
    let resolve = |host: &String| Host::resolve(host, &key.namespace, &settings.cluster_domain);
    let mut hosts: Vec<Host> = written.iter().map(resolve).collect();
    once(&mut hosts);
    hosts.into_iter()
}

/// Brings a list in order and leaves each member once.
fn once<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

pub(super) fn targets_of_virtual_service(
    key: &ObjectKey,
    object: &Object<VirtualServiceSpec>,
    settings: &Settings,
) -> Vec<Target> {
    let Some(spec) = object.spec() else {
        return Vec::new();
    };
    let mirrors = spec.http.iter().flat_map(|http| {
        let several = http
            .mirrors
            .iter()
            .filter_map(|mirror| mirror.destination.as_ref());
        http.mirror.iter().chain(several)
    });
    let http = spec.http.iter().flat_map(|http| &http.route);
    let http = http.filter_map(|route| route.destination.as_ref());
    let tls = spec.tls.iter().flat_map(|tls| &tls.route);
    let tcp = spec.tcp.iter().flat_map(|tcp| &tcp.route);
    let others = tls
        .chain(tcp)
        .filter_map(|route| route.destination.as_ref());
    let all = http.chain(mirrors).chain(others);
    let mut named: Vec<(&str, &str)> = all
        .filter(|destination| !destination.subset.is_empty())
        .map(|destination| (destination.host.as_str(), destination.subset.as_str()))
        .collect();
    once(&mut named);
    let resolve = |same: &[(&str, &str)]| {
        let (written, _) = same.first()?;
        let host = Host::resolve(written, &key.namespace, &settings.cluster_domain);
        Some((
            host,
            same.iter().map(|(_, subset)| Arc::from(*subset)).collect(),
        ))
    };
    let by_text = named.chunk_by(|(a, _), (b, _)| a == b);
    let mut by_host: Vec<(Host, Vec<Arc<str>>)> = by_text.filter_map(resolve).collect();
    // A host may be written in several ways.
    by_host.sort_unstable();
    by_host.dedup_by(|(other, subsets), (host, all)| {
        let is_same = other == host;
        if is_same {
            all.append(subsets);
            once(all);
        }
        is_same
    });
    let entry = |(host, subsets)| Target {
        host,
        source: key.clone(),
        created: object.meta.created,
        subsets,
    };
    by_host.into_iter().map(entry).collect()
}

pub(super) fn of_gateway(key: &ObjectKey, object: &Object<GatewaySpec>) -> Vec<Served> {
    let Ok(spec) = &object.spec else {
        return Vec::new();
    };
    let selector = Arc::new(spec.selector.clone());
    let mut hosts: BTreeMap<Host, Served> = BTreeMap::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let listener = listener(server);
        for written in &server.hosts {
            let (client, host) = server_host(written, &key.namespace);
            let served = hosts.entry(host.clone()).or_insert_with(|| Served {
                host,
                source: key.clone(),
                created: object.meta.created,
                listeners: BTreeSet::new(),
                offers: BTreeSet::new(),
                selector: Arc::clone(&selector),
                spec: spec.clone(),
            });
            served.listeners.extend(listener.clone());
            served.offers.insert((client, index));
        }
    }
    hosts.into_values().collect()
}

/// Where a server listens.
pub fn listener(server: &Server) -> Option<Listener> {
    let port = server.port.as_ref()?;
    Some((port.number, server.bind.as_str().into()))
}

/// The host of a server of a Gateway in a namespace, and the namespace to whose VirtualServices it is offered (`None` for
/// all). It may be written `namespace/host`, with `.` for the Gateway's own namespace and `*` for all.
pub fn server_host(written: &str, own: &Arc<str>) -> (Option<Arc<str>>, Host) {
    match written.split_once('/') {
        None => (None, Host::new(written)),
        Some(("*", host)) => (None, Host::new(host)),
        Some((".", host)) => (Some(own.clone()), Host::new(host)),
        Some((client, host)) => (Some(client.into()), Host::new(host)),
    }
}
