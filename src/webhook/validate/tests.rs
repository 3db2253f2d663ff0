//! What is refused, what is warned of, what passes.

use super::*;
use crate::world::World;

fn review(request: Value) -> Review {
    let body =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let headers = [(
        "content-type".parse().unwrap(),
        "application/json".parse().unwrap(),
    )]
    .into_iter()
    .collect();
    Review::read(&headers, body.to_string().as_bytes()).unwrap()
}

fn asked(operation: &str, kind: &str, object: Value, old: Value) -> Review {
    review(json!({
        "uid": "1", "operation": operation, "namespace": "shop", "name": "reviews", "object": object, "oldObject": old,
        "kind": {"group": "networking.istio.io", "version": "v1", "kind": kind},
    }))
}

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "reviews", "namespace": "shop"}, "spec": spec})
}

fn to(subset: &str) -> Value {
    object(
        "VirtualService",
        json!({"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews", "subset": subset}}]}]}),
    )
}

fn rule() -> Value {
    object(
        "DestinationRule",
        json!({"host": "reviews", "subsets": [{"name": "v1"}]}),
    )
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let mut world = World::default();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews", "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 9080}]},
    });
    for object in objects.iter().chain([&service]) {
        world.apply(object).unwrap();
    }
    Snapshot::new(world)
}

fn decision(review: &Review, snapshot: &Snapshot) -> Decision {
    decide(review, kind_of(review).unwrap(), Some(snapshot))
}

#[test]
fn invalid_object_is_refused_with_all_its_problems() {
    let spec =
        json!({"hosts": ["reviews"], "http": [{"timeout": "0s", "retries": {"attempts": -1}}]});
    let review = asked(
        "CREATE",
        "VirtualService",
        object("VirtualService", spec),
        json!(null),
    );
    let refusal = decision(&review, &snapshot(&[])).refusal.unwrap();
    for path in [
        "spec.http[0]: one of",
        "spec.http[0].timeout: 0s",
        "spec.http[0].retries.attempts: -1",
    ] {
        assert!(refusal.contains(path), "{refusal}");
    }
}

#[test]
fn invalid_policy_is_refused_and_a_questionable_one_warned_of() {
    let decided = |action: &str, rule: Value| {
        let object = json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "reviews", "namespace": "shop"}, "spec": {"action": action, "rules": [rule]},
        });
        let review = review(json!({
            "uid": "1", "operation": "CREATE", "namespace": "shop", "name": "reviews", "object": object,
            "kind": {"group": "security.istio.io", "version": "v1beta1", "kind": "AuthorizationPolicy"},
        }));
        decision(&review, &snapshot(&[]))
    };
    let ports = decided("ALLOW", json!({"to": [{"operation": {"ports": ["http"]}}]}));
    assert_eq!(
        ports.refusal.unwrap(),
        "spec.rules[0].to[0].operation.ports[0]: \"http\" is not a port number"
    );
    let methods = decided("DENY", json!({"to": [{"operation": {"methods": ["PUT"]}}]}));
    assert_eq!(methods.refusal, None);
    let mut warnings = methods.warnings.iter();
    assert!(
        warnings.any(|line| line.contains("looks at HTTP alone")),
        "{:?}",
        methods.warnings
    );
}

#[test]
fn reference_to_what_is_not_there_is_a_warning() {
    let review = asked("CREATE", "VirtualService", to("v4"), json!(null));
    let decision = decision(&review, &snapshot(&[rule()]));
    assert_eq!(decision.refusal, None);
    let [warning] = decision.warnings.as_slice() else {
        panic!("{decision:?}")
    };
    assert!(
        warning.starts_with("[IST0101] spec.http[0].route[0].destination.subset: "),
        "{warning}"
    );
    assert!(warning.contains("v1"), "{warning}");
}

#[test]
fn nothing_is_said_about_references_while_objects_are_unknown() {
    let review = asked("CREATE", "VirtualService", to("v4"), json!(null));
    assert_eq!(
        decide(&review, Kind::VirtualService, None),
        Decision {
            refusal: None,
            warnings: Vec::new()
        }
    );
}

#[test]
fn update_is_refused_only_for_errors_that_were_not_there_before() {
    let faulty = json!({"timeout": "0s", "route": [{"destination": {"host": "reviews"}}]});
    let sound = json!({"match": [{"uri": {"prefix": "/a"}}], "route": [{"destination": {"host": "reviews"}}]});
    let with = |routes: Value| {
        object(
            "VirtualService",
            json!({"hosts": ["reviews"], "http": routes}),
        )
    };
    let snapshot = snapshot(&[]);
    let old = with(json!([faulty]));
    let moved = asked(
        "UPDATE",
        "VirtualService",
        with(json!([sound, faulty])),
        old.clone(),
    );
    let tolerated = decision(&moved, &snapshot);
    assert_eq!(tolerated.refusal, None);
    assert_eq!(
        tolerated.warnings,
        ["[IST0106] spec.http[1].timeout: 0s is too short; the least is 1ms"]
    );
    let another = asked(
        "UPDATE",
        "VirtualService",
        with(json!([faulty, faulty])),
        old,
    );
    assert!(
        decision(&another, &snapshot)
            .refusal
            .unwrap()
            .contains("spec.http[1].timeout")
    );
}

