//! Kinds as the API server's URLs name them, and their objects page by page.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, TypeMeta},
};

use super::shallow::Shallow;
use crate::api::kind::Kind;

/// Objects of one answer.
const PAGE: u32 = 500;

/// How a kind is written in URLs, in one of its versions.
pub fn resource(kind: Kind, version: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// All objects of a kind in the newest version that is served, a page at a time; none when no version is.
pub struct Pages {
    client: Client,
    kind: Kind,
    namespace: Option<String>,
    params: ListParams,
    /// Versions to try, the one that is listed first.
    versions: &'static [&'static str],
    ended: bool,
}

/// Objects of one kind, each with its type.
pub struct Page {
    /// Their kind, in the version that they are listed in.
    pub resource: ApiResource,
    /// The objects, without what is nested too deeply.
    pub objects: Vec<DynamicObject>,
}

impl Pages {
    /// Of a namespace, or of the whole cluster.
    pub fn new(client: Client, kind: Kind, namespace: Option<&str>) -> Self {
        Self {
            client,
            kind,
            namespace: namespace.map(str::to_owned),
            params: ListParams::default().limit(PAGE),
            versions: kind.versions(),
            ended: false,
        }
    }

    /// Only objects with these fields.
    pub fn fields(mut self, selector: &str) -> Self {
        self.params = self.params.fields(selector);
        self
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The API server can't be reached or refuses. The pages can't be continued then.
    pub async fn next(&mut self) -> kube::Result<Option<Page>> {
        while let Some(version) = self.versions.first().filter(|_| !self.ended) {
            let resource = resource(self.kind, version);
            let api: Api<Shallow> = match &self.namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            let list = match api.list(&self.params).await {
                Err(kube::Error::Api(status))
                    if status.code == 404 && self.params.continue_token.is_none() =>
                {
                    self.versions = &self.versions[1..];
                    continue;
                }
                list => list?,
            };
            self.params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            self.ended = self.params.continue_token.is_none();
            // Items of a list don't name their type.
            let types = TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            };
            let named = |Shallow(object)| DynamicObject {
                types: Some(types.clone()),
                ..object
            };
            let objects = list.items.into_iter().map(named).collect();
            return Ok(Some(Page { resource, objects }));
        }
        Ok(None)
    }
}
