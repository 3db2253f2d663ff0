//! Which Services belong to which selector of a Gateway.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::api::kind::Kind;
use crate::world::{Object, ObjectKey, PodSpec, ServiceSpec, World};

/// Labels, or the labels that a selector asks for.
type Labels = BTreeMap<String, String>;

/// Which pods a Gateway applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Selector<'a> {
    /// `None`: those of every namespace.
    pub namespace: Option<&'a Arc<str>>,
    /// The labels that they have; none stand for no pods.
    pub labels: &'a Labels,
}

impl Selector<'_> {
    fn detached(self) -> OwnedSelector {
        OwnedSelector {
            namespace: self.namespace.cloned(),
            labels: self.labels.clone(),
        }
    }

    fn reaches(&self, namespace: &str) -> bool {
        self.namespace.is_none_or(|own| **own == *namespace)
    }
}

/// A [`Selector`] that outlives its Gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OwnedSelector {
    namespace: Option<Arc<str>>,
    labels: Labels,
}

/// How a Service belongs to a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// It selects pods that the selector selects, or can select no others.
    Certain,
    /// It has no pods now, and those that it had or will have may be the selector's: it keeps what it has.
    Possible,
}

/// A Service and the pods that it selects.
pub(super) struct Member<'a> {
    pub key: &'a ObjectKey,
    pub service: &'a Object<ServiceSpec>,
    pub spec: &'a ServiceSpec,
    pub pods: Vec<&'a PodSpec>,
}

/// The Services that any selector concerns, and those that still have ports of ours.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub services: BTreeMap<&'a ObjectKey, Member<'a>>,
    /// What the plan depends on.
    pub scope: Scope,
    /// The ports of any Service that have a node port for which a Gateway asks.
    pub node_ports: BTreeMap<u16, Vec<(&'a ObjectKey, u16)>>,
    by_selector: HashMap<Selector<'a>, Vec<(&'a ObjectKey, Membership)>>,
    selectors_with_pods: BTreeSet<Selector<'a>>,
}

impl<'a> Members<'a> {
    /// The Services of a selector, by namespace and name.
    pub(super) fn of(&self, selector: Selector<'a>) -> &[(&'a ObjectKey, Membership)] {
        self.by_selector.get(&selector).map_or(&[], Vec::as_slice)
    }

    /// Whether a selector selects any pod.
    pub(super) fn has_pods(&self, selector: Selector<'a>) -> bool {
        self.selectors_with_pods.contains(&selector)
    }
}

/// Where a change of a Pod or Service can change a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    selectors: BTreeSet<OwnedSelector>,
    /// Those with pods of a selector, or with Services that belong to one.
    namespaces: BTreeSet<Arc<str>>,
    /// Those for which Gateways ask.
    node_ports: BTreeSet<u16>,
}

impl Scope {
    /// Whether an object, as it is in `world`, has a part in the plan of this scope, or would have in the next one.
    pub(super) fn holds(&self, world: &World, key: &ObjectKey) -> bool {
        let selected = |labels: &Labels| {
            let reaches =
                |own: &Option<Arc<str>>| own.as_ref().is_none_or(|own| *own == key.namespace);
            let mut selectors = self.selectors.iter();
            selectors.any(|one| reaches(&one.namespace) && holds(labels, &one.labels))
        };
        let takes = |spec: &ServiceSpec| {
            let mut ports = spec.ports.iter();
            ports.any(|port| self.node_ports.contains(&port.node_port))
        };
        match key.kind {
            Kind::Gateway => true,
            Kind::Pod => {
                self.namespaces.contains(&key.namespace)
                    || world
                        .get::<PodSpec>(key)
                        .is_some_and(|pod| selected(&pod.meta.labels))
            }
            Kind::Service => {
                self.namespaces.contains(&key.namespace)
                    || world
                        .get::<ServiceSpec>(key)
                        .and_then(|service| service.spec())
                        .is_some_and(|spec| {
                            !spec.applied_ports.is_empty()
                                || selected(&spec.selector)
                                || takes(spec)
                        })
            }
            _ => false,
        }
    }
}

