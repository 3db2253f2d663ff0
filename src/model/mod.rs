//! What the objects of a [`crate::world::World`] mean together: which services there are under which names, which
//! DestinationRules and VirtualServices speak about them, and from where each is seen.
//!
//! A Model is derived from a World and shares with the one before what did not change: [`Model::update`] takes out what
//! the changed objects said and puts in what they say now, and tells which [`Subject`]s that touches.

mod effective;
mod entries;
mod host;
mod index;
mod labels;
mod mentions;
mod print;
pub(crate) mod threads;
mod visibility;
#[cfg(test)]
pub(crate) mod visits;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use crate::api::kind::Kind;
use crate::api::networking::{
    DestinationRuleSpec, GatewaySpec, ServiceEntrySpec, SidecarSpec, VirtualServiceSpec,
};
use crate::api::policies::TelemetrySpec;
use crate::world::{
    Content, DeploymentSpec, Object, ObjectKey, PodSpec, ServiceSpec, Settings as MeshSettings,
    World,
};

pub use effective::{InEffect, MergedRule, Origin, Settings};
pub use entries::{
    Course, Definition, Door, Listener, MESH_GATEWAY, Port, Routes, Rule, Scope, Selector, Served,
    Service, Target, applies_to_mesh, listener, server_host,
};
pub use host::{Host, is_short};
pub use index::{Entry, Grouped, HostIndex};
pub use labels::{Label, LabelIndex, Selecting, every_pod, selects};
pub use mentions::{Mention, Mentions, certificate, delegate_key, gateway_key};
pub(crate) use print::print;
pub use visibility::Visibility;

/// What a change can touch, and what a verdict can depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One object as it is.
    Object(ObjectKey),
    /// Which objects of a kind there are in a namespace, and what they say.
    Namespace(Kind, Arc<str>),
    /// Which objects of a kind there are anywhere, and what they say.
    Kind(Kind),
    /// Whether there is any object of a kind.
    Existence(Kind),
    /// Which pods of a namespace (or of all) have a label, and which Deployments make such pods.
    Pods(Option<Arc<str>>, Label),
    /// What in a namespace is found by a label of its selector.
    Selectors(Arc<str>, Label),
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
    services: Grouped<Scope, Service>,
    rules: HostIndex<Rule>,
    rules_of: Grouped<Arc<str>, Rule>,
    routes: Grouped<Course, Routes>,
    gateways: Grouped<Door, Served>,
    targets: HostIndex<Target>,
    targets_of: Grouped<Arc<str>, Target>,
    pods: LabelIndex,
    selectors: LabelIndex,
    mentions: Mentions,
}

