//! Objects that speak about the same thing.

use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::api::networking::VirtualServiceSpec;
use crate::api::text::enumeration;
use crate::model::{Course, Scope, applies_to_mesh};
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
        let of = |scope| all.of(&Course::Sidecars(scope));
        let Some(own) = [Scope::Everywhere, Scope::Limited]
            .into_iter()
            .find_map(|scope| of(scope)?.get(&host, object.meta.created, object.key))
        else {
            continue;
        };
        let path = || format!("spec.hosts[{i}]");
        let equals = || own.scopes().into_iter().map(Course::Sidecars);
        if let Some((_, winner)) = all.first_before(own, equals()) {
            let text = format!(
                "sidecars route host \"{written}\" as {} says, which comes first (the oldest does, then by namespace and \
                 name); this object's routes for it are not used",
                winner.source
            );
            found.push((&say::ROUTES_CONFLICT, path(), text, written, &winner.source));
        } else if let Some((_, loser)) = all.first_after(own, equals()) {
            let text = format!(
                "{} routes host \"{written}\" for sidecars too; this object comes first and is used",
                loser.source
            );
            found.push((&say::ROUTES_CONTESTED, path(), text, written, &loser.source));
        } else if let Some(other) = own.other_scope().and_then(of).and_then(|others| {
            let around = others.above(&host).chain(others.below(&host));
            others.exact(&host).chain(around).next()
        }) {
            let text = format!(
                "{} routes host \"{}\" for sidecars too, exported to {} while this object is exported to {}; where both \
                 are visible, the one that is exported to single namespaces is used",
                other.source, other.host, other.visibility, own.visibility
            );
            found.push((&say::ROUTES_CONTESTED, path(), text, written, &other.source));
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
