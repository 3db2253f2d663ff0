//! A World, its Model, and a verdict on every object.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;

use crate::api::kind::Kind;
use crate::gateway;
use crate::model::{Model, Subject, threads};
use crate::world::{Change, ObjectKey, World};

use super::conditions::Condition;
use super::dependents::{Dependents, Edit, Looks};
use super::entrances::FirstNodes;
use super::gateway_status;
use super::message::Message;
use super::rules;
use super::standing;
use super::suppression;
use super::view::View;

/// Everything known at one moment. Immutable; cheap to clone and to update.
///
/// A Snapshot that was updated change by change equals the one made at once from the same World.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    world: World,
    model: Arc<Model>,
    /// Those that say something, or looked at something.
    verdicts: OrdMap<ObjectKey, Arc<Verdict>>,
    /// Made when the first change comes: what is looked at once, as files are, needs none.
    dependents: OnceLock<Dependents>,
    ports: Arc<gateway::Plan>,
    first_nodes: Arc<FirstNodes>,
}

/// What is said about one object, and what was looked at to say it.
#[derive(Debug, Default)]
struct Verdict {
    messages: Vec<Message>,
    /// What the object's annotation suppresses.
    suppressed: Vec<Message>,
    /// What is said beside [`READY`](super::conditions::READY) when all is well.
    summary: String,
    looks: Looks,
}

impl Verdict {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.suppressed.is_empty()
            && self.summary.is_empty()
            && self.looks.is_empty()
    }
}

impl Snapshot {
    /// Derives everything from a World.
    pub fn new(world: World) -> Snapshot {
        let mut snapshot = Snapshot {
            model: Arc::new(Model::of(&world)),
            ports: Arc::new(gateway::plan(&world)),
            first_nodes: Arc::new(FirstNodes::of(&world)),
            world,
            ..Snapshot::default()
        };
        snapshot.judge_all();
        snapshot
    }