impl Model {
    /// The Model of a whole World.
    pub fn of(world: &World) -> Model {
        let objects = Kind::all().map(|kind| world.count(kind)).sum();
        let services = || {
            Model::filled(
                world,
                &[
                    Model::fill::<ServiceSpec>,
                    Model::fill::<ServiceEntrySpec>,
                    Model::fill::<SidecarSpec>,
                    Model::fill::<TelemetrySpec>,
                ],
            )
        };
        let rules = || Model::filled(world, &[Model::fill::<DestinationRuleSpec>]);
        let routes = || {
            Model::filled(
                world,
                &[
                    Model::fill::<VirtualServiceSpec>,
                    Model::fill::<GatewaySpec>,
                ],
            )
        };
        let pods = || {
            Model::filled(
                world,
                &[Model::fill::<PodSpec>, Model::fill::<DeploymentSpec>],
            )
        };
        // Each index is filled by one of the four.
        let ((services, rules), (routes, pods)) = threads::both(
            objects,
            || threads::both(objects, services, rules),
            || threads::both(objects, routes, pods),
        );
        Model {
            services: services.services,
            selectors: services.selectors,
            rules: rules.rules,
            rules_of: rules.rules_of,
            routes: routes.routes,
            gateways: routes.gateways,
            targets: routes.targets,
            targets_of: routes.targets_of,
            mentions: routes.mentions,
            pods: pods.pods,
        }
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
            let (mut was, mut is) = (Said::by(old, key), Said::by(new, key));
            was.touch(key, &mut touched);
            is.touch(key, &mut touched);
            was.without_what_stays(&mut is, &mut touched);
            model.withdraw(key, &was);
            model.enter(key, is);
        }
        for kind in changed.iter().map(|key| key.kind) {
            if (old.count(kind) == 0) != (new.count(kind) == 0) {
                touched.insert(Subject::Existence(kind));
            }
        }
        (model, touched)
    }

    /// Services by how far they are exported, and by host.
    pub fn services(&self) -> &Grouped<Scope, Service> {
        &self.services
    }

    /// DestinationRules by host.
    pub fn rules(&self) -> &HostIndex<Rule> {
        &self.rules
    }

    /// DestinationRules by namespace and host.
    pub fn rules_of(&self) -> &Grouped<Arc<str>, Rule> {
        &self.rules_of
    }

    /// VirtualServices by whom they concern, and by host.
    pub fn routes(&self) -> &Grouped<Course, Routes> {
        &self.routes
    }

    /// Gateways by whom they serve and where they listen, and by host.
    pub fn gateways(&self) -> &Grouped<Door, Served> {
        &self.gateways
    }

    /// VirtualServices by the hosts to whose subsets they send.
    pub fn targets(&self) -> &HostIndex<Target> {
        &self.targets
    }

    /// The same, by subset and host.
    pub fn targets_of(&self) -> &Grouped<Arc<str>, Target> {
        &self.targets_of
    }

    /// Pods and Deployments by the labels of the pods.
    pub fn pods(&self) -> &LabelIndex {
        &self.pods
    }

    /// Objects by what they name.
    pub fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// What [selects](Selecting) pods, by one label of its selector.
    pub fn selectors(&self) -> &LabelIndex {
        &self.selectors
    }

    /// What objects of some kinds say.
    fn filled(world: &World, kinds: &[fn(&mut Model, &World)]) -> Model {
        let mut model = Model::default();
        for fill in kinds {
            fill(&mut model, world);
        }
        model
    }

    fn fill<S: Speaker>(&mut self, world: &World) {
        for (key, object) in world.all::<S>() {
            self.enter(key, S::said(key, object, world.settings()));
        }
    }

    fn enter(&mut self, key: &ObjectKey, said: Said) {
        for entry in said.services.into_iter().map(Arc::new) {
            for scope in entry.scopes() {
                self.services.insert(scope, Arc::clone(&entry));
            }
        }
        for entry in said.rules.into_iter().map(Arc::new) {
            let namespace = key.namespace.clone();
            self.rules_of.insert(namespace, Arc::clone(&entry));
            self.rules.insert(entry);
        }
        for entry in said.routes.into_iter().map(Arc::new) {
            for course in entry.courses() {
                self.routes.insert(course, Arc::clone(&entry));
            }
        }
        for entry in said.gateways.into_iter().map(Arc::new) {
            for door in entry.doors() {
                self.gateways.insert(door, Arc::clone(&entry));
            }
        }
        for entry in said.targets.into_iter().map(Arc::new) {
            for subset in &entry.subsets {
                self.targets_of.insert(subset.clone(), Arc::clone(&entry));
            }
            self.targets.insert(entry);
        }
        self.pods.insert(key, &said.labels);
        self.mentions.insert(key, &said.mentions);
        self.selectors.insert(key, &said.selector);
    }

    fn withdraw(&mut self, key: &ObjectKey, said: &Said) {
        for entry in &said.services {
            for scope in entry.scopes() {
                self.services.remove(&scope, entry);
            }
        }
        for entry in &said.rules {
            self.rules_of.remove(&key.namespace, entry);
            self.rules.remove(entry);
        }
        for entry in &said.routes {
            for course in entry.courses() {
                self.routes.remove(&course, entry);
            }
        }
        for entry in &said.gateways {
            for door in entry.doors() {
                self.gateways.remove(&door, entry);
            }
        }
        for entry in &said.targets {
            for subset in &entry.subsets {
                self.targets_of.remove(subset, entry);
            }
            self.targets.remove(entry);
        }
        self.pods.remove(key, &said.labels);
        self.mentions.remove(key, &said.mentions);
        self.selectors.remove(key, &said.selector);
    }
}

/// Notes that an entry of an index is looked at.
fn visit() {
    #[cfg(test)]
    visits::note();
}

/// Kinds of which objects say something that is indexed.
trait Speaker: Content {
    /// What one of them says.
    fn said(key: &ObjectKey, object: &Object<Self>, settings: &MeshSettings) -> Said;
}

macro_rules! speakers {
    ($($spec:ty: |$key:ident, $object:ident, $settings:ident| $said:expr;)*) => {
        $(
            impl Speaker for $spec {
                fn said($key: &ObjectKey, $object: &Object<Self>, $settings: &MeshSettings) -> Said {
                    $said
                }
            }
        )*

        impl Said {
            fn by(world: &World, key: &ObjectKey) -> Said {
                match key.kind {
                    $( <$spec>::KIND => {
                        let said = |object: &Arc<Object<$spec>>| <$spec>::said(key, object, world.settings());
                        world.get(key).map_or_else(Said::default, said)
                    } )*
                    _ => Said::default(),
                }
            }
        }
    };
}

