//! What rules see of the World and the Model. Every look is written down, so that a later change finds whom it concerns.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::kind::Kind;
use crate::gateway::{Exposure, Finding, Plan};
use crate::model::{
    Entry, Host, HostIndex, Mention, Model, Routes, Rule, Served, Service, Subject, Target, Topic,
    label, selects,
};
use crate::world::{
    Content, DeploymentSpec, Object, ObjectKey, PodSpec, Readable, ServiceSpec, Settings, World,
};

/// The only access of rules to other objects.
pub struct View<'a> {
    world: &'a World,
    model: &'a Model,
    ports: &'a Plan,
    seen: RefCell<BTreeSet<Subject>>,
}

/// The entries that concern a host: its own, and those of wildcards that cover it (the longest first).
pub type Found<'a, T> = Vec<&'a Arc<T>>;

impl<'a> View<'a> {
    pub(super) fn new(world: &'a World, model: &'a Model, ports: &'a Plan) -> View<'a> {
        View {
            world,
            model,
            ports,
            seen: RefCell::default(),
        }
    }

    pub(super) fn seen(self) -> BTreeSet<Subject> {
        self.seen.into_inner()
    }

    fn look_at(&self, subject: Subject) {
        self.seen.borrow_mut().insert(subject);
    }

    /// Mesh-wide settings; when they change, everything is derived anew.
    pub fn settings(&self) -> &'a Settings {
        self.world.settings()
    }

    /// What a host in an object of `namespace` means.
    pub fn resolve(&self, host: &str, namespace: &str) -> Host {
        Host::resolve(host, namespace, &self.settings().cluster_domain)
    }

    /// What keeps the servers of a Gateway from being reached. Nothing is noted: a Snapshot knows itself of which
    /// Gateways this changed.
    pub fn port_findings(&self, gateway: &ObjectKey) -> &'a [Finding] {
        self.ports.findings(gateway)
    }

    /// An object.
    pub fn object<S: Content>(&self, key: &ObjectKey) -> Option<&'a Arc<Object<S>>> {
        self.look_at(Subject::Object(key.clone()));
        self.world.get(key)
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

    /// The Services of a namespace that select pods with these labels.
    pub fn selecting(
        &self,
        namespace: &Arc<str>,
        labels: &'a BTreeMap<String, String>,
    ) -> Vec<(&'a ObjectKey, &'a ServiceSpec)> {
        let mut found = Vec::new();
        for (key, value) in labels {
            let label = label(key, value);
            self.look_at(Subject::Selectors(namespace.clone(), label.clone()));
            for service in self.model.selectors().with(&label) {
                let spec = self
                    .world
                    .get::<ServiceSpec>(service)
                    .and_then(|object| object.spec());
                if let Some(spec) = spec
                    && service.namespace == *namespace
                    && selects(&spec.selector, labels)
                {
                    found.push((service, spec));
                }
            }
        }
        found.sort_by_key(|(key, _)| *key);
        found
    }

    /// Services and ServiceEntries of a host.
    pub fn services(&self, host: &Host) -> Found<'a, Service> {
        self.about(Topic::Services, self.model.services(), host)
    }

    /// Services and ServiceEntries of the hosts that a wildcard covers.
    pub fn services_below(&self, wildcard: &Host) -> Vec<&'a Arc<Service>> {
        self.look_at(Subject::Host(Topic::Services, wildcard.clone()));
        self.model.services().below(wildcard).collect()
    }

    /// DestinationRules of a host.
    pub fn rules(&self, host: &Host) -> Found<'a, Rule> {
        self.about(Topic::Rules, self.model.rules(), host)
    }

    /// VirtualServices by host, noting that the verdict depends on those for this host, for the hosts that it covers
    /// and for the wildcards that cover it: no others may be read.
    pub fn routes_around(&self, host: &Host) -> &'a HostIndex<Routes> {
        self.look_at(Subject::Host(Topic::Routes, host.clone()));
        self.model.routes()
    }

    /// VirtualServices by the hosts to whose subsets they send, with the same note as [`View::routes_around`].
    pub fn targets_around(&self, host: &Host) -> &'a HostIndex<Target> {
        self.look_at(Subject::Host(Topic::Targets, host.clone()));
        self.model.targets()
    }

    /// Gateways that serve this host, hosts that it covers, or wildcards that cover it.
    pub fn gateways_around(&self, host: &Host) -> impl Iterator<Item = &'a Arc<Served>> + use<'a> {
        self.look_at(Subject::Host(Topic::Gateways, host.clone()));
        let all = self.model.gateways();
        all.exact(host)
            .chain(all.above(host))
            .chain(all.below(host))
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
        let world = self.world;
        let has_all = move |key: &&ObjectKey| {
            world
                .metadata(key)
                .is_some_and(|meta| selects(selector, &meta.labels))
        };
        self.labelled(Kind::Pod, selector).filter(has_all)
    }

    /// The Deployments that make pods with all labels of a selector, which must not be empty, in all namespaces.
    pub fn deployments<'s>(
        &self,
        selector: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a, 's> {
        let world = self.world;
        let makes_such = move |key: &&ObjectKey| {
            let spec = world.get::<DeploymentSpec>(key).and_then(|one| one.spec());
            spec.is_some_and(|spec| selects(selector, &spec.template.metadata.labels))
        };
        self.labelled(Kind::Deployment, selector).filter(makes_such)
    }

    /// The objects of a kind with the first label of a selector.
    fn labelled(
        &self,
        kind: Kind,
        selector: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let label = selector.iter().next().map(|(key, value)| label(key, value));
        if let Some(label) = &label {
            self.look_at(Subject::Pods(label.clone()));
        }
        let pods = self.model.pods();
        label
            .into_iter()
            .flat_map(|label| pods.with(&label))
            .filter(move |key| key.kind == kind)
    }

    /// A pod that [`View::pods`] found: its labels tell of every change of it.
    pub fn pod(&self, pod: &ObjectKey) -> Option<&'a PodSpec> {
        self.world.get(pod).and_then(|object| object.spec())
    }

    /// Labels of a pod that [`View::pods`] found.
    pub fn labels(&self, pod: &ObjectKey) -> Option<&'a BTreeMap<String, String>> {
        self.world.metadata(pod).map(|meta| &meta.labels)
    }

    fn about<T: Entry>(&self, topic: Topic, index: &'a HostIndex<T>, host: &Host) -> Found<'a, T> {
        self.look_at(Subject::Host(topic, host.clone()));
        index.exact(host).chain(index.above(host)).collect()
    }
}
