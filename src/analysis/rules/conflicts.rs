//! Objects that speak about the same thing.

use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::api::networking::VirtualServiceSpec;
use crate::api::text::enumeration;
use crate::model::{Routes, Visibility, applies_to_mesh};
use crate::world::ObjectKey;

use super::{Inspected, Report};

/// No two VirtualServices route one host for the same sidecars: only the oldest would be used (by creation time,
/// then namespace and name). Istio: IST0109, which all of them get; only one that loses is `Conflicted`.
///
/// Where one is exported to single namespaces and the other to all, the former is meant to take precedence there: that
/// is said (also where a wildcard makes the hosts overlap, as Istio says it), but is no conflict.
pub(super) fn mesh_hosts_are_routed_once(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    if !applies_to_mesh(&object.spec.gateways) {
        return;
    }
    let mut found: Vec<Found<'_>> = Vec::new();
    for (i, written) in object.spec.hosts.iter().enumerate() {
        let host = view.resolve(written, &object.key.namespace);
        let all = view.routes_around(&host);
        let Some(own) = all.get(&host, object.meta.created, object.key) else {
            continue;
        };
        let path = format!("spec.hosts[{i}]");
        let rivals = |routes: &&Arc<Routes>| is_rival(routes, own);
        let equals = |routes: &&Arc<Routes>| is_rival(routes, own) && same_scope(routes, own);
        if let Some(winner) = all.before(own).find(equals) {
            let text = format!(
                "sidecars route host \"{written}\" as {} says, which comes first (the oldest does, then by namespace and \
                 name); this object's routes for it are not used",
                winner.source
            );
            found.push((&say::ROUTES_CONFLICT, path, text, written, &winner.source));
        } else if let Some(loser) = all.after(own).find(equals) {
            let text = format!(
                "{} routes host \"{written}\" for sidecars too; this object comes first and is used",
                loser.source
            );
            found.push((&say::ROUTES_CONTESTED, path, text, written, &loser.source));
        } else if let Some(other) = all
            .exact(&host)
            .chain(all.above(&host))
            .chain(all.below(&host))
            .filter(rivals)
            .find(|routes| !same_scope(routes, own))
        {
            let text = format!(
                "{} routes host \"{}\" for sidecars too, exported to {} while this object is exported to {}; where both \
                 are visible, the one that is exported to single namespaces is used",
                other.source, other.host, other.visibility, own.visibility
            );
            found.push((&say::ROUTES_CONTESTED, path, text, written, &other.source));
        }
    }
    let is_lost = |found: &Found<'_>| std::ptr::eq(found.0, &say::ROUTES_CONFLICT);
    let first = found.iter().position(is_lost).unwrap_or(0);
    if found.is_empty() {
        return;
    }
    let (diagnosis, path, text, _, rival) = found.remove(first);
    let more: Vec<&str> = found.iter().map(|(_, _, _, host, _)| *host).collect();
    let text = match more.is_empty() {
        true => text,
        false => format!(
            "{text}; other VirtualServices route {} too",
            enumeration(&more)
        ),
    };
    let message = report.say(diagnosis, path, text).concerning(rival);
    for (_, _, _, _, rival) in &found {
        message.concerning(rival);
    }
}

/// What is to be said of one host: the diagnosis, the field, the text, the host, the rival.
type Found<'a> = (&'static Diagnosis, String, String, &'a str, &'a ObjectKey);

/// Whether other routes are for sidecars that these are for as well.
fn is_rival(other: &Routes, own: &Routes) -> bool {
    other.source != own.source && other.for_mesh && other.visibility.overlaps(&own.visibility)
}

fn same_scope(a: &Routes, b: &Routes) -> bool {
    (a.visibility == Visibility::Everywhere) == (b.visibility == Visibility::Everywhere)
}
