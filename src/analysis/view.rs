//! What rules see of the World and the Model. Every look is written down, so that a later change finds whom it concerns.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::kind::Kind;
use crate::gateway::{Exposure, Finding, Plan};
use crate::model::{
    Course, Door, Grouped, Host, HostIndex, Label, Listener, Mention, Model, Routes, Rule, Scope,
    Selecting, Selector, Served, Service, Subject, Target, Topic, Visibility, every_pod, selects,
};
use crate::world::{
    Content, DeploymentSpec, Object, ObjectKey, PodSpec, Readable, Settings, World,
};

use super::dependents::Looks;
use super::entrances::FirstNodes;

/// The only access of rules to other objects.
pub struct View<'a> {
    world: &'a World,
    model: &'a Model,
    ports: &'a Plan,
    first_nodes: &'a FirstNodes,
    /// The object that is judged, with what is stored of it: an [`Arc`] of an [`Object`].
    own: Option<(&'a ObjectKey, &'a dyn Any)>,
    /// The first hosts that were resolved in its namespace: every rule asks for the same ones.
    resolved: RefCell<Vec<(String, Host)>>,
    /// What some namespaces see of the first hosts; see [`View::services`].
    seen: RefCell<Vec<Seen<'a>>>,
    looks: RefCell<Looks>,
}

/// What a namespace sees of a host.
struct Seen<'a> {
    host: Host,
    by: Arc<str>,
    services: Found<'a, Service>,
}

/// How many hosts are kept resolved, and of how many it is kept what is seen.
const RESOLVED: usize = 4;

/// How many services of one host that are exported alike are looked at.
pub const MOST_SERVICES: usize = 64;

/// How many objects with a label are rather looked through than a rarer label is looked for.
const FEW: usize = 16;

/// A label and its value.
pub type Pair<'s> = (&'s String, &'s String);