/// Finds the Services of each selector; an empty selector has none. Beside them, who has the `node_ports`.
pub(super) fn of_selectors<'a>(
    world: &'a World,
    selectors: impl Iterator<Item = Selector<'a>>,
    node_ports: BTreeSet<u16>,
) -> Members<'a> {
    let index = Index::new(selectors);
    let labels_by_namespace = pods_of(world, &index);
    let mut members = Members {
        scope: Scope {
            selectors: index.selectors.iter().map(|one| one.detached()).collect(),
            namespaces: labels_by_namespace.keys().copied().map(Arc::from).collect(),
            node_ports,
        },
        ..Members::default()
    };
    let with_pods = labels_by_namespace
        .values()
        .flat_map(BTreeMap::values)
        .flatten();
    members
        .selectors_with_pods
        .extend(with_pods.map(|number| index.selectors[*number]));
    for (key, service) in world.all::<ServiceSpec>() {
        let Some(spec) = service.spec().filter(|_| !service.meta.deleting) else {
            continue;
        };
        for port in &spec.ports {
            if members.scope.node_ports.contains(&port.node_port) {
                let owners = members.node_ports.entry(port.node_port).or_default();
                owners.push((key, port.port));
            }
        }
        let mut found = BTreeMap::new();
        if !spec.selector.is_empty() {
            for selector in index.held_by(&key.namespace, &spec.selector) {
                found.insert(selector, Membership::Certain);
            }
            let pods = labels_by_namespace.get(&*key.namespace);
            for (labels, selectors) in pods.into_iter().flatten() {
                if holds(labels, &spec.selector) {
                    found.extend(selectors.iter().map(|one| (*one, Membership::Certain)));
                }
            }
        }
        let has_ours = !spec.applied_ports.is_empty();
        if found.is_empty() && !has_ours {
            continue;
        }
        let pods = pods_selected_by(world, key, spec);
        if has_ours && !spec.selector.is_empty() && pods.is_empty() {
            for (number, selector) in index.selectors.iter().enumerate() {
                if selector.reaches(&key.namespace) && agree(selector.labels, &spec.selector) {
                    found.entry(number).or_insert(Membership::Possible);
                }
            }
        }
        for (number, membership) in found {
            let services = members.by_selector.entry(index.selectors[number]);
            services.or_default().push((key, membership));
        }
        members.scope.namespaces.insert(key.namespace.clone());
        members.services.insert(
            key,
            Member {
                key,
                service,
                spec,
                pods,
            },
        );
    }
    members
}

/// The distinct selectors, to be found by any one of their labels.
struct Index<'a> {
    selectors: Vec<Selector<'a>>,
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(selectors: impl Iterator<Item = Selector<'a>>) -> Self {
        let distinct: BTreeSet<Selector<'_>> = selectors.collect();
        let mut index = Index {
            selectors: Vec::new(),
            by_label: HashMap::new(),
        };
        for selector in distinct {
            if let Some((name, value)) = selector.labels.first_key_value() {
                let numbers = index.by_label.entry((name.as_str(), value.as_str()));
                numbers.or_default().push(index.selectors.len());
                index.selectors.push(selector);
            }
        }
        index
    }

    /// The selectors whose labels are all among `labels`, of something in `namespace`.
    fn held_by<'b>(
        &'b self,
        namespace: &'b str,
        labels: &'b Labels,
    ) -> impl Iterator<Item = usize> + 'b {
        labels
            .iter()
            .filter_map(|(name, value)| self.by_label.get(&(name.as_str(), value.as_str())))
            .flatten()
            .copied()
            .filter(move |number| {
                let selector = &self.selectors[*number];
                selector.reaches(namespace) && holds(labels, selector.labels)
            })
    }
}

/// The label sets of the pods that any selector selects, by namespace, each with these selectors. The pods of one
/// Deployment have one set.
fn pods_of<'a>(
    world: &'a World,
    index: &Index<'_>,
) -> HashMap<&'a str, BTreeMap<&'a Labels, Vec<usize>>> {
    let mut found: HashMap<&str, BTreeMap<&Labels, Vec<usize>>> = HashMap::new();
    for (key, pod) in world.all::<PodSpec>() {
        if pod.spec().is_none_or(PodSpec::has_ended) {
            continue;
        }
        let mut selectors = index.held_by(&key.namespace, &pod.meta.labels).peekable();
        if selectors.peek().is_some() {
            found
                .entry(&*key.namespace)
                .or_default()
                .entry(&pod.meta.labels)
                .or_insert_with(|| selectors.collect());
        }
    }
    found
}

fn pods_selected_by<'a>(
    world: &'a World,
    service: &'a ObjectKey,
    spec: &ServiceSpec,
) -> Vec<&'a PodSpec> {
    if spec.selector.is_empty() {
        return Vec::new();
    }
    world
        .in_namespace::<PodSpec>(&service.namespace)
        .filter(|(_, pod)| holds(&pod.meta.labels, &spec.selector))
        .filter_map(|(_, pod)| pod.spec())
        .filter(|pod| !pod.has_ended())
        .collect()
}

/// Whether all of `wanted` is among `labels`.
fn holds(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// Whether one pod could have both: no label is wanted with two values.
fn agree(one: &Labels, other: &Labels) -> bool {
    one.iter()
        .all(|(name, value)| other.get(name).is_none_or(|theirs| theirs == value))
}
