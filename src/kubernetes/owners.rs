//! The workload whose name people know, found from a pod's controller: Deployment above ReplicaSet, CronJob above Job.
//!
//! Only controllers that other controllers put between are looked up, and of those only the metadata. A workload's own
//! owner (the custom resource of an operator) is not looked for: `kubectl describe` of the workload is where people look.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::PartialObjectMeta,
};
use tokio::time::timeout;

use crate::world::Controller;

/// Controllers that have an owner whom people know better, with the plural under which they are read.
const BETWEEN: [(&str, &str, &str); 3] = [
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("v1", "ReplicationController", "replicationcontrollers"),
];
/// How many controllers are remembered.
const REMEMBERED: usize = 4096;
/// How long one look may take.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Finds owners, and remembers them: the controller of an object never changes while it has one.
pub struct Owners {
    client: Client,
    known: HashMap<String, Controller>,
    /// The keys of `known`, oldest first.
    order: VecDeque<String>,
}

impl Owners {
    /// Nothing is known yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The topmost workload above `controller`, which is in `namespace`; the controller itself where nothing more is
    /// known, because it is gone, may not be read, or has no owner.
    pub async fn topmost(&mut self, namespace: &str, controller: &Controller) -> ObjectReference {
        let kind = (controller.api_version.as_str(), controller.kind.as_str());
        let between = BETWEEN
            .iter()
            .find(|(version, name, _)| (*version, *name) == kind);
        let Some((_, _, plural)) = between else {
            return reference(namespace, controller);
        };
        if let Some(owner) = self.known.get(&controller.uid) {
            return reference(namespace, owner);
        }
        match self.owner_of(namespace, controller, plural).await {
            Ok(owner) => {
                let owner = owner.unwrap_or_else(|| controller.clone());
                let topmost = reference(namespace, &owner);
                self.remember(controller.uid.clone(), owner);
                topmost
            }
            Err(error) => {
                tracing::debug!(namespace, kind = controller.kind, name = controller.name, %error, "cannot look for the owner");
                reference(namespace, controller)
            }
        }
    }

    async fn owner_of(
        &self,
        namespace: &str,
        controller: &Controller,
        plural: &str,
    ) -> Result<Option<Controller>, LookError> {
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
        Ok(found.and_then(|found| owner_in(&found, &controller.uid)))
    }

    fn remember(&mut self, uid: String, owner: Controller) {
        if self.known.insert(uid.clone(), owner).is_none() {
            self.order.push_back(uid);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// The controller that the object names, if it is the one that was meant and not a later one of its name.
fn owner_in(object: &PartialObjectMeta<DynamicObject>, uid: &str) -> Option<Controller> {
    let metadata = &object.metadata;
    let meant = metadata.uid.as_deref() == Some(uid);
    let owners = metadata.owner_references.iter().flatten().filter(|_| meant);
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))?;
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

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {LOOK_TIME:?}")]
    Slow,
}
