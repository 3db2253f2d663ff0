//! What the validators of Istio's policies have in common.

use crate::api::metadata::Metadata;
use crate::api::networking::PolicyTargetReference;
use crate::api::parse;
use crate::api::policies::{Policy, Target};

use super::fields;
use super::report::Field;

/// The annotation by which a policy is tried without effect.
const DRY_RUN: &str = "istio.io/dry-run";

/// Kinds that policies can be attached to, with their groups.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// To whom a policy applies: workloads by their labels, or objects by their names, or all.
pub fn target(at: &Field<'_>, policy: &impl Policy) {
    let Target {
        selector,
        target_ref,
        target_refs,
    } = policy.target();
    let members = [
        ("selector", selector.is_some()),
        ("targetRef", target_ref.is_some()),
        ("targetRefs", !target_refs.is_empty()),
    ];
    fields::only_one(at, &members);
    if let Some(selector) = selector {
        let at = at.member("selector");
        fields::selector(&at.member("matchLabels"), &selector.match_labels);
    }
    if let Some(reference) = target_ref {
        target_reference(&at.member("targetRef"), reference);
    }
    at.each("targetRefs", target_refs, target_reference);
}

fn target_reference(at: &Field<'_>, reference: &PolicyTargetReference) {
    fields::target_reference(at, reference);
    let group = match reference.group.as_str() {
        "core" => "",
        group => group,
    };
    let is_meant = |(of, kind): &(&str, &str)| *of == group && *kind == reference.kind;
    if !reference.kind.is_empty() && !TARGETS.iter().any(is_meant) {
        at.member("kind").invalid(format!(
            "a policy cannot be attached to {} of group {group:?}, but to a Service, to a ServiceEntry \
             (networking.istio.io), to a Gateway or GatewayClass (gateway.networking.k8s.io)",
            reference.kind
        ));
    }
}

/// The annotation `istio.io/dry-run` is `true` or `false`, on a policy that can be tried.
pub fn dry_run(meta: &Metadata, at: &Field<'_>, can_be_tried: bool) {
    let Some(value) = meta.annotations.get(DRY_RUN) else {
        return;
    };
    let metadata = at.metadata();
    let annotations = metadata.member("annotations");
    let at = annotations.key(DRY_RUN);
    if !can_be_tried {
        at.invalid("has an effect on AuthorizationPolicies with the action ALLOW or DENY only");
    } else if parse::go_bool(value).is_none() {
        at.invalid(format!("{value:?} is neither true nor false"));
    }
}
