//! What the objects of a [`crate::world::World`] mean together: which services there are under which names, which
//! DestinationRules and VirtualServices speak about them, and from where each is seen.
//!
//! A Model is derived from a World and shares with the one before what did not change: [`Model::update`] takes out what
//! the changed objects said and puts in what they say now, and tells which [`Subject`]s that touches.

mod entries;
mod host;
mod index;
mod labels;
mod mentions;
mod visibility;

use std::collections::BTreeSet;

use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

pub use entries::{
    MESH_GATEWAY, Port, Routes, Rule, Served, Service, Target, applies_to_mesh, server_host,
};
pub use host::{Host, is_short};
pub use index::{Entry, HostIndex};
pub use labels::{Label, LabelIndex, label, selects};
pub use mentions::{Mention, Mentions, certificate, gateway_key};
pub use visibility::Visibility;

/// What a change can touch, and what a verdict can depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One object as it is.
    Object(ObjectKey),
    /// Which objects of a kind there are in a namespace, and what they say.
    Namespace(Kind, std::sync::Arc<str>),
    /// Which objects of a kind there are anywhere, and what they say.
    Kind(Kind),
    /// Whether there is any object of a kind.
    Existence(Kind),
    /// Which pods have a label, and which Deployments make such pods.
    Pods(Label),
    /// Which Services of a namespace are found by a label of their selector.
    Selectors(std::sync::Arc<str>, Label),
    /// What is known of a host, or of all hosts under a wildcard.
    Host(Topic, Host),
    /// Which objects name something, and what they say.
    Mention(Mention),
}

/// Who speaks about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Services and ServiceEntries.
    Services,
    /// DestinationRules.
    Rules,
    /// VirtualServices.
    Routes,
    /// Gateways.
    Gateways,
    /// VirtualServices that send to subsets of the host.
    Targets,
}

/// The meaning of a World.
#[derive(Debug, Clone, Default)]
pub struct Model {
    services: HostIndex<Service>,
    rules: HostIndex<Rule>,
    routes: HostIndex<Routes>,
    gateways: HostIndex<Served>,
    targets: HostIndex<Target>,
    pods: LabelIndex,
    selectors: LabelIndex,
    mentions: Mentions,
}

impl Model {
    /// The Model of a whole World.
    pub fn of(world: &World) -> Model {
        let all = Kind::all().flat_map(|kind| world.keys(kind)).collect();
        Model::default()
            .update(&World::new(world.settings().clone()), world, &all)
            .0
    }

    /// The Model of `new`, given that this is the Model of `old` and that only `changed` differ; both Worlds have the
    /// same settings. Also says what the change touches.
    pub fn update(
        &self,
        old: &World,
        new: &World,
        changed: &BTreeSet<ObjectKey>,
    ) -> (Model, BTreeSet<Subject>) {
        let mut model = self.clone();
        let mut touched = BTreeSet::new();
        for key in changed {
            touched.insert(Subject::Object(key.clone()));
            touched.insert(Subject::Kind(key.kind));
            touched.insert(Subject::Namespace(key.kind, key.namespace.clone()));
            model.withdraw(old, key, &mut touched);
            model.enter(new, key, &mut touched);
        }
        for kind in changed.iter().map(|key| key.kind) {
            if (old.count(kind) == 0) != (new.count(kind) == 0) {
                touched.insert(Subject::Existence(kind));
            }
        }
        (model, touched)
    }

    /// Services by host.
    pub fn services(&self) -> &HostIndex<Service> {
        &self.services
    }

    /// DestinationRules by host.
    pub fn rules(&self) -> &HostIndex<Rule> {
        &self.rules
    }

    /// VirtualServices by host.
    pub fn routes(&self) -> &HostIndex<Routes> {
        &self.routes
    }

    /// Gateways by the hosts that they serve.
    pub fn gateways(&self) -> &HostIndex<Served> {
        &self.gateways
    }

    /// VirtualServices by the hosts to whose subsets they send.
    pub fn targets(&self) -> &HostIndex<Target> {
        &self.targets
    }

    /// Pods and Deployments by the labels of the pods.
    pub fn pods(&self) -> &LabelIndex {
        &self.pods
    }

    /// Objects by what they name.
    pub fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// Services by one label of their selector.
    pub fn selectors(&self) -> &LabelIndex {
        &self.selectors
    }

