//! What one object says and another one, which comes first, says already.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::{
    DestinationRuleSpec, HTTPMatchRequest, TrafficPolicy, VirtualServiceSpec,
};
use crate::api::text::enumeration;
use crate::model::{Course, Rule, gateway_key};
use crate::world::ObjectKey;

use super::{Inspected, Report};

/// At a gateway the routes of all VirtualServices for a host are tried in order of age, then of namespace and name. One
/// that comes later is told by which it is preceded, and whether any request is left to it.
pub(super) fn gateway_hosts_have_one_virtual_service(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let own_gateways = gateways(object.spec, object.key);
    if own_gateways.is_empty() || object.spec.http.is_empty() {
        return;
    }
    for (index, written) in object.spec.hosts.iter().enumerate() {
        let host = view.resolve(written, &object.key.namespace);
        let all = view.routes_around(&host);
        let courses = || own_gateways.iter().cloned().map(Course::Gateway);
        let is_own = |course| all.of(&course)?.get(&host, object.meta.created, object.key);
        let Some(own) = courses().find_map(is_own) else {
            continue;
        };
        let Some((Course::Gateway(gateway), rival)) = all.first_before(own, courses()) else {
            continue;
        };
        let path = format!("spec.hosts[{index}]");
        let name = gateway.qualified_name();
        let order = "the older comes first, then the first by namespace and name";
        let message = match catch_all(&rival.spec, &gateway, &rival.source) {
            Some(route) => {
                let text = format!(
                    "at Gateway {name} {} comes first for host \"{written}\" ({order}), and its spec.http[{route}] takes \
                     every request: no route of this object is used",
                    rival.source
                );
                report.say(&say::ROUTES_SHADOWED, path, text)
            }
            None => {
                let text = format!(
                    "at Gateway {name} the routes of {} for host \"{written}\" are tried first ({order})",
                    rival.source
                );
                report.say(&say::ROUTES_PRECEDED, path, text)
            }
        };
        message.concerning(&rival.source).concerning(&gateway);
    }
}

/// The Gateways that a VirtualService names.
fn gateways(spec: &VirtualServiceSpec, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let names = spec.gateways.iter();
    names
        .filter_map(|name| gateway_key(name, &key.namespace))
        .collect()
}

/// The first route that takes every request at a gateway.
fn catch_all(spec: &VirtualServiceSpec, gateway: &ObjectKey, key: &ObjectKey) -> Option<usize> {
    let at_the_gateway = |condition: &HTTPMatchRequest| {
        let mut names = condition.gateways.iter();
        condition.gateways.is_empty()
            || names.any(|name| gateway_key(name, &key.namespace).as_ref() == Some(gateway))
    };
    let anything = |condition: &HTTPMatchRequest| {
        let uri = condition.uri.as_ref();
        let rest = HTTPMatchRequest {
            name: String::new(),
            uri: None,
            gateways: Vec::new(),
            stat_prefix: String::new(),
            ignore_uri_case: false,
            ..condition.clone()
        };
        rest == HTTPMatchRequest::default()
            && uri.is_none_or(|uri| uri.prefix.as_deref() == Some("/"))
    };
    spec.http.iter().position(|route| {
        route.r#match.is_empty()
            || route
                .r#match
                .iter()
                .any(|condition| at_the_gateway(condition) && anything(condition))
    })
}

/// DestinationRules of one namespace for one host are merged: the policy is that of the first which has any, a subset is
/// that of the first which defines it. One that comes later is told what of it is not used, and what is in its place.
pub(super) fn destination_rules_of_a_host_agree(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let host = view.resolve(&object.spec.host, &object.key.namespace);
    let all = view.rules_of(&object.key.namespace, &host);
    let mut all = all.filter(|rule| {
        rule.host == host && rule.spec.workload_selector == object.spec.workload_selector
    });
    let mut before: Vec<&Arc<Rule>> = Vec::new();
    let own = loop {
        match all.next() {
            Some(rule) if rule.source == *object.key => break rule,
            Some(rule) => before.push(rule),
            None => return,
        }
    };
    let earlier: Vec<&Arc<Rule>> = before
        .into_iter()
        .filter(|rule| rule.visibility.overlaps(&own.visibility))
        .collect();
    let order = "the older comes first, then the first by namespace and name";
    let with_policy = earlier
        .iter()
        .find_map(|rule| Some((*rule, rule.spec.traffic_policy.as_ref()?)));
    if let (Some(unused), Some((winner, policy))) = (&object.spec.traffic_policy, with_policy) {
        let text = format!(
            "{} for the same host comes first ({order}): the policy in effect is its {}, and {} of this object is not used",
            winner.source,
            enumeration(fields(policy)),
            enumeration(fields(unused))
        );
        report
            .say(&say::POLICY_OVERRIDDEN, "spec.trafficPolicy", text)
            .concerning(&winner.source);
    }
    for (index, subset) in object.spec.subsets.iter().enumerate() {
        let defines = |rule: &&&Arc<Rule>| {
            rule.spec
                .subsets
                .iter()
                .any(|other| other.name == subset.name)
        };
        if let Some(winner) = earlier.iter().find(defines) {
            let text = format!(
                "subset \"{}\" is the one of {}, which comes first ({order})",
                subset.name, winner.source
            );
            report
                .say(
                    &say::SUBSET_OVERRIDDEN,
                    format!("spec.subsets[{index}].name"),
                    text,
                )
                .concerning(&winner.source);
        }
    }
}

/// The parts of a policy that are set.
fn fields(policy: &TrafficPolicy) -> Vec<&'static str> {
    let parts = [
        ("loadBalancer", policy.load_balancer.is_some()),
        ("connectionPool", policy.connection_pool.is_some()),
        ("outlierDetection", policy.outlier_detection.is_some()),
        ("tls", policy.tls.is_some()),
        ("portLevelSettings", !policy.port_level_settings.is_empty()),
        ("tunnel", policy.tunnel.is_some()),
        ("proxyProtocol", policy.proxy_protocol.is_some()),
        ("retryBudget", policy.retry_budget.is_some()),
    ];
    let set: Vec<&str> = parts
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect();
    if set.is_empty() {
        vec!["empty trafficPolicy"]
    } else {
        set
    }
}