speakers! {
    ServiceSpec: |key, object, settings| Said {
        services: entries::of_service(key, object, settings).into_iter().collect(),
        selector: labels::of_selecting(object).into_iter().collect(),
        ..Said::default()
    };
    ServiceEntrySpec: |key, object, settings| Said {
        services: entries::of_service_entry(key, object, settings),
        ..Said::default()
    };
    DestinationRuleSpec: |key, object, settings| Said {
        rules: entries::of_destination_rule(key, object, settings).into_iter().collect(),
        ..Said::default()
    };
    VirtualServiceSpec: |key, object, settings| Said {
        routes: entries::of_virtual_service(key, object, settings),
        targets: entries::targets_of_virtual_service(key, object, settings),
        mentions: mentions::of_virtual_service(key, object),
        ..Said::default()
    };
    GatewaySpec: |key, object, _settings| Said {
        gateways: entries::of_gateway(key, object),
        mentions: mentions::of_gateway(object),
        ..Said::default()
    };
    SidecarSpec: |_key, object, _settings| Said {
        selector: labels::of_selecting(object).into_iter().collect(),
        ..Said::default()
    };
    TelemetrySpec: |_key, object, _settings| Said {
        selector: labels::of_selecting(object).into_iter().collect(),
        ..Said::default()
    };
    PodSpec: |_key, object, _settings| Said {
        labels: labels::of_pod(object),
        ..Said::default()
    };
    DeploymentSpec: |_key, object, _settings| Said {
        labels: labels::of_deployment(object),
        ..Said::default()
    };
}

/// What one object of a World says about hosts; nothing when it is not there or does not decode.
#[derive(Default)]
struct Said {
    services: Vec<Service>,
    rules: Vec<Rule>,
    routes: Vec<Routes>,
    gateways: Vec<Served>,
    targets: Vec<Target>,
    labels: Vec<Label>,
    mentions: BTreeSet<Mention>,
    selector: Vec<Label>,
}

impl Said {
    /// What is touched by every change of the object, whatever it says of hosts: those who find it by these go on to
    /// read the object itself.
    fn touch(&self, key: &ObjectKey, touched: &mut BTreeSet<Subject>) {
        touched.extend(self.mentions.iter().cloned().map(Subject::Mention));
        for label in &self.labels {
            touched.insert(Subject::Pods(None, *label));
            touched.insert(Subject::Pods(Some(key.namespace.clone()), *label));
        }
        let selectors = self.selector.iter().copied();
        touched.extend(selectors.map(|label| Subject::Selectors(key.namespace.clone(), label)));
    }

    /// Takes out of both what is the same in what the object said and says. The rest touches its hosts.
    fn without_what_stays(&mut self, is: &mut Said, touched: &mut BTreeSet<Subject>) {
        let mut touch = |topic, host: &Host| {
            touched.insert(Subject::Host(topic, host.clone()));
        };
        differing(
            &mut self.services,
            &mut is.services,
            Topic::Services,
            &mut touch,
        );
        differing(&mut self.rules, &mut is.rules, Topic::Rules, &mut touch);
        differing(&mut self.routes, &mut is.routes, Topic::Routes, &mut touch);
        differing(
            &mut self.gateways,
            &mut is.gateways,
            Topic::Gateways,
            &mut touch,
        );
        differing(
            &mut self.targets,
            &mut is.targets,
            Topic::Targets,
            &mut touch,
        );
        apart(&mut self.labels, &mut is.labels);
        let (was, is_now) = (&self.mentions, &is.mentions);
        let both: Vec<Mention> = was.intersection(is_now).cloned().collect();
        for mention in both {
            self.mentions.remove(&mention);
            is.mentions.remove(&mention);
        }
        apart(&mut self.selector, &mut is.selector);
    }
}

/// Leaves of two lists what differs, and names its hosts. Both have one entry for a host at most: what is taken out of the
/// index for one would take the other out, too.
fn differing<T: Entry>(
    was: &mut Vec<T>,
    is: &mut Vec<T>,
    topic: Topic,
    touch: &mut impl FnMut(Topic, &Host),
) {
    let by_host = |list: &[T], place: usize| (list[place].host().clone(), place);
    let places: BTreeMap<Host, usize> = (0..was.len()).map(|place| by_host(was, place)).collect();
    debug_assert_eq!(places.len(), was.len(), "a host twice in one object");
    let mut stays = vec![false; was.len()];
    is.retain(|entry| {
        let before = places.get(entry.host());
        let same = before.filter(|place| was[**place].says_the_same(entry));
        if let Some(place) = same {
            stays[*place] = true;
        }
        same.is_none()
    });
    let mut stays = stays.into_iter();
    was.retain(|_| !stays.next().unwrap_or_default());
    for entry in was.iter().chain(is.iter()) {
        touch(topic, entry.host());
    }
}

/// Takes out of both what is in both.
fn apart<T: Eq + Hash + Copy>(was: &mut Vec<T>, is: &mut Vec<T>) {
    let before: HashSet<T> = was.iter().copied().collect();
    let now: HashSet<T> = is.iter().copied().collect();
    was.retain(|member| !now.contains(member));
    is.retain(|member| !before.contains(member));
}
