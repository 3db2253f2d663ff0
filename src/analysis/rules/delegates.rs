//! Delegates: VirtualServices without hosts, to which others hand requests on.

use std::collections::BTreeSet;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::networking::{Delegate, VirtualServiceSpec};
use crate::api::text::enumeration;
use crate::model::Visibility;
use crate::world::ObjectKey;

use super::nearest::did_you_mean;
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
        let key = key_of(delegate, object.key);
        let Some(found) = view.object::<VirtualServiceSpec>(&key) else {
            let others = view.objects::<VirtualServiceSpec>(&key.namespace);
            let delegates = others.filter(|(other, found)| {
                *other != object.key && found.spec().is_some_and(|spec| spec.hosts.is_empty())
            });
            let hint = did_you_mean(&key.name, delegates.map(|(key, _)| &*key.name));
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

fn key_of(delegate: &Delegate, from: &ObjectKey) -> ObjectKey {
    let namespace = if delegate.namespace.is_empty() {
        from.namespace.clone()
    } else {
        delegate.namespace.as_str().into()
    };
    ObjectKey::new(Kind::VirtualService, namespace, delegate.name.as_str())
}

/// The first delegate of a VirtualService.
fn next_of(spec: &VirtualServiceSpec, key: &ObjectKey) -> Option<ObjectKey> {
    let mut delegates = spec.http.iter().filter_map(|route| route.delegate.as_ref());
    delegates.next().map(|delegate| key_of(delegate, key))
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
