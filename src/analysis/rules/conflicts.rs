//! Objects that speak about the same thing.

use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::api::networking::VirtualServiceSpec;
use crate::api::text::enumeration;
use crate::model::{Course, Routes, Scope, applies_to_mesh};

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
        let found_is = |diagnosis, rival| Found {
            diagnosis,
            index: i,
            host: written,
            own,
            rival,
        };
        let equals = || own.scopes().into_iter().map(Course::Sidecars);
        if let Some((_, winner)) = all.first_before(own, equals()) {
            found.push(found_is(&say::ROUTES_CONFLICT, winner));
        } else if let Some((_, loser)) = all.first_after(own, equals()) {
            found.push(found_is(&say::ROUTES_CONTESTED, loser));
        } else if let Some(other) = own.other_scope().and_then(of).and_then(|others| {
            let around = others.above(&host).chain(others.below(&host));
            others.exact(&host).chain(around).next()
        }) {
            found.push(found_is(&say::ROUTES_CONTESTED, other));
        }
    }
    let is_lost = |found: &Found<'_>| std::ptr::eq(found.diagnosis, &say::ROUTES_CONFLICT);
    let first = found.iter().position(is_lost).unwrap_or(0);
    if found.is_empty() {
        return;
    }
    let first = found.remove(first);
    let more: Vec<&str> = found.iter().map(|found| found.host).collect();
    let text = match more.is_empty() {
        true => first.text(),
        false => format!(
            "{}; other VirtualServices route {} too",
            first.text(),
            enumeration(&more)
        ),
    };
    let path = format!("spec.hosts[{}]", first.index);
    let message = report
        .say(first.diagnosis, path, text)
        .concerning(&first.rival.source);
    for other in &found {
        message.concerning(&other.rival.source);
    }
}

/// What is to be said of one host of an object.
struct Found<'a> {
    diagnosis: &'static Diagnosis,
    /// Its place in `hosts`.
    index: usize,
    /// As it is written there.
    host: &'a str,
    own: &'a Routes,
    rival: &'a Routes,
}

impl Found<'_> {
    /// Only one of an object's is told in full: there may be many, and each is long where there are many namespaces.
    fn text(&self) -> String {
        let (host, rival) = (self.host, self.rival);
        if std::ptr::eq(self.diagnosis, &say::ROUTES_CONFLICT) {
            return format!(
                "sidecars route host \"{host}\" as {} says, which comes first (the oldest does, then by namespace and \
                 name); this object's routes for it are not used",
                rival.source
            );
        }
        if self.own.other_scope() == rival.other_scope() {
            return format!(
                "{} routes host \"{host}\" for sidecars too; this object comes first and is used",
                rival.source
            );
        }
        format!(
            "{} routes host \"{}\" for sidecars too, exported to {} while this object is exported to {}; where both \
             are visible, the one that is exported to single namespaces is used",
            rival.source, rival.host, rival.visibility, self.own.visibility
        )
    }
}
