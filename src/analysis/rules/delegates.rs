//! Delegates: VirtualServices without hosts, to which others hand requests on.

use std::collections::BTreeSet;

use crate::analysis::diagnoses as say;
use crate::analysis::matching::Earlier;
use crate::analysis::merged;
use crate::analysis::view::View;
use crate::api::networking::VirtualServiceSpec;
use crate::api::text::enumeration;
use crate::model::{Mention, Visibility, delegate_key};
use crate::world::ObjectKey;

use super::{Inspected, Report};

/// Every delegate exists, is one (it has no hosts), is seen from here, and does not delegate itself: Istio follows one
/// step only.
pub(super) fn delegates_can_be_followed(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    for (index, route) in object.spec.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else {
            continue;
        };
        if delegate.name.is_empty() {
            continue;
        }
        let path = format!("spec.http[{index}].delegate");
        let key = delegate_key(delegate, object.key);
        let Some(found) = view.object::<VirtualServiceSpec>(&key) else {
            let others = view.objects::<VirtualServiceSpec>(&key.namespace);
            let delegates = others.filter(|(other, found)| {
                *other != object.key && found.spec().is_some_and(|spec| spec.hosts.is_empty())
            });
            let hint = report
                .hints
                .did_you_mean(&key.name, delegates.map(|(key, _)| &*key.name));
            let text = format!("{key} does not exist{hint}");
            report.say(&say::DELEGATE_NOT_FOUND, format!("{path}.name"), text);
            continue;
        };
        let Some(spec) = found.spec() else { continue };
        let default = &view.settings().default_virtual_service_export_to;
        let visibility = Visibility::of(&spec.export_to, default, &key.namespace);
        if key == *object.key {
            report.say(&say::DELEGATE_CYCLE, path, "the object delegates to itself");
        } else if !spec.hosts.is_empty() {
            let hosts = enumeration(&spec.hosts);
            let text = format!("{key} is no delegate, because it has hosts of its own: {hosts}");
            report
                .say(&say::DELEGATE_HAS_HOSTS, path, text)
                .concerning(&key);
        } else if !visibility.includes(&object.key.namespace) {
            let text = format!(
                "{key} is not visible from namespace {}; it is exported to {visibility}",
                object.key.namespace
            );
            report
                .say(&say::DELEGATE_NOT_VISIBLE, path, text)
                .concerning(&key);
        } else if let Some(next) = next_of(spec, &key) {
            match cycle(view, object.key, &key, next) {
                Some(text) => report.say(&say::DELEGATE_CYCLE, path, text),
                None => {
                    let text = format!("{key} delegates itself, and only one step is followed");
                    report.say(&say::DELEGATE_NESTED, path, text)
                }
            }
            .concerning(&key);
        }
    }
}

/// Every route of a delegate takes requests that the route which delegates lets through, and some that no route before it
/// takes.
pub(super) fn delegated_routes_are_reached<'a>(
    view: &View<'a>,
    object: &Inspected<'a, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    if object
        .spec
        .http
        .iter()
        .all(|route| route.delegate.is_none())
    {
        return;
    }
    let (routes, misfits) = merged::routes(view, object.key, object.spec);
    for misfit in misfits {
        let (root, delegate) = (misfit.root, &misfit.delegate);
        let text = format!(
            "spec.http[{}] of {delegate} is left out: what its match[{}] asks for is not within any match of \
             spec.http[{root}]",
            misfit.route, misfit.condition
        );
        report
            .say(
                &say::DELEGATE_MISFIT,
                format!("spec.http[{root}].delegate"),
                text,
            )
            .concerning(delegate);
    }
    let namespace = &object.key.namespace;
    let mut earlier = Earlier::default();
    for (place, route) in routes.iter().enumerate() {
        let covering: Option<Vec<usize>> = route
            .conditions(namespace)
            .map(|condition| earlier.first_covering(&condition, |_, _| true))
            .collect();
        for condition in route.conditions(namespace) {
            earlier.push(place, condition);
        }
        let by: Vec<&merged::Route<'_>> = covering
            .iter()
            .flatten()
            .map(|place| &routes[*place])
            .collect();
        // What routes of the object itself take from each other is found where it is validated.
        let concerns_delegates =
            route.delegate.is_some() || by.iter().any(|route| route.delegate.is_some());
        // Nor what routes of a delegate take from each other, whoever delegates to it, is said here.
        let is_handed_everything = object
            .spec
            .http
            .get(route.root)
            .is_some_and(|http| http.r#match.is_empty());
        let is_its_own = by.iter().all(|other| other.root == route.root);
        if by.is_empty() || !concerns_delegates || (is_handed_everything && is_its_own) {
            continue;
        }
        let places: BTreeSet<String> = by.iter().map(|route| route.place()).collect();
        let (path, subject) = match &route.delegate {
            Some(_) => (format!("spec.http[{}].delegate", route.root), route.place()),
            None => (format!("spec.http[{}]", route.root), "the route".to_owned()),
        };
        let verb = if places.len() == 1 { "takes" } else { "take" };
        let text = format!(
            "{subject} is never used: {} {verb} its requests before",
            enumeration(places)
        );
        let message = report.say(&say::ROUTE_SHADOWED, path, text);
        let others = by.iter().copied().chain([route]);
        for (delegate, _) in others.filter_map(|route| route.delegate.as_ref()) {
            message.concerning(delegate);
        }
    }
}

/// A VirtualService without hosts is there for others to delegate to it.
pub(super) fn delegates_are_used(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    if object.spec.hosts.is_empty()
        && view
            .mentions(Mention::Delegate(object.key.clone()))
            .next()
            .is_none()
    {
        let text = "the object has no hosts, and no VirtualService delegates to it";
        report.say(&say::DELEGATE_UNUSED, "spec.hosts", text);
    }
}

/// The first delegate of a VirtualService.
fn next_of(spec: &VirtualServiceSpec, key: &ObjectKey) -> Option<ObjectKey> {
    let mut delegates = spec.http.iter().filter_map(|route| route.delegate.as_ref());
    delegates.next().map(|delegate| delegate_key(delegate, key))
}

/// How delegation leads back to where it has been, if it does.
fn cycle(view: &View<'_>, root: &ObjectKey, first: &ObjectKey, next: ObjectKey) -> Option<String> {
    let mut way = vec![root.clone(), first.clone()];
    let mut seen = BTreeSet::from_iter(way.iter().cloned());
    let mut next = Some(next);
    while let Some(key) = next {
        let known = !seen.insert(key.clone());
        way.push(key.clone());
        if known {
            let names = way.iter().map(ObjectKey::qualified_name);
            return Some(format!(
                "delegation goes round: {}",
                names.collect::<Vec<_>>().join(" → ")
            ));
        }
        let spec = view
            .object::<VirtualServiceSpec>(&key)
            .and_then(|object| object.spec());
        next = spec.and_then(|spec| next_of(spec, &key));
    }
    None
}
