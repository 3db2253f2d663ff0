//! The workload whose name people know, found from a pod's controller: Deployment above ReplicaSet, CronJob above Job.
//!
//! Only built-in controllers are looked up, and of those only the metadata. A workload's own owner (the custom resource
//! of an operator) is not looked for: `kubectl describe` of the workload is where people look.
//!
//! Whoever reaches the webhook's port can claim any owner. So a controller counts only where it is shown to exist under
//! the uid that was claimed: by a pod that the API server has told of, or by the API server when it is asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
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
/// How many controllers are remembered.
const REMEMBERED: usize = 4096;
/// How long one look may take.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Finds owners, and remembers them: the controller of an object never changes while it has one.
pub struct Owners {
    client: Client,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    known: HashMap<Claim, Controller>,
    /// The keys of `known`, oldest first.
    order: VecDeque<Claim>,
}

/// A controller as somebody names it, with its namespace.
type Claim = (String, Controller);

impl Owners {
    /// Nothing is known yet. `snapshots` have the pods that the API server has told of.
    pub fn new(client: Client, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self {
            client,
            snapshots,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The topmost workload above `controller`, which is in `namespace`; the controller itself where nothing more is
    /// known, because it may not be read, or has no owner.
    ///
    /// # Errors
    /// The controller is not shown to exist.
    pub async fn topmost(
        &mut self,
        namespace: &str,
        controller: &Controller,
    ) -> Result<ObjectReference, Unproven> {
        let claim = (namespace.to_owned(), controller.clone());
        if let Some(owner) = self.known.get(&claim) {
            return Ok(reference(namespace, owner));
        }
        let kind = (controller.api_version.as_str(), controller.kind.as_str());
        let looked_up = LOOKED_UP
            .iter()
            .position(|(version, name, _)| (*version, *name) == kind);
        let is_topmost = looked_up.is_none_or(|index| index >= BETWEEN);
        if is_topmost && self.has_pods(namespace, controller) {
            return Ok(reference(namespace, controller));
        }
        let Some((_, _, plural)) = looked_up.and_then(|index| LOOKED_UP.get(index)) else {
            return Err(Unproven::Kind);
        };
        let owner = match self.owner_of(namespace, controller, plural).await {
            Ok(owner) => owner,
            Err(why) if self.has_pods(namespace, controller) => {
                tracing::debug!(namespace, kind = controller.kind, name = controller.name, %why, "cannot look for the owner");
                return Ok(reference(namespace, controller));
            }
            Err(why) => return Err(why),
        };
        let topmost = reference(namespace, &owner);
        self.remember(claim, owner);
        Ok(topmost)
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
    ) -> Result<Controller, Unproven> {
        let (group, version) = match controller.api_version.split_once('/') {
            Some(parts) => parts,
            None => ("", controller.api_version.as_str()),
        };
        let gvk = GroupVersionKind::gvk(group, version, &controller.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let looked = timeout(LOOK_TIME, api.get_metadata_opt(&controller.name)).await;
        let found = looked.map_err(|_| Unproven::Slow)??;
        let found = found.ok_or(Unproven::Absent)?;
        // A later one of the same name is meant by nobody.
        if found.metadata.uid.as_deref() != Some(controller.uid.as_str()) {
            return Err(Unproven::Absent);
        }
        Ok(owner_in(&found).unwrap_or_else(|| controller.clone()))
    }

    fn remember(&mut self, claim: Claim, owner: Controller) {
        if self.known.insert(claim.clone(), owner).is_none() {
            self.order.push_back(claim);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
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

/// Why nothing is said about a controller.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// Its kind is not looked up, and no pod that is there names it.
    #[error("no pod that is known is controlled by it")]
    Kind,
    /// There is none of this name and uid.
    #[error("it does not exist")]
    Absent,
    /// It cannot be looked up.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It cannot be looked up in time.
    #[error("the API server did not answer within {LOOK_TIME:?}")]
    Slow,
}