    /// The Snapshot of `world`, which differs from this one's World by `changes`; also the objects whose status may
    /// have to be written: those whose messages or standing conditions changed, and those that changed themselves.
    ///
    /// The cost follows what the changes concern. When the mesh-wide settings differ, everything is derived anew.
    pub fn update(&self, world: World, changes: &[Change]) -> (Snapshot, Vec<ObjectKey>) {
        if world.settings() != self.world.settings() {
            let snapshot = Snapshot::new(world);
            let all = self.verdicts.keys().chain(snapshot.verdicts.keys());
            let differing: BTreeSet<ObjectKey> = all
                .filter(|key| self.says(key) != snapshot.says(key))
                .chain(snapshot.ports.differing(&self.ports))
                .cloned()
                .collect();
            let changed = changes.iter().map(|change| change.key.clone());
            let concerned: BTreeSet<ObjectKey> = differing.into_iter().chain(changed).collect();
            return (snapshot, concerned.into_iter().collect());
        }
        let content = changes
            .iter()
            .filter(|change| change.content)
            .map(|change| change.key.clone())
            .collect();
        let (snapshot, mut concerned) = self.advance(world, content);
        concerned.extend(changes.iter().map(|change| change.key.clone()));
        (snapshot, concerned.into_iter().collect())
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.world, &self.model, &self.ports, &self.first_nodes)
    }

    /// The objects.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What they mean together.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The ports that the Services of gateways must have.
    pub fn ports(&self) -> &Arc<gateway::Plan> {
        &self.ports
    }

    /// What is said about an object, in order; nothing for one that is not there.
    pub fn messages(&self, key: &ObjectKey) -> &[Message] {
        self.verdicts
            .get(key)
            .map_or(&[], |verdict| &verdict.messages)
    }

    /// The conditions of an object that rest on no message; see [`super::conditions::desired`].
    pub fn standing(&self, key: &ObjectKey) -> Vec<Condition> {
        standing::of(key, &self.ports, self.says(key).1)
    }

    fn says(&self, key: &ObjectKey) -> (&[Message], &str) {
        let verdict = self.verdicts.get(key);
        verdict.map_or((&[], ""), |verdict| (&verdict.messages, &verdict.summary))
    }

    /// Everything that is said, errors first; see the order of [`Message`].
    pub fn all_messages(&self) -> Vec<&Message> {
        let mut all: Vec<&Message> = self
            .verdicts
            .values()
            .flat_map(|verdict| &verdict.messages)
            .collect();
        all.sort();
        all
    }

    /// Everything that annotations suppress, in the same order.
    pub fn suppressed_messages(&self) -> Vec<&Message> {
        let mut all: Vec<&Message> = self
            .verdicts
            .values()
            .flat_map(|verdict| &verdict.suppressed)
            .collect();
        all.sort();
        all
    }

    /// Whether both would find the same verdicts concerned by every change.
    #[cfg(test)]
    pub(super) fn bookkeeping_equals(&self, other: &Snapshot) -> bool {
        self.dependents() == other.dependents()
            && self.verdicts.keys().eq(other.verdicts.keys())
            && self.ports == other.ports
            && self.first_nodes == other.first_nodes
    }

    /// The objects whose verdict was made anew since another Snapshot.
    #[cfg(test)]
    pub(super) fn judged_since(&self, before: &Snapshot) -> Vec<ObjectKey> {
        let anew = |key: &ObjectKey, verdict: &Arc<Verdict>| {
            before
                .verdicts
                .get(key)
                .is_none_or(|old| !Arc::ptr_eq(old, verdict))
        };
        self.verdicts
            .iter()
            .filter(|(key, verdict)| anew(key, verdict))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn advance(
        &self,
        world: World,
        changed: BTreeSet<ObjectKey>,
    ) -> (Snapshot, BTreeSet<ObjectKey>) {
        let (model, touched) = self.model.update(&self.world, &world, &changed);
        let ports = match self.ports.update(&self.world, &world, &changed) {
            Some(ports) => Arc::new(ports),
            None => Arc::clone(&self.ports),
        };
        let first_nodes = match changed.iter().any(|key| key.kind == Kind::Node) {
            true => Arc::new(FirstNodes::of(&world)),
            false => Arc::clone(&self.first_nodes),
        };
        let exposed_otherwise: Vec<ObjectKey> = ports.differing(&self.ports).cloned().collect();
        let mut concerned = changed;
        concerned.extend(exposed_otherwise.iter().cloned());
        let (secrets, namespaces) = world.secrets_seen_anew(&self.world);
        let secrets = secrets.into_iter().map(Subject::Object);
        let opened = |namespace| Subject::Namespace(Kind::Secret, namespace);
        let unchanged = secrets.chain(namespaces.into_iter().map(opened));
        for subject in touched.into_iter().chain(unchanged) {
            match subject {
                Subject::Existence(kind) => concerned.extend(self.asking_for_any(kind)),
                // Who looks at all of them sees no more than that.
                Subject::Kind(Kind::Node) if first_nodes == self.first_nodes => {}
                subject => self.dependents().collect(&subject, &mut concerned),
            }
        }
        let mut next = Snapshot {
            world,
            model: Arc::new(model),
            ports,
            first_nodes,
            ..self.clone()
        };
        let mut differing = next.judge(concerned);
        // The status of these differs even where no message does.
        differing.extend(exposed_otherwise);
        (next, differing)
    }

    /// The objects whose verdict rests on whether there is any object of a kind: mostly none or all, so nothing is kept
    /// to find them.
    fn asking_for_any(&self, kind: Kind) -> impl Iterator<Item = ObjectKey> {
        self.verdicts
            .iter()
            .filter(move |(_, verdict)| verdict.looks.ask_for_any(kind))
            .map(|(key, _)| key.clone())
    }

    /// Makes the verdicts of all objects, of which there are none yet.
    fn judge_all(&mut self) {
        let objects = Kind::all().flat_map(|kind| self.world.all_any(kind));
        let objects: Vec<_> = objects.collect();
        let verdicts = threads::each(&objects, |(key, object)| {
            Arc::new(verdict(self, key, *object))
        });
        let judged = objects.iter().zip(verdicts);
        let judged = judged.filter(|(_, verdict)| !verdict.is_empty());
        self.verdicts = judged
            .map(|((key, _), verdict)| ((*key).clone(), verdict))
            .collect();
    }

    /// Whom the changes that come concern.
    fn dependents(&self) -> &Dependents {
        self.dependents.get_or_init(|| {
            let verdicts: Vec<_> = self.verdicts.iter().collect();
            Dependents::of(verdicts.iter().map(|(key, verdict)| (*key, &verdict.looks)))
        })
    }

    /// Makes the verdicts of objects anew; those of which something else is said now.
    fn judge(&mut self, objects: impl IntoIterator<Item = ObjectKey>) -> BTreeSet<ObjectKey> {
        let nothing = Verdict::default();
        let mut differing = BTreeSet::new();
        let mut edit = Edit::default();
        let mut dependents = self.dependents().clone();
        for key in objects {
            let object = self.world.any(&key);
            let new = object.map_or_else(Verdict::default, |object| verdict(self, &key, object));
            let old = self.verdicts.get(&key).map_or(&nothing, Arc::as_ref);
            edit.replace(&key, &old.looks, &new.looks);
            if new.messages != old.messages || new.summary != old.summary {
                differing.insert(key.clone());
            }
            if !new.is_empty() {
                self.verdicts.insert(key, Arc::new(new));
            } else if !old.is_empty() {
                self.verdicts.remove(&key);
            }
        }
        dependents.apply(edit);
        self.dependents = OnceLock::from(dependents);
        differing
    }
}

/// Runs the rules on one object of a Snapshot's World.
fn verdict(snapshot: &Snapshot, key: &ObjectKey, object: &dyn Any) -> Verdict {
    let view = snapshot.view().of(key, object);
    let mut messages = rules::run(&view, key);
    messages.sort();
    messages.dedup();
    let (messages, suppressed) = if messages.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        suppression::split(messages, snapshot.world.metadata(key))
    };
    let summary = match key.kind {
        Kind::Gateway => gateway_status::summary(&view, key),
        _ => None,
    };
    Verdict {
        messages,
        suppressed,
        summary: summary.unwrap_or_default(),
        looks: view.looks(),
    }
}
