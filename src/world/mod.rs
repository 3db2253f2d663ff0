//! The input snapshot: every object that is read, from watches or from files.
//!
//! Everything enters as JSON through [`World::apply`], so that the controller and the command line see the same
//! objects. A World is made of persistent maps: a clone costs nothing, and a changed clone shares what is unchanged.
//! An object that does not decode is kept with its error, so that it can be reported and harms no other.

mod cluster;
mod conditions;
mod content;
mod core;
mod gateway_api;
mod key;
mod port_writes;
mod secret;
mod selector;
mod settings;
mod status;

use std::any::Any;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use jiff::Timestamp;
use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::metadata::Metadata;
use crate::api::networking::DecodeError;

pub use cluster::{
    ConfigMapSpec, CustomResourceDefinitionSpec, INJECTOR_CONFIG_MAPS, InjectorConfig,
    MutatingWebhookConfigurationSpec, NamespaceSpec, NodeAddress, NodeAddressKind, NodeSpec,
    ServiceReference, ValidatingWebhookConfigurationSpec, Webhook, WebhookClient,
};
pub use conditions::NegativeCondition;
pub use content::Content;
pub use core::{
    Container, ContainerPort, Controller, DeploymentSpec, PodSpec, PodTemplate, SecurityContext,
    ServicePort, ServiceSpec, TargetPort, TemplateMetadata,
};
pub use gateway_api::{GrpcRouteSpec, HttpRouteSpec, KubernetesGatewaySpec, Listener};
pub use key::ObjectKey;
pub(crate) use key::compare;
pub use port_writes::{PortTrouble, PortTroubleKind, PortWrite};
pub use secret::{
    Certificate, EXPIRES_SOON, Readable, SECRET_FIELDS, SecretAccess, SecretProblem, SecretSpec,
    Validity,
};
pub use selector::{LabelSelector, Requirement};
pub use settings::{Settings, SettingsError};
pub use status::StoredStatus;

use content::Stores;
pub(crate) use content::on_store;

/// The annotation that repeats a whole object as it was applied; it is not kept, it would double the memory.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The objects of one kind.
pub type Store<S> = OrdMap<ObjectKey, Arc<Object<S>>>;

/// One object as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<S> {
    /// Its metadata, without managed fields and without the last applied configuration.
    pub meta: Metadata,
    /// What it says, or why that cannot be read.
    pub spec: Result<Arc<S>, DecodeError>,
    /// `status` as it is stored, for the kinds whose status is written or read.
    pub status: Option<StoredStatus>,
}

impl<S: Content> Object<S> {
    /// Reads an object; never fails, because what does not decode is kept as [`Object::spec`]'s error.
    pub fn read(object: &Value) -> Object<S> {
        let mut meta = Metadata::of(object);
        meta.annotations.remove(LAST_APPLIED);
        if S::KIND == Kind::Secret {
            // Whoever keeps copies of key material beside it keeps them here.
            meta.annotations.clear();
        } else if S::KIND.is_built_in() {
            meta.annotations.retain(|name, _| core::is_read(name));
        }
        Object {
            meta,
            spec: S::decode(object).map(Arc::new),
            status: S::KEEPS_STATUS
                .then(|| StoredStatus::of(S::KIND, object))
                .flatten(),
        }
    }

    /// What the object says, if it could be read.
    pub fn spec(&self) -> Option<&S> {
        self.spec.as_deref().ok()
    }

    /// Whether everything that a verdict may depend on is the same: all but the generation, the resource version, and
    /// `status` without the addresses that were allocated there and the conditions that others wrote.
    fn says_the_same(&self, other: &Object<S>) -> bool {
        let (a, b) = (&self.meta, &other.meta);
        self.spec == other.spec
            && StoredStatus::says_the_same(self.status.as_ref(), other.status.as_ref())
            && a.uid == b.uid
            && a.created == b.created
            && a.deleting == b.deleting
            && a.labels == b.labels
            && a.annotations == b.annotations
    }
}

/// What one event did to the World.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The object that came, changed or went.
    pub key: ObjectKey,
    /// Whether anything that a verdict may depend on changed; false when only `status`, the generation or the
    /// resource version did.
    pub content: bool,
}

/// JSON that is no Kubernetes object at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// `apiVersion`, `kind` or `metadata.name` is missing or no text.
    #[error("not a Kubernetes object: `{0}` is missing or not a string")]
    Missing(&'static str),
}

/// Every object that is read.
#[derive(Debug, Clone, Default)]
pub struct World {
    settings: Arc<Settings>,
    now: Option<Timestamp>,
    secret_access: SecretAccess,
    stores: Stores,
    port_writes: OrdMap<ObjectKey, Arc<PortWrite>>,
    /// The namespaces of the objects, until a Namespace is deleted: their keys share the texts.
    namespaces: OrdSet<Arc<str>>,
}

