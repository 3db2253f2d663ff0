//! Messages → status.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{REVIEWS, reviews_route, world};
use crate::analysis::Snapshot;
use crate::analysis::conditions::{Condition, status_patch};

fn now(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// What the API server stores after a merge patch.
fn merged(live: &Value, patch: &Value) -> Value {
    let mut status = live.clone();
    json_patch::merge(&mut status, &patch["status"]);
    status
}

#[test]
fn unknown_subset_is_not_ready_and_not_stalled_because_the_subset_may_come() {
    let snapshot = Snapshot::new(world(REVIEWS));
    let patch = status_patch(None, 3, snapshot.messages(&reviews_route()), &[], now(0));
    insta::assert_json_snapshot!(patch);
}

#[test]
fn status_that_is_right_is_not_written_again() {
    let snapshot = Snapshot::new(world(REVIEWS));
    let messages = snapshot.messages(&reviews_route());
    let live = merged(
        &Value::Null,
        &status_patch(None, 3, messages, &[], now(0)).unwrap(),
    );
    assert_eq!(status_patch(Some(&live), 3, messages, &[], now(60)), None);
}

#[test]
fn cured_object_is_ready_and_nothing_is_left_of_the_messages() {
    let snapshot = Snapshot::new(world(REVIEWS));
    let live = merged(
        &Value::Null,
        &status_patch(None, 3, snapshot.messages(&reviews_route()), &[], now(0)).unwrap(),
    );
    let cured = merged(
        &live,
        &status_patch(Some(&live), 4, &[], &[], now(60)).unwrap(),
    );
    insta::assert_json_snapshot!(cured);
    assert_eq!(status_patch(Some(&cured), 4, &[], &[], now(120)), None);
}

#[test]
fn conditions_of_others_stay_and_malformed_ones_of_ours_are_replaced() {
    let foreign = json!({"type": "example.com/Synced", "status": "True", "anything": [1]});
    let live = json!({
        "conditions": [foreign, {"type": "Ready"}, {"type": "Stalled", "status": "True"}, "nonsense"],
        "observedGeneration": "2",
        "addresses": [{"value": "240.0.0.1"}],
    });
    let written = merged(
        &live,
        &status_patch(Some(&live), 2, &[], &[], now(0)).unwrap(),
    );
    assert_eq!(written["conditions"][0], foreign);
    assert_eq!(written["observedGeneration"], 2);
    assert_eq!(written["addresses"], live["addresses"]);
    assert_eq!(
        Condition::read(Some(&written), "Ready").unwrap().status,
        "True"
    );
    assert_eq!(Condition::read(Some(&written), "Stalled"), None);
    assert_eq!(status_patch(Some(&written), 2, &[], &[], now(1)), None);
}
