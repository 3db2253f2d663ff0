//! A live cluster as a [`World`]: what the control plane watches, listed once with a person's own rights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinSet;

use super::Cluster;
use crate::api::kind::Kind;
use crate::kubernetes::Pages;
use crate::world::{SECRET_FIELDS, SecretAccess, Settings, World};

/// A kind that may not be read, or not in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// What the API server says.
    pub why: String,
}

impl Cluster {
    /// The objects of some kinds, under the mesh-wide settings of the control plane; no Secrets, see
    /// [`Cluster::load_secrets`]. Kinds that may not be read are told beside them; those without a CRD have no objects.
    ///
    /// # Errors
    /// The API server cannot be reached or fails, or the mesh configuration cannot be read as one.
    pub fn load(
        &self,
        kinds: impl IntoIterator<Item = Kind>,
    ) -> anyhow::Result<(World, Vec<Denied>)> {
        let mut world = World::new(self.settings()?);
        world.set_secret_access(SecretAccess::In(imbl::OrdMap::new()));
        let mut denied = Vec::new();
        let lists = self.wait(async {
            let mut lists = JoinSet::new();
            for kind in kinds.into_iter().filter(|kind| *kind != Kind::Secret) {
                let client = self.client.clone();
                lists.spawn(async move { (kind, list(&client, kind, None).await) });
            }
            lists.join_all().await
        });
        for (kind, list) in lists {
            take(&mut world, kind, None, list, &mut denied)?;
        }
        denied.sort_by_key(|denied| denied.kind);
        Ok((world, denied))
    }

    /// Adds the Secrets of some namespaces; [`World::secret_access`] says which of them may be read.
    ///
    /// # Errors
    /// The API server cannot be reached or fails.
    pub fn load_secrets(
        &self,
        world: &mut World,
        namespaces: &BTreeSet<Arc<str>>,
    ) -> anyhow::Result<Vec<Denied>> {
        let mut denied = Vec::new();
        for namespace in namespaces {
            let secrets = self.wait(list(&self.client, Kind::Secret, Some(namespace)));
            let before = denied.len();
            take(world, Kind::Secret, Some(namespace), secrets, &mut denied)?;
            let mut access = world.secret_access().clone();
            access.note(Arc::clone(namespace), denied.len() == before);
            world.set_secret_access(access);
        }
        Ok(denied)
    }

    /// The values of a ConfigMap of the control plane; `None` when it is not there, or may not be read.
    ///
    /// # Errors
    /// The API server cannot be reached or fails.
    pub fn config_map(&self, name: &str) -> anyhow::Result<Option<BTreeMap<String, String>>> {
        let namespace = &self.istio_namespace;
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let found = self.wait(maps.get_opt(name));
        match found {
            Ok(found) => Ok(found.map(|map| map.data.unwrap_or_default())),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("ConfigMap {namespace}/{name}")),
        }
    }

    /// The mesh-wide settings; defaults where the control plane has none that may be read.
    fn settings(&self) -> anyhow::Result<Settings> {
        const NAME: &str = "outrigger";
        let Some(mesh) = self
            .config_map(NAME)?
            .and_then(|mut data| data.remove("mesh"))
        else {
            return Ok(Settings::default());
        };
        let place = || format!("ConfigMap {}/{NAME}, key mesh", self.istio_namespace);
        let mesh: Value = serde_saphyr::from_str(&mesh).with_context(place)?;
        Settings::of_mesh_config(&mesh).with_context(place)
    }
}

/// Takes a list into the World, or notes why there is none.
fn take(
    world: &mut World,
    kind: Kind,
    namespace: Option<&str>,
    list: kube::Result<Vec<Value>>,
    denied: &mut Vec<Denied>,
) -> anyhow::Result<()> {
    let place = || match namespace {
        Some(namespace) => format!("cannot list {} in {namespace}", kind.plural()),
        None => format!("cannot list {}", kind.plural()),
    };
    match list {
        Ok(objects) => {
            for object in &objects {
                world.apply(object).with_context(place)?;
            }
        }
        Err(kube::Error::Api(status)) if status.code == 403 => denied.push(Denied {
            kind,
            namespace: namespace.map(str::to_owned),
            why: status.message,
        }),
        Err(error) => return Err(error).with_context(place),
    }
    Ok(())
}

/// All objects of a kind; none when no version of it is served.
async fn list(client: &Client, kind: Kind, namespace: Option<&str>) -> kube::Result<Vec<Value>> {
    let mut pages = Pages::new(client.clone(), kind, namespace);
    if kind == Kind::Secret {
        pages = pages.fields(SECRET_FIELDS);
    }
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await? {
        for object in &page.objects {
            objects.push(serde_json::to_value(object).map_err(kube::Error::SerdeError)?);
        }
    }
    Ok(objects)
}