fn has_all(labels: &BTreeMap<String, String>, wanted: &[Pair<'_>]) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(*key) == Some(*value))
}

/// The entries that concern a host: its own, and those of wildcards that cover it (the longest first).
pub type Found<'a, T> = Vec<&'a Arc<T>>;

impl<'a> View<'a> {
    pub(super) fn new(
        world: &'a World,
        model: &'a Model,
        ports: &'a Plan,
        first_nodes: &'a FirstNodes,
    ) -> View<'a> {
        View {
            world,
            model,
            ports,
            first_nodes,
            own: None,
            resolved: RefCell::default(),
            seen: RefCell::default(),
            looks: RefCell::default(),
        }
    }

    /// For the judgement of one object, which is looked at without being noted: whoever changes it has it judged anew.
    pub(super) fn of(self, key: &'a ObjectKey, object: &'a dyn Any) -> View<'a> {
        View {
            own: Some((key, object)),
            ..self
        }
    }

    /// What was looked at.
    pub(super) fn looks(self) -> Looks {
        let mut looks = self.looks.into_inner();
        looks.settle();
        looks
    }

    fn look_at(&self, subject: Subject) {
        self.looks.borrow_mut().add(subject);
    }

    /// Mesh-wide settings; when they change, everything is derived anew.
    pub fn settings(&self) -> &'a Settings {
        self.world.settings()
    }

    /// What a host in an object of `namespace` means.
    pub fn resolve(&self, host: &str, namespace: &str) -> Host {
        let resolve = || Host::resolve(host, namespace, &self.settings().cluster_domain);
        if self.own.is_none_or(|(own, _)| *own.namespace != *namespace) {
            return resolve();
        }
        let mut resolved = self.resolved.borrow_mut();
        if let Some((_, found)) = resolved.iter().find(|(written, _)| written == host) {
            return found.clone();
        }
        let found = resolve();
        if resolved.len() < RESOLVED {
            resolved.push((host.to_owned(), found.clone()));
        }
        found
    }

    /// What keeps the servers of a Gateway from being reached. Nothing is noted: a Snapshot knows itself of which
    /// Gateways this changed.
    pub fn port_findings(&self, gateway: &ObjectKey) -> &'a [Finding] {
        self.ports.findings(gateway)
    }

    /// An object.
    pub fn object<S: Content>(&self, key: &ObjectKey) -> Option<&'a Arc<Object<S>>> {
        if let Some((own, object)) = self.own
            && own == key
        {
            return object.downcast_ref();
        }
        self.look_at(Subject::Object(key.clone()));
        self.world.get(key)
    }

    fn look_at_object(&self, key: &ObjectKey) {
        if self.own.is_none_or(|(own, _)| own != key) {
            self.look_at(Subject::Object(key.clone()));
        }
    }

    /// The objects of a kind in a namespace, by name.
    pub fn objects<S: Content>(
        &self,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Object<S>>)> + use<'a, S> {
        self.look_at(Subject::Namespace(S::KIND, namespace.clone()));
        self.world.in_namespace(namespace)
    }

    /// All objects of a kind, by namespace and name. For kinds of which there are few: every change of one of them
    /// concerns the verdict.
    pub fn all<S: Content>(
        &self,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Object<S>>)> + use<'a, S> {
        self.look_at(Subject::Kind(S::KIND));
        self.world.all::<S>().iter()
    }

    /// What in a namespace selects pods with these labels, but for what selects all pods.
    pub fn selecting<'l, S: Selecting>(
        &'l self,
        namespace: &'l Arc<str>,
        labels: &'l BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a S)> + use<'a, 'l, S> {
        let by = labels.iter().map(|(key, value)| Label::new(key, value));
        by.flat_map(|label| self.selecting_by::<S>(namespace, label))
            .filter(|(_, spec)| {
                let selector = spec.selector();
                selector.is_some_and(|selector| selects(selector, labels))
            })
    }

    /// What in a namespace selects all pods.
    pub fn selecting_all<S: Selecting>(
        &self,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a S)> + use<'a, S> {
        let all = self.selecting_by::<S>(namespace, every_pod());
        all.filter(|(_, spec)| spec.selector().is_some_and(BTreeMap::is_empty))
    }

    fn selecting_by<S: Selecting>(
        &self,
        namespace: &Arc<str>,
        label: Label,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a S)> + use<'a, S> {
        let world = self.world;
        let selectors = self.model.selectors();
        let found = selectors.with(S::KIND, Some(namespace), label);
        self.look_at(Subject::Selectors(namespace.clone(), label));
        found.filter_map(|key| Some((key, world.get::<S>(key)?.spec()?)))
    }

    /// Services and ServiceEntries of a host that one of these namespaces sees, its own and those of wildcards that cover it
    /// (the longest first). Some are left out only where there are [`MOST_SERVICES`] or more.
    pub fn services<'c>(
        &self,
        host: &Host,
        clients: impl IntoIterator<Item = &'c Arc<str>, IntoIter: Clone>,
    ) -> Found<'a, Service> {
        let clients = clients.into_iter();
        let mut rest = clients.clone();
        let only = rest.next().filter(|_| rest.next().is_none());
        let Some(client) = only else {
            return self.seen_by(host, clients);
        };
        let mut seen = self.seen.borrow_mut();
        let before = seen
            .iter()
            .find(|seen| seen.host == *host && seen.by == *client);
        if let Some(before) = before {
            return before.services.clone();
        }
        let found = self.seen_by(host, clients);
        if seen.len() < RESOLVED {
            seen.push(Seen {
                host: host.clone(),
                by: client.clone(),
                services: found.clone(),
            });
        }
        found
    }

    fn seen_by<'c>(
        &self,
        host: &Host,
        clients: impl Iterator<Item = &'c Arc<str>> + Clone,
    ) -> Found<'a, Service> {
        self.look_at(Subject::Host(Topic::Services, host.clone()));
        let of_clients = clients.clone().cloned().map(Scope::In);
        let scopes = [Scope::Everywhere, Scope::Many].into_iter();
        let all = self.model.services();
        // The others are indexed by those who see them.
        let is_seen = |scope: &Scope, service: &Service| {
            let mut clients = clients.clone();
            *scope != Scope::Many || clients.any(|client| service.visibility.includes(client))
        };
        all.concerning(host, scopes.chain(of_clients), is_seen, MOST_SERVICES)
    }

    /// A Service or ServiceEntry of a host, whoever sees it.
    pub fn any_service(&self, host: &Host) -> Option<&'a Arc<Service>> {
        self.look_at(Subject::Host(Topic::Services, host.clone()));
        let all = self.model.services();
        let found = all.concerning(host, [Scope::Everywhere, Scope::Limited], |_, _| true, 1);
        found.first().copied()
    }

    /// Services and ServiceEntries that only some namespaces see: of a host, of the wildcards that cover it and of the hosts
    /// that it covers. The first [`MOST_SERVICES`].
    pub fn limited_services(
        &self,
        host: &Host,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.look_at(Subject::Host(Topic::Services, host.clone()));
        let all = self.model.services().of(&Scope::Limited);
        let host = host.clone();
        let found = all.into_iter().flat_map(move |all| all.around(&host));
        found.take(MOST_SERVICES)
    }

    /// Services and ServiceEntries of the hosts that a wildcard covers, which a namespace sees.
    pub fn services_below(
        &self,
        wildcard: &Host,
        client: &Arc<str>,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.look_at(Subject::Host(Topic::Services, wildcard.clone()));
        let all = self.model.services();
        let (wildcard, client) = (wildcard.clone(), client.clone());
        let scopes = [Scope::Everywhere, Scope::Many, Scope::In(client.clone())];
        let groups = scopes.into_iter().filter_map(|scope| all.of(&scope));
        groups
            .flat_map(move |group| group.below(&wildcard))
            .filter(move |service| service.visibility.includes(&client))
    }

    /// The ServiceEntry that is judged, by one of its hosts, and the first others of exactly this host that some namespace
    /// sees together with it.
    pub fn service_with_rivals(
        &self,
        host: &Host,
        created: Option<Timestamp>,
        source: &ObjectKey,
        most: usize,
    ) -> Option<(&'a Arc<Service>, Found<'a, Service>)> {
        self.look_at(Subject::Host(Topic::Services, host.clone()));
        let all = self.model.services();
        let found = [Scope::Everywhere, Scope::Limited].into_iter();
        let mut found = found.filter_map(|scope| all.of(&scope)?.get(host, created, source));
        let own = found.next()?;
        let (limited, each) = match &own.visibility {
            Visibility::Everywhere => (Scope::Limited, &[][..]),
            Visibility::Namespaces(list) => (Scope::Many, &**list),
        };
        let each = each.iter().take(MOST_SERVICES).cloned().map(Scope::In);
        let scopes = [Scope::Everywhere, limited].into_iter().chain(each);
        let is_rival = |_: &Scope, other: &Service| {
            other.host == *host
                && other.source != *source
                && other.source.kind == source.kind
                && other.visibility.overlaps(&own.visibility)
        };
        Some((own, all.concerning(host, scopes, is_rival, most)))
    }

    /// DestinationRules of a host: its own, then those of wildcards that cover it (the longest first).
    pub fn rules(&self, host: &Host) -> impl Iterator<Item = &'a Arc<Rule>> + use<'a> {
        self.look_at(Subject::Host(Topic::Rules, host.clone()));
        let all = self.model.rules();
        all.exact(host).chain(all.above(host))
    }

    /// The same, of one namespace.
    pub fn rules_of(
        &self,
        namespace: &Arc<str>,
        host: &Host,
    ) -> impl Iterator<Item = &'a Arc<Rule>> + use<'a> {
        self.look_at(Subject::Host(Topic::Rules, host.clone()));
        let all = self.model.rules_of().of(namespace).into_iter();
        let host = host.clone();
        all.flat_map(move |all| all.exact(&host).chain(all.above(&host)))
    }

    /// VirtualServices by host, noting that the verdict depends on those for this host, for the hosts that it covers
    /// and for the wildcards that cover it: no others may be read.
    pub fn routes_around(&self, host: &Host) -> &'a Grouped<Course, Routes> {
        self.look_at(Subject::Host(Topic::Routes, host.clone()));
        self.model.routes()
    }

    /// Whether routes send to a subset of a host, or of one that it covers.
    pub fn is_sent_to(&self, host: &Host, subset: &str) -> bool {
        self.look_at(Subject::Host(Topic::Targets, host.clone()));
        let of = self.model.targets_of().of(&Arc::from(subset));
        of.is_some_and(|of| of.exact(host).chain(of.below(host)).next().is_some())
    }

    /// The VirtualServices that send to subsets of a host, or of those that it covers.
    pub fn targets(&self, host: &Host) -> impl Iterator<Item = &'a Arc<Target>> + use<'a> {
        self.look_at(Subject::Host(Topic::Targets, host.clone()));
        let all = self.model.targets();
        all.exact(host).chain(all.below(host))
    }

    /// Gateways that listen there, for pods with the labels of this selector or of any: those that serve this host, or
    /// wildcards that cover it, or hosts that it covers.
    pub fn listening(
        &self,
        host: &Host,
        listener: &Listener,
        selector: Option<Arc<Selector>>,
    ) -> impl Iterator<Item = &'a Arc<Served>> + use<'a> {
        self.look_at(Subject::Host(Topic::Gateways, host.clone()));
        let found = self.model.gateways();
        let found = found.of(&Door::Listening(listener.clone(), selector));
        let host = host.clone();
        found.into_iter().flat_map(move |all| all.around(&host))
    }

    /// What a Gateway offers to the VirtualServices of a namespace, with the one or the other way of saying so.
    pub fn offered(
        &self,
        gateway: &ObjectKey,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = (Option<Arc<str>>, &'a HostIndex<Served>)> + use<'a> {
        self.look_at_object(gateway);
        let all = self.model.gateways();
        let of = |client: Option<Arc<str>>| {
            let door = Door::Offered(gateway.clone(), client.clone());
            Some((client, all.of(&door)?))
        };
        [of(None), of(Some(namespace.clone()))]
            .into_iter()
            .flatten()
    }

    /// The objects that name something.
    pub fn mentions(&self, mention: Mention) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let found = self.model.mentions().of(&mention);
        self.look_at(Subject::Mention(mention));
        found
    }

    /// The moment by which dates are judged. Nothing is noted: a Snapshot knows itself which Secrets have aged.
    pub fn now(&self) -> Option<Timestamp> {
        self.world.now()
    }

    /// Whether the Secrets of a namespace are among the objects.
    pub fn secrets_of(&self, namespace: &Arc<str>) -> Readable {
        self.look_at(Subject::Namespace(Kind::Secret, namespace.clone()));
        self.world.secret_access().of(namespace)
    }

    /// Where the servers of a Gateway are reached. Nothing is noted: a Snapshot knows itself of which Gateways this
    /// changed.
    pub fn exposures(&self, gateway: &ObjectKey) -> &'a [Exposure] {
        let gateway = self.ports.gateways.get(gateway);
        gateway.map_or(&[], |gateway| &gateway.exposed)
    }

    /// The addresses of the oldest nodes.
    pub(super) fn first_nodes(&self) -> &'a FirstNodes {
        self.look_at(Subject::Kind(Kind::Node));
        self.first_nodes
    }

    /// Whether there is any object of a kind.
    pub fn knows_any(&self, kind: Kind) -> bool {
        self.look_at(Subject::Existence(kind));
        self.world.count(kind) > 0
    }

    /// The pods with all labels of a selector, which must not be empty, in all namespaces.
    pub fn pods<'s>(
        &self,
        selector: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a, 's> {
        self.selected(None, selector.iter().collect())
    }

    /// The same, of one namespace. The labels must be in order.
    pub fn pods_of<'s, L: IntoIterator<Item = Pair<'s>>>(
        &self,
        namespace: &Arc<str>,
        selector: L,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a, 's, L> {
        self.selected(Some(namespace), selector.into_iter().collect())
    }

    fn selected<'s>(
        &self,
        namespace: Option<&Arc<str>>,
        selector: Vec<Pair<'s>>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a, 's> {
        let world = self.world;
        self.labelled(Kind::Pod, namespace, &selector)
            .filter(move |key| {
                let meta = world.metadata(key);
                meta.is_some_and(|meta| has_all(&meta.labels, &selector))
            })
    }

    /// The Deployments of a namespace that make pods with all labels of a selector, which must not be empty.
    pub fn deployments_of<'s>(
        &self,
        namespace: &Arc<str>,
        selector: Vec<Pair<'s>>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a, 's> {
        let world = self.world;
        self.labelled(Kind::Deployment, Some(namespace), &selector)
            .filter(move |key| {
                let spec = world.get::<DeploymentSpec>(key).and_then(|one| one.spec());
                spec.is_some_and(|spec| has_all(&spec.template.metadata.labels, &selector))
            })
    }

    /// The objects of a kind with one label of a selector, a rare one. Whoever has all its labels has the first, so
    /// noting that is enough.
    fn labelled(
        &self,
        kind: Kind,
        namespace: Option<&Arc<str>>,
        selector: &[Pair<'_>],
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let pods = self.model.pods();
        let of = |(key, value): &Pair<'_>| Label::new(key, value);
        let chosen = selector.first().map(|first| {
            let first = of(first);
            self.look_at(Subject::Pods(namespace.cloned(), first));
            if selector.len() == 1 || pods.with(kind, namespace, first).nth(FEW).is_none() {
                return first;
            }
            let labels: Vec<Label> = selector.iter().map(of).collect();
            pods.rarest(kind, namespace, &labels).unwrap_or(first)
        });
        chosen
            .map(|label| pods.with(kind, namespace, label))
            .into_iter()
            .flatten()
    }

    /// A pod that [`View::pods`] found: its labels tell of every change of it.
    pub fn pod(&self, pod: &ObjectKey) -> Option<&'a PodSpec> {
        self.world.get(pod).and_then(|object| object.spec())
    }

    /// Labels of a pod that [`View::pods`] found.
    pub fn labels(&self, pod: &ObjectKey) -> Option<&'a BTreeMap<String, String>> {
        self.world.metadata(pod).map(|meta| &meta.labels)
    }
}
