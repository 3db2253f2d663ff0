//! ProxyConfig and EnvoyFilter.

use crate::api::metadata::Metadata;
use crate::api::networking::{
    ApplyTo, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilterSpec, FilterClass,
    PatchContext, PatchOperation, ProxyConfigSpec,
};

use super::Validate;
use super::fields;
use super::regex;
use super::report::Field;

impl Validate for ProxyConfigSpec {
    fn validate(&self, _: &Metadata, at: &Field<'_>) {
        at.within("selector", &self.selector, |at, selector| {
            fields::selector(&at.member("matchLabels"), &selector.match_labels);
        });
        fields::not_negative(
            &at.member("concurrency"),
            self.concurrency.unwrap_or_default(),
        );
    }
}

impl Validate for EnvoyFilterSpec {
    fn validate(&self, _: &Metadata, at: &Field<'_>) {
        if self.workload_selector.is_some() && !self.target_refs.is_empty() {
            at.member("targetRefs")
                .invalid("cannot stand beside workloadSelector");
        }
        at.within(
            "workloadSelector",
            &self.workload_selector,
            |at, selector| {
                fields::selector(&at.member("labels"), &selector.labels);
            },
        );
        at.each("targetRefs", &self.target_refs, fields::target_reference);
        at.each("configPatches", &self.config_patches, patch);
    }
}

fn patch(at: &Field<'_>, patch: &EnvoyConfigObjectPatch) {
    if patch.apply_to == ApplyTo::Invalid {
        at.member("applyTo")
            .invalid("says what is patched, and is needed");
    }
    let Some(change) = &patch.patch else {
        at.member("patch").invalid("is needed");
        return;
    };
    let at_change = at.member("patch");
    let operation = change.operation;
    if operation == PatchOperation::Invalid {
        at_change.member("operation").invalid("is needed");
    }
    if change.value.is_empty() && operation != PatchOperation::Remove {
        at_change
            .member("value")
            .invalid("is needed, except to remove");
    }
    let adds = matches!(
        operation,
        PatchOperation::Add
            | PatchOperation::InsertFirst
            | PatchOperation::InsertBefore
            | PatchOperation::InsertAfter
    );
    if change.filter_class != FilterClass::Unspecified && !adds {
        at_change
            .member("filterClass")
            .invalid("places a filter that is added; this operation adds none");
    }
    let only = match patch.apply_to {
        ApplyTo::ExtensionConfig => Some((PatchOperation::Add, "ADD")),
        ApplyTo::Bootstrap => Some((PatchOperation::Merge, "MERGE")),
        _ => None,
    };
    if let Some((only, name)) = only
        && operation != only
        && operation != PatchOperation::Invalid
    {
        at_change
            .member("operation")
            .invalid(format!("only {name} is possible here"));
    }
    at.within("match", &patch.r#match, |at, condition| {
        object_match(at, condition, patch.apply_to)
    });
}

fn object_match(at: &Field<'_>, condition: &EnvoyConfigObjectMatch, apply_to: ApplyTo) {
    let members = [
        ("listener", condition.listener.is_some()),
        (
            "routeConfiguration",
            condition.route_configuration.is_some(),
        ),
        ("cluster", condition.cluster.is_some()),
        ("waypoint", condition.waypoint.is_some()),
    ];
    fields::only_one(at, &members);
    if condition.waypoint.is_some() != (condition.context == PatchContext::Waypoint) {
        at.invalid("waypoint must be set with context WAYPOINT, and only with it");
    }
    let fitting = match apply_to {
        ApplyTo::Listener
        | ApplyTo::FilterChain
        | ApplyTo::NetworkFilter
        | ApplyTo::ListenerFilter => "listener",
        ApplyTo::HttpFilter if condition.waypoint.is_some() => "waypoint",
        ApplyTo::HttpFilter => "listener",
        ApplyTo::HttpRoute if condition.waypoint.is_some() => "waypoint",
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            "routeConfiguration"
        }
        ApplyTo::Cluster if condition.waypoint.is_none() => "cluster",
        _ => return,
    };
    for (name, _) in members
        .iter()
        .filter(|(name, set)| *set && *name != fitting && *name != "waypoint")
    {
        at.member(name)
            .invalid(format!("cannot match what applyTo names; {fitting} can"));
    }
    at.within("proxy", &condition.proxy, |at, proxy| {
        at.member("proxyVersion")
            .check(regex::check(&proxy.proxy_version));
    });
}
