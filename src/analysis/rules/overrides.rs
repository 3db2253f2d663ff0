//! DestinationRules that others override: which of them are one, which are hidden, and what is in effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::view::{MOST_SERVICES, View};
use crate::api::networking::{DestinationRuleSpec, TrafficPolicy};
use crate::api::text::enumeration;
use crate::model::{Host, InEffect, MergedRule, Rule, Service, Settings};

use super::{Inspected, Report};

/// What decides between rules of one namespace.
const ORDER: &str = "the older comes first, then the first by namespace and name";

/// How many rules of one host are looked at for one of them, in its namespace and in others.
const MOST_RULES: usize = 64;

/// Of how many namespaces in `exportTo` it is asked which services they see.
const MOST_CLIENTS: usize = 256;

/// What becomes of a DestinationRule where there are others for its host.
///
/// Those of one namespace are merged: the policy is that of the first which has any, a subset is that of the first which
/// defines it. One that comes later is told what of it is not used, and what is in its place. Those that are exported
/// otherwise are not merged, and where both are seen, the last is used alone.
///
/// Clients use the rules of one namespace: of their own, else of the service's, else of the root namespace. A rule that is
/// looked for there, but hidden by those that come before, is told for whom; one that is exported to clients who never look
/// for it as well.
pub(super) fn rules_of_a_host_agree(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    let host = view.resolve(&object.spec.host, namespace);
    let of_namespace = view.rules_of(namespace, &host).take(MOST_RULES);
    let alike: Vec<&Arc<Rule>> = of_namespace.filter(|rule| rule.host == host).collect();
    let Some(own) = alike
        .iter()
        .copied()
        .find(|rule| rule.source == *object.key)
    else {
        return;
    };
    if alike.len() > 1 {
        merged_with(object, own, &alike, report);
    }
    if object.spec.host.is_empty() || host.is_wildcard() || own.spec.workload_selector.is_some() {
        return;
    }
    out_of_reach(view, object, &host, report);
    let clients: BTreeSet<&Arc<str>> = view
        .rules(&host)
        .take(MOST_RULES)
        .map(|rule| &rule.source.namespace)
        .filter(|client| *client != namespace)
        .collect();
    if !clients.is_empty() && is_looked_for(view, own) {
        hidden_by_others(view, own, &clients, report);
    }
}

/// Whether a rule is in the root namespace, or in that of a service of its host which is seen by some who see the rule.
fn is_looked_for(view: &View<'_>, own: &Arc<Rule>) -> bool {
    let namespace = &own.source.namespace;
    let is_own = |service: &Arc<Service>| service.source.namespace == *namespace;
    let mut limited = view.limited_services(&own.host);
    **namespace == *view.settings().root_namespace
        || view
            .services(&own.host, [namespace])
            .into_iter()
            .any(is_own)
        || limited.any(|service| is_own(service) && service.visibility.overlaps(&own.visibility))
}

/// What a rule is together with others of its namespace for the host.
fn merged_with(
    object: &Inspected<'_, DestinationRuleSpec>,
    own: &Arc<Rule>,
    alike: &[&Arc<Rule>],
    report: &mut Report<'_>,
) {
    let merged = InEffect::merged(alike);
    let is_alike = |group: &&MergedRule<'_>| {
        let mut first = group.rules().iter().take(1);
        first.any(|rule| rule.spec.workload_selector == own.spec.workload_selector)
    };
    let mut groups = merged.groups().iter().filter(is_alike);
    let Some(group) = groups.find(|group| group.contains(own)) else {
        return;
    };
    parts_are_used(object, own, group, report);
    if own.spec.workload_selector.is_none()
        && let Some(last) = merged.for_all()
        && !last.contains(own)
        && let Some(winner) = last.rules().first()
        && winner.visibility.overlaps(&own.visibility)
    {
        let text = format!(
            "{} is for the same host but exported to {} instead of {}, so that the two are not merged; clients that see both \
             use the later one alone: {}",
            winner.source,
            winner.visibility,
            own.visibility,
            in_effect(last)
        );
        report
            .say(&say::RULE_HIDDEN, "spec.exportTo", text)
            .concerning(&winner.source);
    }
}

/// What a rule has no part in of the merged one.
fn parts_are_used(
    object: &Inspected<'_, DestinationRuleSpec>,
    own: &Arc<Rule>,
    group: &MergedRule<'_>,
    report: &mut Report<'_>,
) {
    if let (Some(unused), Some((winner, _))) = (&own.spec.traffic_policy, group.policy())
        && winner.source != own.source
    {
        let text = format!(
            "{} for the same host comes first ({ORDER}), and {} of this object is not used; {}",
            winner.source,
            enumeration(members(unused)),
            in_effect(group)
        );
        report
            .say(&say::POLICY_OVERRIDDEN, "spec.trafficPolicy", text)
            .concerning(&winner.source);
    }
    let subsets = group.subsets();
    for (index, subset) in object.spec.subsets.iter().enumerate() {
        let Some((winner, place, _)) = subsets.get(subset.name.as_str()) else {
            continue;
        };
        if winner.source != own.source {
            let text = format!(
                "subset \"{}\" is spec.subsets[{place}] of {}, which comes first ({ORDER})",
                subset.name, winner.source
            );
            let path = format!("spec.subsets[{index}].name");
            report
                .say(&say::SUBSET_OVERRIDDEN, path, text)
                .concerning(&winner.source);
        }
    }
}

