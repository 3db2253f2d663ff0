//! EnvoyFilters: what their patches can do.

use std::collections::BTreeSet;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::{
    ApplyTo, EnvoyConfigObjectPatch, EnvoyFilterSpec, Patch, PatchOperation,
};
use crate::world::ObjectKey;

use super::{Inspected, Report};

/// Every patch can do what it says, and where its place depends on other filters, the object says when it comes.
/// Istio: IST0151–IST0155.
pub(super) fn patches_can_apply(
    view: &View<'_>,
    object: &Inspected<'_, EnvoyFilterSpec>,
    report: &mut Report<'_>,
) {
    let mut bound: Option<BTreeSet<&str>> = None;
    for (index, (item, patch)) in patches(object.spec).enumerate() {
        let path = format!("spec.configPatches[{index}]");
        let on_routes = matches!(
            item.apply_to,
            ApplyTo::RouteConfiguration | ApplyTo::HttpRoute
        );
        let operation = patch.operation;
        match operation {
            PatchOperation::Add if on_routes => {
                let text = "ADD does nothing on ROUTE_CONFIGURATION and HTTP_ROUTE";
                report.say(
                    &say::ADD_INEFFECTIVE,
                    format!("{path}.patch.operation"),
                    text,
                );
            }
            PatchOperation::Remove if on_routes => {
                let text = "REMOVE does nothing on ROUTE_CONFIGURATION and HTTP_ROUTE";
                report.say(
                    &say::REMOVE_INEFFECTIVE,
                    format!("{path}.patch.operation"),
                    text,
                );
            }
            PatchOperation::Replace if !can_replace(item.apply_to) => {
                let text = "REPLACE works on HTTP_FILTER and NETWORK_FILTER only";
                report.say(
                    &say::REPLACE_INEFFECTIVE,
                    format!("{path}.patch.operation"),
                    text,
                );
            }
            PatchOperation::Remove
            | PatchOperation::Replace
            | PatchOperation::InsertBefore
            | PatchOperation::InsertAfter
                if object.spec.priority == 0 =>
            {
                let name = filter_name(item, patch);
                let bound = bound.get_or_insert_with(|| bound_before(view, object.key));
                let own = patches(object.spec)
                    .take(index)
                    .filter(|(item, _)| is_bound(item));
                let mut own = own.map(|(item, patch)| filter_name(item, patch));
                if bound.contains(name) || own.any(|other| other == name) {
                    let text = format!(
                        "a filter \"{name}\" was patched for some versions of the proxy before, and the object has no priority"
                    );
                    report.say(&say::RELATIVE_TO_VERSIONED, path, text);
                } else {
                    let text = "the patch depends on what other filters have put there, and the object has no priority";
                    report.say(&say::RELATIVE_WITHOUT_PRIORITY, path, text);
                }
            }
            _ => {}
        }
    }
}

/// The patches up to the first one without any content, as Istio reads them.
fn patches(spec: &EnvoyFilterSpec) -> impl Iterator<Item = (&EnvoyConfigObjectPatch, &Patch)> {
    spec.config_patches
        .iter()
        .map_while(|item| Some((item, item.patch.as_ref()?)))
}

fn can_replace(target: ApplyTo) -> bool {
    matches!(
        target,
        ApplyTo::HttpFilter | ApplyTo::NetworkFilter | ApplyTo::VirtualHost
    )
}

/// Whether a patch is for some versions of the proxy only.
fn is_bound(item: &EnvoyConfigObjectPatch) -> bool {
    let proxy = item.r#match.as_ref().and_then(|place| place.proxy.as_ref());
    proxy.is_some_and(|proxy| !proxy.proxy_version.is_empty())
}

/// The filters that EnvoyFilters before this one patch for some versions of the proxy only. The older comes first, then
/// the first by namespace and name.
fn bound_before<'a>(view: &View<'a>, own: &ObjectKey) -> BTreeSet<&'a str> {
    let rank = |created: Option<jiff::Timestamp>, key: &ObjectKey| {
        (created.is_none(), created, key.clone())
    };
    let mut all: Vec<_> = view.all::<EnvoyFilterSpec>().collect();
    all.sort_by_cached_key(|(key, object)| rank(object.meta.created, key));
    let before = all.into_iter().take_while(|(key, _)| *key != own);
    before
        .filter_map(|(_, object)| object.spec())
        .flat_map(patches)
        .filter(|(item, _)| is_bound(item))
        .map(|(item, patch)| filter_name(item, patch))
        .collect()
}

/// The name of the filter that a patch is about: its own, or the one beside which it comes.
fn filter_name<'a>(item: &'a EnvoyConfigObjectPatch, patch: &'a Patch) -> &'a str {
    if patch.value.is_empty() {
        return "";
    }
    if let Some(name) = patch.value.get("name") {
        return name.as_str().unwrap_or_default();
    }
    let listener = item
        .r#match
        .as_ref()
        .and_then(|place| place.listener.as_ref());
    let chain = listener.and_then(|listener| listener.filter_chain.as_ref());
    let filter = chain.and_then(|chain| chain.filter.as_ref());
    filter.map_or("", |filter| filter.name.as_str())
}
