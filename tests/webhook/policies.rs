//! A real API server asks about Istio's policies.

use super::validation::{apply, asked_after, kubectl, wait_until_refused};

/// A policy of each kind.
const POLICIES: [Policy; 4] = [
    Policy {
        kind: "AuthorizationPolicy",
        group: "security.istio.io",
        invalid: "spec: {rules: [{from: [{source: {ipBlocks: [10.0.0.0/99]}}]}]}",
        valid: "spec: {rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]}",
        refused: "spec.rules[0].from[0].source.ipBlocks[0]: ",
    },
    Policy {
        kind: "RequestAuthentication",
        group: "security.istio.io",
        invalid: "spec: {jwtRules: [{issuer: shop, jwks: nothing}]}",
        valid: "spec: {jwtRules: [{issuer: shop, jwksUri: 'https://shop.example.com/jwks'}]}",
        refused: "spec.jwtRules[0].jwks: ",
    },
    Policy {
        kind: "PeerAuthentication",
        group: "security.istio.io",
        invalid: "spec: {portLevelMtls: {'80': {mode: STRICT}}}",
        valid: "spec: {selector: {matchLabels: {app: shop}}, portLevelMtls: {'80': {mode: STRICT}}}",
        refused: "spec.portLevelMtls: ",
    },
    Policy {
        kind: "Telemetry",
        group: "telemetry.istio.io",
        invalid: "spec: {accessLogging: [{filter: {expression: 'response.code >='}}]}",
        valid: "spec: {accessLogging: [{filter: {expression: 'response.code >= 400'}}]}",
        refused: "spec.accessLogging[0].filter.expression: ",
    },
];

struct Policy {
    kind: &'static str,
    group: &'static str,
    /// A spec that is not valid, and one that is.
    invalid: &'static str,
    valid: &'static str,
    /// What is said of the former: its field.
    refused: &'static str,
}

impl Policy {
    fn manifest(&self, name: &str, spec: &str) -> String {
        let Policy { kind, group, .. } = self;
        format!(
            "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\n{spec}\n"
        )
    }

    /// As Istio's, but for the schema: what it would refuse by itself is left to the webhook.
    fn definition(&self) -> String {
        let Policy { kind, group, .. } = self;
        let singular = kind.to_lowercase();
        let plural = match singular.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{singular}s"),
        };
        format!(
            "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  names: {{kind: {kind}, listKind: {kind}List, plural: {plural}, singular: {singular}}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
"
        )
    }
}

#[test]
fn an_invalid_policy_is_refused_at_its_field_and_an_old_one_may_still_be_labelled_and_cured() {
    let definitions = POLICIES.iter().map(Policy::definition);
    let old = POLICIES
        .iter()
        .map(|policy| policy.manifest("old", policy.invalid));
    let (cluster, _runtime, _server) = asked_after(&definitions.chain(old).collect::<Vec<_>>());
    for policy in &POLICIES {
        let refusal = wait_until_refused(&cluster, &policy.manifest("new", policy.invalid));
        assert!(refusal.contains(policy.refused), "{refusal}");

        let (applied, said) = apply(&cluster, &policy.manifest("new", policy.valid), &[]);
        assert!(applied, "{said}");
        let (turned, said) = apply(&cluster, &policy.manifest("new", policy.invalid), &[]);
        assert!(!turned && said.contains(policy.refused), "{said}");

        let name = format!("{}.{}/old", policy.kind, policy.group);
        let (labelled, said) = kubectl(&cluster, &["label", &name, "a=b"], "");
        assert!(labelled, "{said}");
        let (cured, said) = apply(&cluster, &policy.manifest("old", policy.valid), &[]);
        assert!(cured, "{said}");
        let (relapsed, said) = apply(&cluster, &policy.manifest("old", policy.invalid), &[]);
        assert!(!relapsed && said.contains(policy.refused), "{said}");
    }
}