    fn enter(&mut self, world: &World, key: &ObjectKey, touched: &mut BTreeSet<Subject>) {
        let said = Said::by(world, key);
        put(&mut self.services, said.services, Topic::Services, touched);
        put(&mut self.rules, said.rules, Topic::Rules, touched);
        put(&mut self.routes, said.routes, Topic::Routes, touched);
        put(&mut self.gateways, said.gateways, Topic::Gateways, touched);
        put(&mut self.targets, said.targets, Topic::Targets, touched);
        self.pods.insert(key, &said.labels);
        self.mentions.insert(key, &said.mentions);
        touched.extend(said.mentions.into_iter().map(Subject::Mention));
        touched.extend(said.labels.into_iter().map(Subject::Pods));
        self.selectors.insert(key, &said.selector);
        touch_selectors(key, said.selector, touched);
    }

    fn withdraw(&mut self, world: &World, key: &ObjectKey, touched: &mut BTreeSet<Subject>) {
        let said = Said::by(world, key);
        take(&mut self.services, &said.services, Topic::Services, touched);
        take(&mut self.rules, &said.rules, Topic::Rules, touched);
        take(&mut self.routes, &said.routes, Topic::Routes, touched);
        take(&mut self.gateways, &said.gateways, Topic::Gateways, touched);
        take(&mut self.targets, &said.targets, Topic::Targets, touched);
        self.pods.remove(key, &said.labels);
        self.mentions.remove(key, &said.mentions);
        touched.extend(said.mentions.into_iter().map(Subject::Mention));
        touched.extend(said.labels.into_iter().map(Subject::Pods));
        self.selectors.remove(key, &said.selector);
        touch_selectors(key, said.selector, touched);
    }
}

fn touch_selectors(key: &ObjectKey, labels: BTreeSet<Label>, touched: &mut BTreeSet<Subject>) {
    let subject = |label| Subject::Selectors(key.namespace.clone(), label);
    touched.extend(labels.into_iter().map(subject));
}

fn put<T: Entry>(
    index: &mut HostIndex<T>,
    entries: Vec<T>,
    topic: Topic,
    touched: &mut BTreeSet<Subject>,
) {
    for entry in entries {
        touched.insert(Subject::Host(topic, entry.host().clone()));
        index.insert(entry);
    }
}

fn take<T: Entry>(
    index: &mut HostIndex<T>,
    entries: &[T],
    topic: Topic,
    touched: &mut BTreeSet<Subject>,
) {
    for entry in entries {
        touched.insert(Subject::Host(topic, entry.host().clone()));
        index.remove(entry);
    }
}

/// What one object of a World says about hosts; nothing when it is not there or does not decode.
#[derive(Default)]
struct Said {
    services: Vec<Service>,
    rules: Vec<Rule>,
    routes: Vec<Routes>,
    gateways: Vec<Served>,
    targets: Vec<Target>,
    labels: BTreeSet<Label>,
    mentions: BTreeSet<Mention>,
    selector: BTreeSet<Label>,
}

impl Said {
    fn by(world: &World, key: &ObjectKey) -> Said {
        let settings = world.settings();
        let mut said = Said {
            mentions: mentions::by(world, key),
            ..Said::default()
        };
        match key.kind {
            Kind::Service => {
                said.services = world
                    .get(key)
                    .and_then(|object| entries::of_service(key, object, settings))
                    .into_iter()
                    .collect();
                said.selector = world
                    .get(key)
                    .and_then(|object| labels::of_service(object))
                    .into_iter()
                    .collect();
            }
            Kind::ServiceEntry => {
                said.services = world
                    .get(key)
                    .map(|object| entries::of_service_entry(key, object, settings))
                    .unwrap_or_default();
            }
            Kind::DestinationRule => {
                said.rules = world
                    .get(key)
                    .and_then(|object| entries::of_destination_rule(key, object, settings))
                    .into_iter()
                    .collect();
            }
            Kind::VirtualService => {
                said.routes = world
                    .get(key)
                    .map(|object| entries::of_virtual_service(key, object, settings))
                    .unwrap_or_default();
                said.targets = world
                    .get(key)
                    .map(|object| entries::targets_of_virtual_service(key, object, settings))
                    .unwrap_or_default();
            }
            Kind::Gateway => {
                said.gateways = world
                    .get(key)
                    .map(|object| entries::of_gateway(key, object))
                    .unwrap_or_default();
            }
            Kind::Pod => {
                said.labels = world
                    .get(key)
                    .map(|object| labels::of_pod(object))
                    .unwrap_or_default()
            }
            Kind::Deployment => {
                said.labels = world
                    .get(key)
                    .map(|object| labels::of_deployment(object))
                    .unwrap_or_default();
            }
            _ => {}
        }
        said
    }
}