impl World {
    /// An empty World under these mesh-wide settings.
    pub fn new(settings: Settings) -> World {
        World {
            settings: Arc::new(settings),
            ..World::default()
        }
    }

    /// The mesh-wide settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The same objects under other settings. What was derived from the World must be derived anew.
    pub fn with_settings(mut self, settings: Settings) -> World {
        self.settings = Arc::new(settings);
        self
    }

    /// The moment that the World is looked at, by which the dates of certificates are judged; without one they are not.
    pub fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// The same objects at another moment.
    pub fn at(mut self, now: Timestamp) -> World {
        self.now = Some(now);
        self
    }

    /// Of which namespaces the Secrets are here.
    pub fn secret_access(&self) -> &SecretAccess {
        &self.secret_access
    }

    /// Says of which namespaces the Secrets are here.
    pub fn set_secret_access(&mut self, access: SecretAccess) {
        self.secret_access = access;
    }

    /// What a verdict that rests on Secrets may see differently here than in `old`, though no object changed: the
    /// Secrets whose certificates have come to another part of their life, and the namespaces whose Secrets were not
    /// read there or are not here.
    pub fn secrets_seen_anew(&self, old: &World) -> (Vec<ObjectKey>, Vec<Arc<str>>) {
        let aged = |(key, secret): (&ObjectKey, &Arc<Object<SecretSpec>>)| {
            let spec = secret.spec()?;
            (spec.validity(self.now) != spec.validity(old.now)).then(|| key.clone())
        };
        let secrets = if self.now == old.now {
            Vec::new()
        } else {
            self.all::<SecretSpec>().iter().filter_map(aged).collect()
        };
        let namespaces = self.secret_access.differing(&old.secret_access);
        (secrets, namespaces)
    }

    /// Takes in an object as an API server or a file gives it.
    ///
    /// `None` when nothing changed: the kind or version is not read here, the resource version is the one that is
    /// stored, or (without resource version) the object is equal.
    ///
    /// # Errors
    /// The JSON is no Kubernetes object. An object whose spec does not decode is no error: it is stored as such.
    pub fn apply(&mut self, object: &Value) -> Result<Option<Change>, ApplyError> {
        let Some(kind) = kind_of(object)? else {
            return Ok(None);
        };
        let key = ObjectKey::of(kind, object);
        let version = object["metadata"]["resourceVersion"].as_str();
        let is_stored = |stored: &Metadata| version == Some(stored.resource_version.as_str());
        if version != Some("") && self.metadata(&key).is_some_and(is_stored) {
            return Ok(None);
        }
        Ok(self.take(Incoming::read(key, object)))
    }

    /// Takes in an object that was read before; as [`World::apply`].
    pub fn take(&mut self, incoming: Incoming) -> Option<Change> {
        let mut key = incoming.key;
        match self.namespaces.get(&key.namespace) {
            Some(shared) => key.namespace = Arc::clone(shared),
            None => {
                self.namespaces.insert(Arc::clone(&key.namespace));
            }
        }
        (incoming.enter)(key, &mut self.stores)
    }

    /// Forgets an object. `None` when it was not known.
    pub fn delete(&mut self, key: &ObjectKey) -> Option<Change> {
        if key.kind == Kind::Namespace {
            // What comes after that shares another text.
            self.namespaces.remove(&key.name);
        }
        let known =
            on_store!(key.kind, Spec => Spec::store_mut(&mut self.stores).remove(key).is_some());
        known.then(|| Change {
            key: key.clone(),
            content: true,
        })
    }

    /// Forgets the objects of a kind that `keep` refuses: what a new list of the kind no longer holds.
    pub fn retain(&mut self, kind: Kind, keep: impl Fn(&ObjectKey) -> bool) -> Vec<Change> {
        let gone: Vec<ObjectKey> = self
            .keys(kind)
            .into_iter()
            .filter(|key| !keep(key))
            .collect();
        gone.iter().filter_map(|key| self.delete(key)).collect()
    }

    /// Takes in what is wrong with the ports that were written to a Service; `None`: nothing any more. `None` is
    /// returned when that was known.
    pub fn note_port_write(
        &mut self,
        service: &ObjectKey,
        write: Option<PortWrite>,
    ) -> Option<Change> {
        if self.port_write(service) == write.as_ref() {
            return None;
        }
        match write {
            Some(write) => self.port_writes.insert(service.clone(), Arc::new(write)),
            None => self.port_writes.remove(service),
        };
        Some(Change {
            key: service.clone(),
            content: true,
        })
    }

