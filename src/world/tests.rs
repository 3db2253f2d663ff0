use std::sync::Arc;

use serde_json::{Value, json};

use super::{ApplyError, Change, ObjectKey, ServiceSpec, Settings, World};
use crate::api::kind::Kind;
use crate::api::networking::{GatewaySpec, VirtualServiceSpec};

fn route(name: &str, version: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
           "metadata": {"namespace": "shop", "name": name, "resourceVersion": version}, "spec": spec})
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::VirtualService, "shop", name)
}

#[test]
fn object_is_taken_in_once_and_a_repeated_version_is_no_change() {
    let mut world = World::default();
    let object = route("a", "1", json!({"hosts": ["a"]}));
    assert_eq!(
        world.apply(&object),
        Ok(Some(Change {
            key: key("a"),
            content: true
        }))
    );
    assert_eq!(world.apply(&object), Ok(None));
    let spec = world
        .get::<VirtualServiceSpec>(&key("a"))
        .unwrap()
        .spec()
        .unwrap();
    assert_eq!(spec.hosts, ["a"]);
}

#[test]
fn change_of_status_alone_is_no_change_of_content() {
    let mut world = World::default();
    world
        .apply(&route("a", "1", json!({"hosts": ["a"]})))
        .unwrap();
    let mut written = route("a", "2", json!({"hosts": ["a"]}));
    written["status"] = json!({"observedGeneration": 1});
    let before = world.clone();
    assert_eq!(
        world.apply(&written),
        Ok(Some(Change {
            key: key("a"),
            content: false
        }))
    );
    let spec = |world: &World| {
        let object = world.get::<VirtualServiceSpec>(&key("a")).unwrap();
        object.spec.clone().unwrap()
    };
    assert!(
        Arc::ptr_eq(&spec(&before), &spec(&world)),
        "what is the same is kept once"
    );
    assert_eq!(world.status(&key("a")), Some(written["status"].clone()));
    written["metadata"]["resourceVersion"] = json!("3");
    written["metadata"]["labels"] = json!({"a": "b"});
    assert!(world.apply(&written).unwrap().unwrap().content);
}

#[test]
fn object_that_does_not_decode_is_kept_with_the_field_that_is_wrong() {
    let mut world = World::default();
    world
        .apply(&route("a", "1", json!({"http": [{"timeout": {}}]})))
        .unwrap();
    let object = world.get::<VirtualServiceSpec>(&key("a")).unwrap();
    assert_eq!(
        object.spec.as_ref().unwrap_err().path,
        "spec.http[0].timeout"
    );
    world
        .apply(&route("a", "2", json!({"hosts": ["a"]})))
        .unwrap();
    assert!(
        world
            .get::<VirtualServiceSpec>(&key("a"))
            .unwrap()
            .spec
            .is_ok()
    );
}

#[test]
fn a_new_list_forgets_what_it_no_longer_holds() {
    let mut world = World::default();
    for name in ["a", "b", "c"] {
        world.apply(&route(name, "1", json!({}))).unwrap();
    }
    let before = world.clone();
    let gone = world.retain(Kind::VirtualService, |key| &*key.name == "b");
    assert_eq!(
        gone.iter()
            .map(|change| &*change.key.name)
            .collect::<Vec<_>>(),
        ["a", "c"]
    );
    assert_eq!(world.keys(Kind::VirtualService), [key("b")]);
    assert_eq!(
        before.count(Kind::VirtualService),
        3,
        "a clone is not touched"
    );
    assert_eq!(world.delete(&key("a")), None);
}

#[test]
fn names_of_deleted_namespaces_are_not_kept() {
    let mut world = World::default();
    for round in 0..100 {
        let name = format!("run-{round}");
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": name}});
        for object in [&namespace, &service] {
            world.apply(object).unwrap();
        }
        for (kind, object) in [(Kind::Service, &service), (Kind::Namespace, &namespace)] {
            world.delete(&ObjectKey::of(kind, object)).unwrap();
        }
    }
    // That of objects without one.
    assert_eq!(world.namespaces.len(), 1);
}

#[test]
fn namespaces_are_told_apart_by_their_whole_name() {
    let mut world = World::default();
    for namespace in ["a", "a-b", "b"] {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": "x"}});
        world.apply(&object).unwrap();
    }
    assert_eq!(world.in_namespace::<ServiceSpec>("a").count(), 1);
    assert_eq!(world.in_namespace::<ServiceSpec>("c").count(), 0);
    assert_eq!(world.in_namespace::<GatewaySpec>("a").count(), 0);
}

#[test]
fn other_kinds_are_passed_over_and_what_is_no_object_is_refused() {
    let mut world = World::default();
    let other = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "TCPRoute", "metadata": {"name": "g"}});
    assert_eq!(world.apply(&other), Ok(None));
    assert_eq!(
        world.apply(&json!([])),
        Err(ApplyError::Missing("apiVersion"))
    );
    let unnamed = json!({"apiVersion": "v1", "kind": "Service", "metadata": {}});
    assert_eq!(
        world.apply(&unnamed),
        Err(ApplyError::Missing("metadata.name"))
    );
}

#[test]
fn mesh_configuration_changes_only_what_it_names() {
    let settings = Settings::of_mesh_config(&json!({
        "rootNamespace": "mesh", "defaultServiceExportTo": ["."],
        "defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}},
    }));
    let expected = Settings {
        root_namespace: "mesh".to_owned(),
        default_service_export_to: vec![".".to_owned()],
        allocates_addresses: true,
        ..Settings::default()
    };
    assert_eq!(settings, Ok(expected));
    assert_eq!(
        Settings::of_mesh_config(&Value::Null),
        Ok(Settings::default())
    );
    let error = Settings::of_mesh_config(&json!({"rootNamespace": 7})).unwrap_err();
    assert_eq!(error.path, "rootNamespace");
}
