//! Conditions that others wrote.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::world::{ObjectKey, StoredStatus, on_store};

use super::Report;

/// No condition in the status says that something is wrong. Istio: IST0171.
pub(super) fn conditions_are_good(view: &View<'_>, key: &ObjectKey, report: &mut Report<'_>) {
    if !matches!(
        key.kind,
        Kind::Service
            | Kind::ServiceEntry
            | Kind::WorkloadEntry
            | Kind::AuthorizationPolicy
            | Kind::KubernetesGateway
            | Kind::HttpRoute
            | Kind::GrpcRoute
    ) {
        return;
    }
    let status = on_store!(key.kind, Spec => view.object::<Spec>(key).and_then(|object| object.status.as_ref()));
    for condition in status.map_or(&[][..], StoredStatus::negative) {
        let text = format!(
            "condition {} is {} ({}): {}",
            condition.kind, condition.status, condition.reason, condition.message
        );
        report.say(&say::NEGATIVE_CONDITION, condition.path.clone(), text);
    }
}
