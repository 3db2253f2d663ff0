//! Behaviour of the whole of analysis: objects in, messages and status out.

mod bounded;
mod churn;
mod faults;
mod golden;
mod scale;
mod status;

use serde_json::{Value, json};

use super::Snapshot;
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

/// A World of objects written as YAML documents.
pub(super) fn world(yaml: &str) -> World {
    let mut world = World::default();
    for object in objects(yaml) {
        world.apply(&object).unwrap();
    }
    world
}

pub(super) fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(yaml).unwrap()
}

/// Everything that is said, a line each.
pub(super) fn said(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .all_messages()
        .iter()
        .map(|message| message.to_string())
        .collect()
}

pub(super) fn reviews_route() -> ObjectKey {
    ObjectKey::new(Kind::VirtualService, "default", "reviews")
}

pub(super) const REVIEWS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default, generation: 3}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v4}}]}]}
";

#[test]
fn route_to_unknown_subset_is_reported_with_the_known_ones() {
    let snapshot = Snapshot::new(world(REVIEWS));
    assert_eq!(
        said(&snapshot),
        [
            "Error [IST0101] (VirtualService default/reviews) spec.http[0].route[0].destination.subset: \
             subset \"v4\" is not defined; DestinationRule default/reviews has v1, v2"
        ]
    );
}

#[test]
fn adding_the_subset_cures_the_route_and_only_the_route_is_concerned() {
    let snapshot = Snapshot::new(world(REVIEWS));
    let mut world = snapshot.world().clone();
    let mut rule = objects(REVIEWS).remove(1);
    rule["spec"]["subsets"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "v4"}));
    let change = world.apply(&rule).unwrap().unwrap();
    let (next, concerned) = snapshot.update(world, std::slice::from_ref(&change));
    let bad = |text: &String| !text.starts_with("Info");
    assert!(!said(&next).iter().any(bad), "{:?}", said(&next));
    assert_eq!(concerned, [reviews_route(), change.key]);
    assert_eq!(
        said(&snapshot).len(),
        1,
        "the snapshot before stays as it was"
    );
}
