//! What a merge does, by examples and by what must hold for every patch.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn merged(mut target: Value, patch: &Value) -> Value {
    strategic_merge(
        target.as_object_mut().unwrap(),
        patch.as_object().unwrap().clone(),
    );
    target
}

#[test]
fn named_items_merge_and_unknown_fields_survive() {
    let target = json!({ "containers": [{ "name": "a", "image": "x", "future": 1,
        "env": [{ "name": "K", "value": "old" }], "args": ["one"] }] });
    let patch = json!({ "containers": [
        { "name": "a", "env": [{ "name": "K", "value": "new" }, { "name": "L" }], "args": ["two"] },
        { "name": "b" },
    ]});
    assert_eq!(
        merged(target, &patch),
        json!({ "containers": [
            { "name": "a", "image": "x", "future": 1,
              "env": [{ "name": "K", "value": "new" }, { "name": "L" }], "args": ["two"] },
            { "name": "b" },
        ]})
    );
}

#[test]
fn null_and_directives_take_away() {
    let target = json!({ "a": 1, "b": { "c": 1 }, "volumes": [{ "name": "v" }, { "name": "w" }], "gone": {} });
    let patch = json!({ "a": null, "b": { "$patch": "replace", "d": { "e": 2, "$patch": "merge" } },
        "volumes": [{ "name": "v", "$patch": "delete" }, { "name": "absent", "$patch": "delete" }],
        "gone": { "$patch": "delete" } });
    assert_eq!(
        merged(target, &patch),
        json!({ "b": { "d": { "e": 2 } }, "volumes": [{ "name": "w" }] })
    );
}

#[test]
fn a_whole_list_is_replaced_by_the_directive_as_an_item() {
    let target = json!({ "env": [{ "name": "A", "value": "1" }, { "name": "B" }] });
    let patch = json!({ "env": [{ "$patch": "replace" }, { "name": "A" }] });
    assert_eq!(merged(target, &patch), json!({ "env": [{ "name": "A" }] }));
}