    /// What is wrong with the ports that were written to a Service.
    pub fn port_write(&self, service: &ObjectKey) -> Option<&PortWrite> {
        self.port_writes.get(service).map(Arc::as_ref)
    }

    /// One object.
    pub fn get<S: Content>(&self, key: &ObjectKey) -> Option<&Arc<Object<S>>> {
        S::store(&self.stores).get(key)
    }

    /// All objects of a kind, by namespace and name.
    pub fn all<S: Content>(&self) -> &Store<S> {
        S::store(&self.stores)
    }

    /// The objects of a kind in one namespace, by name.
    pub fn in_namespace<S: Content>(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = (&ObjectKey, &Arc<Object<S>>)> + use<'_, S> {
        let from = ObjectKey::new(S::KIND, namespace, Arc::default());
        let namespace = from.namespace.clone();
        S::store(&self.stores)
            .range(from..)
            .take_while(move |(key, _)| key.namespace == namespace)
    }

    /// One object of whatever kind: an [`Arc`] of an [`Object`] of what the kind says.
    pub fn any(&self, key: &ObjectKey) -> Option<&dyn Any> {
        Some(on_store!(key.kind, Spec => self.get::<Spec>(key)?))
    }

    /// All objects of a kind, by namespace and name; see [`World::any`].
    pub fn all_any(&self, kind: Kind) -> Vec<(&ObjectKey, &(dyn Any + Sync))> {
        on_store!(kind, Spec => {
            let all = Spec::store(&self.stores).iter();
            all.map(|(key, object)| (key, object as &(dyn Any + Sync))).collect()
        })
    }

    /// The keys of all objects of a kind, by namespace and name.
    pub fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        on_store!(kind, Spec => Spec::store(&self.stores).keys().cloned().collect())
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        on_store!(kind, Spec => Spec::store(&self.stores).len())
    }

    /// Metadata of an object of any kind.
    pub fn metadata(&self, key: &ObjectKey) -> Option<&Metadata> {
        on_store!(key.kind, Spec => self.get::<Spec>(key).map(|object| &object.meta))
    }

    /// The stored `status` of an object of any kind; see [`Object::status`].
    pub fn status(&self, key: &ObjectKey) -> Option<Value> {
        on_store!(key.kind, Spec => self.get::<Spec>(key).and_then(|object| object.status.as_ref()).map(StoredStatus::read))
    }

    /// Whether the object is here.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.metadata(key).is_some()
    }
}

/// An object that was read and belongs to no World yet: reading takes longer than taking in, and several threads can
/// share it.
pub struct Incoming {
    key: ObjectKey,
    enter: Box<Enter>,
}

/// How an object of some kind gets into the map of its kind.
type Enter = dyn FnOnce(ObjectKey, &mut Stores) -> Option<Change> + Send;

impl Incoming {
    /// Reads an object as an API server or a file gives it; `None` for a kind or version that is not read here.
    ///
    /// # Errors
    /// As [`World::apply`].
    pub fn of(object: &Value) -> Result<Option<Incoming>, ApplyError> {
        let kind = kind_of(object)?;
        Ok(kind.map(|kind| Incoming::read(ObjectKey::of(kind, object), object)))
    }

    fn read(key: ObjectKey, object: &Value) -> Incoming {
        on_store!(key.kind, Spec => {
            let read = Object::<Spec>::read(object);
            Incoming {
                key,
                enter: Box::new(|key, stores| insert(stores, key, read)),
            }
        })
    }
}

/// The kind of an object; `None` for one that is not read here.
fn kind_of(object: &Value) -> Result<Option<Kind>, ApplyError> {
    fn text<'v>(value: &'v Value, name: &'static str) -> Result<&'v str, ApplyError> {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.ok_or(ApplyError::Missing(name))
    }
    let api_version = text(&object["apiVersion"], "apiVersion")?;
    let kind = text(&object["kind"], "kind")?;
    let Some(kind) = Kind::of(api_version, kind) else {
        return Ok(None);
    };
    text(&object["metadata"]["name"], "metadata.name")?;
    Ok(Some(kind))
}

fn insert<S: Content>(stores: &mut Stores, key: ObjectKey, mut new: Object<S>) -> Option<Change> {
    let store = S::store_mut(stores);
    let old = store.get(&key);
    let content = match old {
        Some(old) if **old == new => return None,
        Some(old) => !old.says_the_same(&new),
        None => true,
    };
    if let Some(old) = old.filter(|old| !content || old.spec == new.spec) {
        // The Model holds the old one: equal contents are kept once, and by that it knows that they are.
        new.spec.clone_from(&old.spec);
    }
    store.insert(key.clone(), Arc::new(new));
    Some(Change { key, content })
}

#[cfg(test)]
mod tests;
