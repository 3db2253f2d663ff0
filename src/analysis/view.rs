//! What rules see of the World and the Model. Every look is written down, so that a later change finds whom it concerns.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::kind::Kind;
use crate::gateway::{Exposure, Finding, Plan};
use crate::model::{
    Entry, Host, HostIndex, Mention, Model, Routes, Rule, Served, Service, Subject, Topic, label,
    selects,
};
use crate::world::{Content, Object, ObjectKey, Readable, Settings, World};

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

    /// The pods with all labels of a selector, which must not be empty, in all namespaces.
    pub fn pods(
        &self,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let label = selector.iter().next().map(|(key, value)| label(key, value));
        if let Some(label) = &label {
            self.look_at(Subject::Pods(label.clone()));
        }
        let (world, pods) = (self.world, self.model.pods());
        let has_all = move |key: &&ObjectKey| {
            world
                .metadata(key)
                .is_some_and(|meta| selects(selector, &meta.labels))
        };
        label
            .into_iter()
            .flat_map(|label| pods.with(&label))
            .filter(has_all)
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
