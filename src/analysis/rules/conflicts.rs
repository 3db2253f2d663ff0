//! Objects that speak about the same thing.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::VirtualServiceSpec;
use crate::model::{Routes, Visibility, applies_to_mesh};

use super::{Inspected, Report};

/// No two VirtualServices route one host for the same sidecars: only the oldest would be used (by creation time,
/// then namespace and name). Istio: IST0109, which both get; only the one that loses is `Conflicted`.
pub(super) fn mesh_hosts_are_routed_once(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    if !applies_to_mesh(&object.spec.gateways) {
        return;
    }
    for (i, written) in object.spec.hosts.iter().enumerate() {
        if object.spec.hosts[..i].contains(written) {
            continue;
        }
        let all = view.routes(&view.resolve(written, &object.key.namespace));
        let Some(own) = all.iter().position(|routes| routes.source == *object.key) else {
            continue;
        };
        let rival = |routes: &&std::sync::Arc<Routes>| {
            routes.source != *object.key
                && routes.for_mesh
                && share_scope(&routes.visibility, &all[own].visibility)
        };
        let path = format!("spec.hosts[{i}]");
        if let Some(winner) = all[..own].iter().find(rival) {
            let text = format!(
                "sidecars route host \"{written}\" as {} says, which comes first (the oldest does, then by namespace and name); \
                 this object's routes for it are not used",
                winner.source
            );
            report.say(&say::ROUTES_CONFLICT, path, text);
        } else if let Some(loser) = all[own..].iter().find(rival) {
            let text = format!(
                "{} routes host \"{written}\" for sidecars too; this object comes first and is used",
                loser.source
            );
            report.say(&say::ROUTES_CONTESTED, path, text);
        }
    }
}

/// Whether two objects are exported to the same place. One that is exported to a namespace by name and one that is
/// exported to all do not conflict: the former is meant to take precedence there.
fn share_scope(a: &Visibility, b: &Visibility) -> bool {
    match (a, b) {
        (Visibility::Everywhere, Visibility::Everywhere) => true,
        (Visibility::Namespaces(_), Visibility::Namespaces(_)) => a.overlaps(b),
        _ => false,
    }
}