#[test]
fn lists_of_scalars_are_sets_or_one_value() {
    let target = json!({ "finalizers": ["a", "b"], "args": ["a", "b"] });
    let patch = json!({ "finalizers": ["b", "c"], "args": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"] });
    assert_eq!(
        merged(target, &patch),
        json!({ "finalizers": ["b", "c"], "args": ["c"] })
    );
}

#[test]
fn the_order_of_items_can_be_set() {
    let named =
        |names: &[&str]| -> Value { names.iter().map(|name| json!({ "name": name })).collect() };
    let target = json!({ "initContainers": named(&["a", "other", "b"]) });
    let patch = json!({ "initContainers": [{ "name": "c" }], "$setElementOrder/initContainers": named(&["c", "b", "a", "absent"]) });
    assert_eq!(
        merged(target, &patch),
        json!({ "initContainers": named(&["c", "other", "b", "a"]) })
    );
    let scalars = json!({ "finalizers": ["x", "y", "z"] });
    let patch = json!({ "$setElementOrder/finalizers": ["z", "x"] });
    assert_eq!(
        merged(scalars, &patch),
        json!({ "finalizers": ["z", "y", "x"] })
    );
}

#[test]
fn an_object_keeps_only_the_fields_it_is_told_to() {
    let target = json!({ "volumes": [{ "name": "v", "emptyDir": {}, "x": 1 }] });
    let patch = json!({ "volumes": [{ "name": "v", "$retainKeys": ["name", "secret"], "secret": { "secretName": "s" } }] });
    assert_eq!(
        merged(target, &patch),
        json!({ "volumes": [{ "name": "v", "secret": { "secretName": "s" } }] })
    );
}

#[test]
fn ports_and_mounts_merge_by_their_own_keys() {
    let target = json!({ "ports": [{ "containerPort": 80, "name": "a" }], "volumeMounts": [{ "mountPath": "/m", "name": "v" }] });
    let patch = json!({ "ports": [{ "containerPort": 80, "name": "b" }], "volumeMounts": [{ "mountPath": "/m", "readOnly": true }] });
    assert_eq!(
        merged(target, &patch),
        json!({ "ports": [{ "containerPort": 80, "name": "b" }],
                "volumeMounts": [{ "mountPath": "/m", "name": "v", "readOnly": true }] })
    );
}

#[test]
fn the_mesh_s_pull_secrets_come_first() {
    let target = json!({ "imagePullSecrets": [{ "name": "user" }] });
    let patch = json!({ "imagePullSecrets": [{ "name": "m1" }, { "name": "m2" }] });
    assert_eq!(
        merged(target, &patch),
        json!({ "imagePullSecrets": [{ "name": "m1" }, { "name": "m2" }, { "name": "user" }] })
    );
}

#[test]
fn what_a_merge_would_pass_over_is_a_problem_with_its_path() {
    let problem_of = |patch: Value| problem(patch.as_object().unwrap()).unwrap_or_default();
    let of_item =
        |item: Value| problem_of(json!({ "spec": { "containers": [{ "name": "a" }, item] } }));
    assert_eq!(of_item(json!({ "name": "b" })), "");
    assert_eq!(
        of_item(json!({ "image": "x" })),
        "spec.containers[1].name: is required, it tells the items apart"
    );
    assert_eq!(of_item(json!("x")), "spec.containers[1]: must be a map");
    assert_eq!(
        of_item(json!({ "name": "b", "$patch": "remove" })),
        "spec.containers[1].$patch: \"remove\" must be replace, delete or merge"
    );
    assert_eq!(
        problem_of(json!({ "$unknown": 1 })),
        "$unknown: is no directive of strategic merge patches"
    );
}

/// Pods and patches in the small: few names, so that they meet.
fn pod_like(directives: bool) -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let scalar = prop_oneof![
        Just(Value::Null),
        (0..3_u8).prop_map(|number| json!(number)),
        name.clone().prop_map(|text| json!(text)),
    ];
    let word = prop::sample::select(vec!["replace", "delete", "merge"]);
    let directive = prop::option::weighted(0.2, word)
        .prop_map(move |word| word.filter(|_| directives))
        .boxed();
    let leaf = scalar.boxed();
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let field =
            prop::sample::select(vec!["env", "containers", "finalizers", "args", "map", "x"]);
        let object = (
            prop::collection::vec((field, inner.clone()), 0..4),
            prop::option::of(name.clone()),
            directive.clone(),
        )
            .prop_map(|(fields, name, directive)| {
                let mut object: Map<String, Value> = fields
                    .into_iter()
                    .map(|(field, value)| (field.to_owned(), value))
                    .collect();
                object.extend(name.map(|name| ("name".to_owned(), json!(name))));
                object.extend(directive.map(|word| (PATCH.to_owned(), json!(word))));
                Value::Object(object)
            });
        prop_oneof![
            object,
            prop::collection::vec(inner, 0..4).prop_map(Value::Array)
        ]
    })
}

fn has_null_field(value: &Value) -> bool {
    match value {
        Value::Object(object) => object
            .values()
            .any(|value| value.is_null() || has_null_field(value)),
        Value::Array(items) => items.iter().any(has_null_field),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_directive_and_no_null_of_a_patch_reaches_the_result(patch in pod_like(true)) {
        let patch = json!({ "spec": patch });
        let result = merged(json!({}), &patch);
        prop_assert!(!has_directives(&result), "{result}");
        prop_assert!(!has_null_field(&result), "{result}");
    }

    #[test]
    fn merging_twice_is_merging_once(target in pod_like(false), patch in pod_like(true)) {
        let patch = json!({ "spec": patch });
        let once = merged(json!({ "spec": target }), &patch);
        prop_assert_eq!(merged(once.clone(), &patch), once);
    }

    #[test]
    fn an_empty_patch_changes_nothing(target in pod_like(false)) {
        let target = json!({ "spec": target });
        prop_assert_eq!(merged(target.clone(), &json!({})), target);
    }

    #[test]
    fn fields_that_a_patch_does_not_name_stay(target in pod_like(false), patch in pod_like(true)) {
        let target = json!({ "kept": target.clone(), "spec": target });
        let result = merged(target.clone(), &json!({ "spec": patch }));
        prop_assert_eq!(&result["kept"], &target["kept"]);
    }
}