/// A rule that is looked for in its namespace, and clients who have others before.
fn hidden_by_others(
    view: &View<'_>,
    own: &Arc<Rule>,
    clients: &BTreeSet<&Arc<str>>,
    report: &mut Report<'_>,
) {
    let root: Arc<str> = view.settings().root_namespace.as_str().into();
    let seen = clients
        .iter()
        .filter(|client| own.visibility.includes(client));
    let mut hidden: BTreeMap<&str, InEffect<'_>> = BTreeMap::new();
    for client in seen {
        let services = view.services(&own.host, [*client]);
        if services.len() >= MOST_SERVICES {
            continue;
        }
        let of_services = services.iter().map(|service| &service.source.namespace);
        let mut namespaces: Vec<&Arc<str>> = of_services.chain([*client, &root]).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let rules: Vec<&Arc<Rule>> = namespaces
            .into_iter()
            .flat_map(|namespace| view.rules_of(namespace, &own.host).take(MOST_RULES))
            .collect();
        let effective = InEffect::new(&rules, &services, client, &root);
        let has_part = effective.rules().any(|rule| rule.source == own.source);
        if !has_part && effective.for_all().is_some() {
            hidden.insert(client, effective);
        }
    }
    let mut all = hidden.iter();
    let Some((client, effective)) = all.next() else {
        return;
    };
    let Some(group) = effective.for_all() else {
        return;
    };
    let more: Vec<&&str> = all.map(|(client, _)| client).collect();
    let others = match more.is_empty() {
        true => String::new(),
        false => format!("; clients in {} use others, too", enumeration(more)),
    };
    let text = format!(
        "clients in namespace {client} use other rules for the host (those of the client's namespace come first, then of the \
         service's, then of {root}): {}{others}",
        in_effect(group)
    );
    let message = report.say(&say::RULE_REPLACED, "spec.host", text);
    for rule in hidden.values().flat_map(InEffect::rules) {
        message.concerning(&rule.source);
    }
}

/// A rule of a namespace that is neither the root namespace nor that of the services which a client sees is not looked for by
/// that client.
fn out_of_reach(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    host: &Host,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    if **namespace == *view.settings().root_namespace {
        return;
    }
    let entries = object.spec.export_to.iter().enumerate();
    let others = entries
        .filter(|(_, entry)| !["*", ".", "~"].contains(&entry.as_str()) && ***entry != **namespace);
    for (index, client) in others.take(MOST_CLIENTS) {
        let services = view.services(host, [&Arc::from(client.as_str())]);
        let is_looked_for = services
            .iter()
            .any(|one| one.source.namespace == *namespace);
        if is_looked_for || services.len() >= MOST_SERVICES {
            continue;
        }
        // Who sees no such service sends nothing to it.
        let Some(service) = services.first() else {
            continue;
        };
        let text = format!(
            "clients in namespace {client} never look for rules in {namespace}: {} is in namespace {}",
            service.source, service.source.namespace
        );
        let path = format!("spec.exportTo[{index}]");
        report
            .say(&say::RULE_OUT_OF_REACH, path, text)
            .concerning(&service.source);
    }
}

/// What a merged rule does, and which object gives what.
fn in_effect(group: &MergedRule<'_>) -> String {
    let mut parts = Vec::new();
    let of_host = group.settings(None, None);
    parts.push(format!("in effect is {}", origins(&of_host)));
    for port in group.ports() {
        let settings = group.settings(None, Some(port));
        if settings != of_host {
            parts.push(format!("on port {port} {}", origins(&settings)));
        }
    }
    let subsets = group.subsets();
    let subsets = subsets.iter().map(|(name, (rule, _, subset))| {
        let changes = match &subset.traffic_policy {
            Some(policy) => format!(" with {}", enumeration(members(policy))),
            None => String::new(),
        };
        format!("{name} of {}{changes}", rule.source)
    });
    let subsets = enumeration(subsets);
    if !subsets.is_empty() {
        parts.push(format!("subsets: {subsets}"));
    }
    parts.join("; ")
}

/// Settings with the objects and fields that they come from.
fn origins(settings: &Settings<'_>) -> String {
    if settings.is_empty() {
        return "no setting of its own".to_owned();
    }
    let each = settings
        .iter()
        .map(|(name, (rule, path))| format!("{name} of {} ({path})", rule.source));
    enumeration(each)
}

/// The parts of a policy that are set.
fn members(policy: &TrafficPolicy) -> Vec<&'static str> {
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
