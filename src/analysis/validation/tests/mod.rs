//! What each kind's rules say, by path and text. One faulty object a row.

mod destination_rule;
mod gateway;
mod policies;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload;

use serde_json::{Value, json};

use super::validate;
use crate::analysis::Level;
use crate::api::kind::Kind;

fn object(kind: &str, spec: Value) -> Value {
    let version = Kind::with_status()
        .find(|known| known.as_str() == kind)
        .unwrap()
        .api_version();
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "shop"}, "spec": spec})
}

/// `path: text` of everything that is said, with the code where it is not IST0106.
fn said(kind: &str, spec: Value) -> Vec<String> {
    let messages = validate(&object(kind, spec));
    let line = |message: &crate::analysis::Message| match message.level {
        Level::Error => message.line(),
        _ => format!("{} {}", message.code, message.line()),
    };
    messages.iter().map(line).collect()
}

/// Each row: a spec, and the beginning of the one thing that is said about it.
fn each_says_one_thing(kind: &str, rows: impl IntoIterator<Item = (Value, &'static str)>) {
    for (spec, expected) in rows {
        let said = said(kind, spec.clone());
        let fits = match said.as_slice() {
            [] => expected.is_empty(),
            [only] => !expected.is_empty() && only.starts_with(expected),
            _ => false,
        };
        assert!(fits, "{spec}\nexpected: {expected}\nsaid: {said:#?}");
    }
}

#[test]
fn all_problems_of_an_object_are_said_at_once() {
    let spec = json!({"hosts": ["a b"], "gateways": ["/x"], "http": [{"timeout": "1us", "retries": {"attempts": -1}}]});
    let said = said("VirtualService", spec);
    let paths: Vec<&str> = said
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.hosts[0]",
            "spec.gateways[0]",
            "spec.http[0]",
            "spec.http[0].retries.attempts",
            "spec.http[0].timeout"
        ]
    );
}

#[test]
fn object_that_does_not_decode_is_invalid_at_the_field() {
    let said = said("VirtualService", json!({"http": [{"timeout": "soon"}]}));
    assert_eq!(
        said,
        [
            "spec.http[0].timeout: \"soon\" is not a duration; it needs numbers with units, such as \"1.5s\", \"100ms\" or \"1m30s\""
        ]
    );
}

#[test]
fn kinds_of_others_are_not_validated() {
    assert!(validate(&json!({"apiVersion": "v1", "kind": "Service", "spec": 7})).is_empty());
    assert!(validate(&json!(null)).is_empty());
    assert!(validate(&json!([1])).is_empty());
}

#[test]
fn export_to_names_namespaces_once() {
    let exported = |list: Value| json!({"host": "reviews", "exportTo": list});
    each_says_one_thing(
        "DestinationRule",
        [
            (exported(json!([".", "other"])), ""),
            (exported(json!(["*"])), ""),
            (
                exported(json!([".", "shop"])),
                "spec.exportTo[1]: \"shop\" is there twice",
            ),
            (
                exported(json!(["*", "other"])),
                "spec.exportTo: \"*\" cannot stand beside",
            ),
            (
                exported(json!(["~"])),
                "spec.exportTo[0]: only a ServiceEntry",
            ),
            (
                exported(json!(["a_b"])),
                "spec.exportTo[0]: \"a_b\" is not a DNS name",
            ),
            (
                json!({"host": "a", "workloadSelector": {"matchLabels": {"a": "b"}}, "exportTo": ["other"]}),
                "spec.exportTo: a DestinationRule with a workloadSelector",
            ),
        ],
    );
}
