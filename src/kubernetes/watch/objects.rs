//! Objects as they come in: read whatever they hold, and passed on in one form.

use std::borrow::Cow;

use futures::{Stream, StreamExt as _};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta, TypeMeta},
    core::DynamicResourceScope,
    runtime::watcher::{self, Event},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed as _, Error},
};
use serde_json::{Map, Value};

use crate::{
    api::{
        depth::{Bounded, LEVELS},
        kind::Kind,
    },
    world::ObjectKey,
};

/// One object of a list or an event.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    /// Name, namespace and resource version alone: what watches go by. The rest is among the members.
    meta: ObjectMeta,
    members: Map<String, Value>,
}

impl Incoming {
    fn new(members: Map<String, Value>) -> Self {
        let text = |name: &str| {
            let metadata = members.get("metadata")?;
            Some(metadata.get(name)?.as_str()?.to_owned())
        };
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { meta, members }
    }

    pub(super) fn key(&self, kind: Kind) -> ObjectKey {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
        ObjectKey::new(kind, text(&self.meta.namespace), text(&self.meta.name))
    }

    /// The object as JSON, named by `types`: items of a list don't tell their type.
    pub(super) fn into_json(self, kind: Kind, types: &TypeMeta) -> Value {
        let mut members = self.members;
        members.insert("apiVersion".to_owned(), types.api_version.clone().into());
        members.insert("kind".to_owned(), types.kind.clone().into());
        // The largest part of most objects. Only of Services it matters who owns what: which ports are our own.
        if kind != Kind::Service
            && let Some(Value::Object(metadata)) = members.get_mut("metadata")
        {
            metadata.remove("managedFields");
        }
        Value::Object(members)
    }
}

impl Resource for Incoming {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.api_version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de> Deserialize<'de> for Incoming {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Bounded(LEVELS).deserialize(deserializer)? {
            Value::Object(members) => Ok(Self::new(members)),
            _ => Err(D::Error::custom("not an object")),
        }
    }
}

/// Events of objects of which only the metadata was asked for, in the form of all others.
pub(super) fn of_metadata(
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<DynamicObject>>>>,
) -> impl Stream<Item = watcher::Result<Event<Incoming>>> {
    let whole = |partial: PartialObjectMeta<DynamicObject>| {
        let metadata = serde_json::to_value(partial.metadata).unwrap_or_default();
        Incoming::new(Map::from_iter([("metadata".to_owned(), metadata)]))
    };
    events.map(move |event| {
        event.map(|event| match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(whole(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(whole(object)),
            Event::Delete(object) => Event::Delete(whole(object)),
        })
    })
}

#[cfg(test)]
mod tests {
    use kube::api::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn types() -> TypeMeta {
        TypeMeta {
            api_version: "networking.istio.io/v1alpha3".to_owned(),
            kind: "EnvoyFilter".to_owned(),
        }
    }

    fn list(items: &str) -> Vec<Incoming> {
        let text = format!(
            r#"{{"kind":"EnvoyFilterList","apiVersion":"networking.istio.io/v1alpha3","metadata":{{"resourceVersion":"7"}},"items":[{items}]}}"#
        );
        let list: ObjectList<Incoming> = serde_json::from_str(&text).unwrap();
        list.items
    }

    #[test]
    fn an_item_of_a_list_is_given_its_type_and_loses_its_managed_fields() {
        let items = list(
            r#"{"metadata":{"name":"reviews","namespace":"shop","resourceVersion":"3","managedFields":[{"manager":"kubectl"}]},
                "spec":{"priority":-1,"weight":0.5,"on":true,"none":null,"list":["a",18446744073709551615]}}"#,
        );
        let [item] = items.try_into().unwrap_or_else(|_| panic!("not one item"));
        let key = ObjectKey::new(Kind::EnvoyFilter, "shop", "reviews");
        assert_eq!(item.key(Kind::EnvoyFilter), key);
        assert_eq!(item.meta().resource_version.as_deref(), Some("3"));
        assert_eq!(
            item.into_json(Kind::EnvoyFilter, &types()),
            json!({
                "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": {"name": "reviews", "namespace": "shop", "resourceVersion": "3"},
                "spec": {"priority": -1, "weight": 0.5, "on": true, "none": null, "list": ["a", u64::MAX]},
            })
        );
    }

    #[test]
    fn an_object_that_is_nested_deeper_than_the_parser_goes_hides_no_other() {
        for (open, close) in [(r#"{"a":"#, "}"), ("[", "]")] {
            let deep = format!("{}1{}", open.repeat(5000), close.repeat(5000));
            let object = format!(r#"{{"metadata":{{"name":"deep"}},"spec":{{"value":{deep}}}}}"#);
            let items = list(&format!(r#"{object},{{"metadata":{{"name":"flat"}}}}"#));
            let names: Vec<_> = items.iter().map(|item| item.meta.name.as_deref()).collect();
            assert_eq!(names, [Some("deep"), Some("flat")]);
            let deep = items[0].clone().into_json(Kind::EnvoyFilter, &types());
            assert!(deep.to_string().contains("nested too deeply"));

            let event = format!(r#"{{"type":"ADDED","object":{object}}}"#);
            let event: WatchEvent<Incoming> = serde_json::from_str(&event).unwrap();
            assert!(
                matches!(event, WatchEvent::Added(object) if object.meta.name.as_deref() == Some("deep"))
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["7", "[]", "null", r#""text""#] {
            assert!(serde_json::from_str::<Incoming>(text).is_err(), "{text}");
        }
    }
}