#[test]
fn update_of_metadata_alone_and_of_what_is_being_deleted_passes() {
    let faulty = object("VirtualService", json!({"hosts": []}));
    let mut labelled = faulty.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let passed = Decision {
        refusal: None,
        warnings: Vec::new(),
    };
    let snapshot = snapshot(&[]);
    assert_eq!(
        decision(
            &asked("UPDATE", "VirtualService", labelled, faulty.clone()),
            &snapshot
        ),
        passed
    );
    let mut leaving = object("VirtualService", json!({"hosts": ["*"]}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        decision(
            &asked("UPDATE", "VirtualService", leaving, faulty),
            &snapshot
        ),
        passed
    );
}

#[test]
fn deleting_a_rule_whose_subsets_are_routed_to_warns() {
    let snapshot = snapshot(&[rule(), to("v1")]);
    let decision = decision(
        &asked("DELETE", "DestinationRule", json!(null), rule()),
        &snapshot,
    );
    assert_eq!(decision.refusal, None);
    let [warning] = decision.warnings.as_slice() else {
        panic!("{decision:?}")
    };
    assert!(
        warning.starts_with("[IST0101] VirtualService shop/reviews: spec.http[0]"),
        "{warning}"
    );
}

#[test]
fn remarks_on_other_objects_are_left_to_them() {
    let named = |name: &str, mut object: Value| {
        object["metadata"]["name"] = json!(name);
        object
    };
    let gateway = json!({"selector": {"istio": "ingressgateway"}, "servers": [
        {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
    ]});
    let routes = |name: &str, gateways: Value| {
        let spec = json!({"hosts": ["shop.example.com"], "gateways": gateways, "http": [
            {"match": [{"uri": {"prefix": format!("/{name}")}}], "route": [{"destination": {"host": "reviews"}}]},
        ]});
        named(name, object("VirtualService", spec))
    };
    let before = snapshot(&[
        named("edge", object("Gateway", gateway.clone())),
        named("inner", object("Gateway", gateway)),
        routes("a", json!(["edge"])),
        routes("z", json!(["inner"])),
    ]);
    let applied = routes("reviews", json!(["edge", "inner"]));
    let mut world = before.world().clone();
    world.apply(&applied).unwrap();
    let after = Snapshot::new(world);
    let preceded = |name: &str| {
        let key = ObjectKey::new(Kind::VirtualService, "shop", name);
        let [message] = after.messages(&key) else {
            panic!("{:?}", after.messages(&key))
        };
        assert_eq!((message.code, message.level), ("ORG0023", Level::Info));
        message.line()
    };
    preceded("z");
    let own = preceded("reviews");
    let review = asked("CREATE", "VirtualService", applied, json!(null));
    let warnings = decision(&review, &before).warnings;
    assert_eq!(warnings, [format!("[ORG0023] {own}")]);
}

#[test]
fn status_and_kinds_of_others_are_not_looked_at() {
    let kind = json!({"group": "networking.istio.io", "version": "v1", "kind": "VirtualService"});
    assert_eq!(
        kind_of(&review(json!({"kind": kind, "subResource": "status"}))),
        None
    );
    assert_eq!(
        kind_of(&review(
            json!({"kind": {"group": "gateway.networking.k8s.io", "version": "v1", "kind": "Gateway"}})
        )),
        None
    );
    assert_eq!(kind_of(&review(json!({}))), None);
}

#[test]
fn an_object_that_is_nested_too_deeply_is_judged_by_the_rest_of_it() {
    let deep = (0..200).fold(json!("bottom"), |inner, _| json!({ "a": inner }));
    let patch = |apply_to: &str| {
        let patch = json!({"operation": "MERGE", "value": deep});
        let review = review(json!({
            "uid": "1", "operation": "CREATE", "namespace": "shop", "name": "deep",
            "kind": {"group": "networking.istio.io", "version": "v1alpha3", "kind": "EnvoyFilter"},
            "object": {
                "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": {"name": "deep", "namespace": "shop"},
                "spec": {"configPatches": [{"applyTo": apply_to, "patch": patch}]},
            },
        }));
        decision(&review, &snapshot(&[])).refusal
    };
    assert_eq!(patch("CLUSTER"), None);
    assert!(
        patch("NOWHERE")
            .unwrap()
            .contains("spec.configPatches[0].applyTo")
    );
}

#[test]
fn objects_of_any_shape_are_answered() {
    let snapshot = snapshot(&[]);
    for object in [
        json!(7),
        json!([]),
        json!({}),
        json!({"metadata": 7}),
        json!({"spec": "x"}),
        json!({"metadata": {"generateName": "a-"}}),
    ] {
        for operation in ["CREATE", "UPDATE", "DELETE", "CONNECT", ""] {
            let _ = decision(
                &asked(operation, "VirtualService", object.clone(), object.clone()),
                &snapshot,
            );
        }
    }
}

#[test]
fn indices_of_lists_are_left_out_and_keys_of_maps_kept() {
    assert_eq!(
        without_indices("spec.http[10].match[2].headers[x-a]"),
        "spec.http[].match[].headers[x-a]"
    );
    assert_eq!(without_indices("spec.hosts[0]"), "spec.hosts[]");
    assert_eq!(without_indices(""), "");
}
