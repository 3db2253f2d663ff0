//! Somebody else's definition of our kinds: the condition list is one whole, generations may be text, and whatever
//! the schema does not know is kept.

use outrigger::analysis::{Snapshot, conditions};
use outrigger::api::kind::Kind;
use outrigger::world::{ObjectKey, World};
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use serde_json::{Value, json};

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: virtualservices.networking.istio.io}
spec:
  group: networking.istio.io
  names: {kind: VirtualService, listKind: VirtualServiceList, plural: virtualservices, singular: virtualservice, shortNames: [vs]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties:
              observedGeneration: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
              conditions:
                type: array
                items:
                  type: object
                  properties:
                    type: {type: string}
                    status: {type: string}
                    reason: {type: string}
                    message: {type: string}
                    lastProbeTime: {type: string, format: date-time}
                    lastTransitionTime: {type: string, format: date-time}
                    observedGeneration: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
              validationMessages:
                type: array
                items: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

const OBJECTS: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: new}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}], fancy: {knob: 11}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec: {hosts: not-a-list}
";

fn get(cluster: &ControlPlane, name: &str) -> Value {
    let text = cluster
        .kubectl(&["get", &format!("virtualservice/{name}"), "-o", "json"])
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

fn patch_status(cluster: &ControlPlane, name: &str, patch: &Value) {
    let (object, patch) = (format!("virtualservice/{name}"), patch.to_string());
    cluster
        .kubectl(&[
            "patch",
            &object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .unwrap();
}

#[test]
fn status_is_written_under_a_foreign_definition_and_loses_nothing_of_others() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.apply(DEFINITION).unwrap();
    cluster.wait_for_definitions().unwrap();
    cluster.apply(OBJECTS).unwrap();
    let theirs = json!({"status": {
        "observedGeneration": "1", "custom": true,
        "conditions": [{"type": "Theirs", "status": "True", "observedGeneration": "1"}],
    }});
    patch_status(&cluster, "new", &theirs);

    let mut world = World::default();
    for name in ["new", "broken"] {
        world.apply(&get(&cluster, name)).unwrap();
    }
    let snapshot = Snapshot::new(world);
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    for name in ["new", "broken"] {
        let live = get(&cluster, name);
        let messages = snapshot.messages(&ObjectKey::new(Kind::VirtualService, "default", name));
        let patch = conditions::status_patch(live.get("status"), 1, messages, &[], now).unwrap();
        patch_status(&cluster, name, &patch);
        let after = get(&cluster, name);
        assert_eq!(after["spec"], live["spec"], "{name}");
        assert_eq!(
            conditions::status_patch(after.get("status"), 1, messages, &[], now),
            None,
            "{name}"
        );
    }

    let new = get(&cluster, "new");
    assert_eq!(new["spec"]["http"][0]["fancy"], json!({"knob": 11}));
    assert_eq!(new["status"]["custom"], true);
    let kept = new["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|condition| condition["type"] == "Theirs");
    assert!(kept, "{}", new["status"]);

    let broken = get(&cluster, "broken");
    let conditions = broken["status"]["conditions"].as_array().unwrap();
    let accepted = conditions
        .iter()
        .find(|condition| condition["type"] == "Accepted")
        .unwrap();
    assert_eq!(accepted["status"], "False");
    assert!(
        accepted["message"].as_str().unwrap().contains("spec.hosts"),
        "{accepted}"
    );
}
