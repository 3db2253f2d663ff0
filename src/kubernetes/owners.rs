//! The workload whose name people know, found from a pod's controller: Deployment above ReplicaSet, CronJob above Job.
//!
//! Only built-in controllers are looked up, and of those only the metadata. A workload's own owner (the custom resource
//! of an operator) is not looked for: `kubectl describe` of the workload is where people look.
//!
//! Whoever reaches the webhook's port can claim any owner. So a controller counts only where it is shown to exist under
//! the uid that was claimed: by a pod that the API server has told of, or by the API server when it is asked.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::PartialObjectMeta,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    analysis::Snapshot,
    world::{Controller, PodSpec},
};

/// Controllers that are looked up, with the plural under which they are read. The first three may have an owner whom
/// people know better.
const LOOKED_UP: [(&str, &str, &str); 5] = [
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("v1", "ReplicationController", "replicationcontrollers"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("apps/v1", "StatefulSet", "statefulsets"),
];
/// How many of them may have such an owner.
const BETWEEN: usize = 3;
/// How many controllers are remembered, and how many that do not exist.
const REMEMBERED: usize = 4096;
/// How long one look may take.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Finds owners, and remembers them: the controller of an object never changes while it has one.
pub struct Owners {
    client: Client,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    memory: Mutex<Memory>,
}

/// A controller as somebody names it, with its namespace.
type Claim = (String, Controller);

#[derive(Default)]
struct Memory {
    known: HashMap<Claim, Controller>,
    /// The keys of `known`, oldest first.
    order: VecDeque<Claim>,
    /// Hashes of claims that are false, and stay so: a uid is of no use before its object is there, nor ever again
    /// after. Whoever makes them up decides how long they are, so not the claims themselves.
    absent: HashSet<u64>,
    hasher: RandomState,
}

impl Memory {
    fn owner(&mut self, claim: Claim, owner: Controller) {
        if self.known.insert(claim.clone(), owner).is_none() {
            self.order.push_back(claim);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn absent(&mut self, claim: &Claim) {
        if self.absent.len() >= REMEMBERED {
            self.absent.clear();
        }
        self.absent.insert(self.hasher.hash_one(claim));
    }

    fn is_absent(&self, claim: &Claim) -> bool {
        self.absent.contains(&self.hasher.hash_one(claim))
    }
}

impl Owners {
    /// Nothing is known yet. `snapshots` have the pods that the API server has told of.
    pub fn new(client: Client, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self {
            client,
            snapshots,
            memory: Mutex::default(),
        }
    }

    /// The topmost workload above `controller`, which is in `namespace`, or that nothing shows the controller to exist,
    /// as far as that is known without a call. None where it takes [`Owners::look`] to tell.
    pub fn known(
        &self,
        namespace: &str,
        controller: &Controller,
    ) -> Option<Result<ObjectReference, Unproven>> {
        let claim = (namespace.to_owned(), controller.clone());
        {
            let memory = self.memory();
            if let Some(owner) = memory.known.get(&claim) {
                return Some(Ok(reference(namespace, owner)));
            }
            if memory.is_absent(&claim) {
                return Some(Err(Unproven::Absent));
            }
        }
        let looked_up = looked_up(controller);
        let is_topmost = looked_up.is_none_or(|(index, _)| index >= BETWEEN);
        if is_topmost && self.has_pods(namespace, controller) {
            return Some(Ok(reference(namespace, controller)));
        }
        looked_up.is_none().then_some(Err(Unproven::Kind))
    }

    /// Asks the API server for the topmost workload above `controller`, which is in `namespace`; the controller itself
    /// where nothing more is known, because it may not be read, or has no owner.
    ///
    /// # Errors
    /// The controller is not shown to exist, or the API server does not tell.
    pub async fn look(
        &self,
        namespace: &str,
        controller: &Controller,
    ) -> Result<ObjectReference, LookError> {
        let (_, plural) = looked_up(controller).ok_or(Unproven::Kind)?;
        let claim = (namespace.to_owned(), controller.clone());
        match self.owner_of(namespace, controller, plural).await {
            Ok(owner) => {
                let topmost = reference(namespace, &owner);
                self.memory().owner(claim, owner);
                Ok(topmost)
            }
            Err(why) if self.has_pods(namespace, controller) => {
                tracing::debug!(namespace, kind = controller.kind, name = controller.name, %why, "cannot look for the owner");
                Ok(reference(namespace, controller))
            }
            Err(why) => {
                if matches!(why, LookError::Unproven(Unproven::Absent)) {
                    self.memory().absent(&claim);
                }
                Err(why)
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a pod that is there has this controller.
    fn has_pods(&self, namespace: &str, controller: &Controller) -> bool {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let mut pods = snapshot.world().in_namespace::<PodSpec>(namespace);
        pods.any(|(_, pod)| {
            pod.spec().and_then(|spec| spec.controller.as_ref()) == Some(controller)
        })
    }

    /// The controller's controller, or itself where it has none.
    async fn owner_of(
        &self,
        namespace: &str,
        controller: &Controller,
        plural: &str,
    ) -> Result<Controller, LookError> {
        let (group, version) = match controller.api_version.split_once('/') {
            Some(parts) => parts,
            None => ("", controller.api_version.as_str()),
        };
        let gvk = GroupVersionKind::gvk(group, version, &controller.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let looked = timeout(LOOK_TIME, api.get_metadata_opt(&controller.name)).await;
        let found = looked.map_err(|_| LookError::Slow)??;
        let found = found.ok_or(Unproven::Absent)?;
        // A later one of the same name is meant by nobody.
        if found.metadata.uid.as_deref() != Some(controller.uid.as_str()) {
            return Err(Unproven::Absent.into());
        }
        Ok(owner_in(&found).unwrap_or_else(|| controller.clone()))
    }
}

/// Where the controller's kind stands in [`LOOKED_UP`], and its plural.
fn looked_up(controller: &Controller) -> Option<(usize, &'static str)> {
    let kind = (controller.api_version.as_str(), controller.kind.as_str());
    let mut kinds = LOOKED_UP.iter().enumerate();
    kinds.find_map(|(index, (version, name, plural))| {
        ((*version, *name) == kind).then_some((index, *plural))
    })
}

/// The controller that the object names.
fn owner_in(object: &PartialObjectMeta<DynamicObject>) -> Option<Controller> {
    let mut owners = object.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(Controller {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

fn reference(namespace: &str, owner: &Controller) -> ObjectReference {
    ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        namespace: Some(namespace.to_owned()),
        name: Some(owner.name.clone()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Why a controller is not known to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Its kind is not looked up, and no pod that is there names it.
    #[error("no pod that is known is controlled by it")]
    Kind,
    /// There is none of this name and uid.
    #[error("it does not exist")]
    Absent,
}

/// Why a look at a controller gives no owner.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Nothing shows that there is such a controller.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// It cannot be looked up.
    #[error("the controller cannot be looked up: {0}")]
    Api(#[from] kube::Error),
    /// It cannot be looked up in time.
    #[error(
        "the controller cannot be looked up: the API server did not answer within {LOOK_TIME:?}"
    )]
    Slow,
}
