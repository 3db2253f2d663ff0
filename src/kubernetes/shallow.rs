//! Objects from the API server, however deep they are nested: what it answers to a write must be read as well.

use std::borrow::Cow;

use kube::{
    Resource,
    api::{ApiResource, DynamicObject, ObjectMeta},
    core::DynamicResourceScope,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed as _, Error},
};

use crate::api::depth::{Bounded, LEVELS};

/// An object without what is nested too deeply.
#[derive(Debug, Clone)]
pub(super) struct Shallow(pub(super) DynamicObject);

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::from_value(Bounded(LEVELS).deserialize(deserializer)?);
        object.map(Shallow).map_err(D::Error::custom)
    }
}

impl Resource for Shallow {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::api_version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectList;

    use super::*;

    #[test]
    fn an_object_that_is_nested_deeper_than_the_parser_goes_hides_no_other_of_a_page() {
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let list = format!(
            r#"{{"kind": "EnvoyFilterList", "apiVersion": "networking.istio.io/v1alpha3", "metadata": {{}}, "items": [
                {{"metadata": {{"name": "deep"}}, "spec": {{"value": {deep}}}}}, {{"metadata": {{"name": "flat"}}}}]}}"#
        );
        let list: ObjectList<Shallow> = serde_json::from_str(&list).unwrap();
        let names = list.items.iter().map(|item| item.meta().name.as_deref());
        assert_eq!(names.collect::<Vec<_>>(), [Some("deep"), Some("flat")]);
    }
}
