//! Which DestinationRules apply to the traffic of a client, and which of them gives which setting.
//!
//! Istio's way (`PushContext.destinationRule`, `mergeDestinationRule`, `SidecarScope.DestinationRule`): the rules of one
//! namespace are used, those with the most specific host; among them, those that are exported alike are one rule, of which
//! the first has the policy and the first that names a subset has the subset.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::networking::{PortTrafficPolicy, Subset, TrafficPolicy};

use super::entries::{Rule, Service};
use super::visibility::Visibility;

/// The DestinationRules that apply to the clients of a namespace.
#[derive(Debug, Clone)]
pub struct InEffect<'a> {
    groups: Vec<MergedRule<'a>>,
}

impl<'a> InEffect<'a> {
    /// Those for a host, for clients in namespace `client`. `rules` and `services` are the ones that concern the host, those
    /// of one namespace the most specific first. Looked at are the client's namespace, the service's, and the mesh's root namespace; the first
    /// of them that has any.
    pub fn new(
        rules: &[&'a Arc<Rule>],
        services: &[&Arc<Service>],
        client: &str,
        root: &str,
    ) -> InEffect<'a> {
        // What the root namespace does not keep to itself is for the mesh, and comes last for its own clients too.
        let own = of_namespace(rules, client, |rule| {
            is_seen_from(rule, client) && (client != root || is_private(rule))
        });
        if !own.is_empty() {
            return InEffect::merged(&own);
        }
        let of_services = services.iter().map(|service| &*service.source.namespace);
        for namespace in of_services.chain([root]) {
            let mut exported = of_namespace(rules, namespace, |rule| !is_private(rule));
            exported.retain(|rule| is_seen_from(rule, client));
            if !exported.is_empty() {
                return InEffect::merged(&exported);
            }
        }
        InEffect { groups: Vec::new() }
    }

    /// What rules of one namespace for one host are together, the first first.
    pub fn merged(rules: &[&'a Arc<Rule>]) -> InEffect<'a> {
        let selects = |rule: &&&Arc<Rule>| rule.spec.workload_selector.is_some();
        let with_selector = rules.iter().filter(selects);
        let without = rules.iter().filter(|rule| !selects(rule));
        let mut groups: Vec<MergedRule<'a>> = Vec::new();
        for rule in with_selector.chain(without) {
            let mut is_part = false;
            for group in &mut groups {
                is_part |= group.take_in(rule);
            }
            if !is_part {
                groups.push(MergedRule { rules: vec![rule] });
            }
        }
        InEffect { groups }
    }

    /// All rules that have a part in it.
    pub fn rules(&self) -> impl Iterator<Item = &'a Arc<Rule>> + '_ {
        let all = self.groups.iter().enumerate();
        all.flat_map(move |(index, group)| {
            let before = &self.groups[..index];
            let is_new = move |rule: &&&Arc<Rule>| !before.iter().any(|group| group.contains(rule));
            group.rules.iter().filter(is_new).copied()
        })
    }

    /// The merged rules in order.
    pub fn groups(&self) -> &[MergedRule<'a>] {
        &self.groups
    }

    /// What applies to workloads that no rule selects by their labels: where rules are not exported alike, the last.
    pub fn for_all(&self) -> Option<&MergedRule<'a>> {
        let mut groups = self.groups.iter().rev();
        groups.find(|group| !group.is_for_some())
    }
}

/// The rules of a namespace that are kept, as far as they have the most specific host.
fn of_namespace<'a>(
    rules: &[&'a Arc<Rule>],
    namespace: &str,
    keep: impl Fn(&Rule) -> bool,
) -> Vec<&'a Arc<Rule>> {
    let of_it = |rule: &&Arc<Rule>| &*rule.source.namespace == namespace && keep(rule);
    let mut kept = rules.iter().copied().filter(of_it).peekable();
    let Some(host) = kept.peek().map(|rule| rule.host.clone()) else {
        return Vec::new();
    };
    kept.take_while(|rule| rule.host == host).collect()
}

/// Whether clients in a namespace see a rule. One for selected workloads stays in its own.
fn is_seen_from(rule: &Rule, client: &str) -> bool {
    let is_own = *client == *rule.source.namespace;
    rule.visibility.includes(client) && (is_own || rule.spec.workload_selector.is_none())
}

/// Whether a rule is exported to its own namespace alone.
fn is_private(rule: &Rule) -> bool {
    if rule.spec.workload_selector.is_some() {
        return true;
    }
    match &rule.visibility {
        Visibility::Everywhere => false,
        Visibility::Namespaces(list) => matches!(&**list, [only] if *only == rule.source.namespace),
    }
}

/// DestinationRules of one namespace for one host that count as one; never none.
#[derive(Debug, Clone)]
pub struct MergedRule<'a> {
    rules: Vec<&'a Arc<Rule>>,
}

/// Where a setting comes from: an object and a field of it.
pub type Origin<'a> = (&'a Arc<Rule>, String);

/// Settings by their names, with where they come from.
pub type Settings<'a> = BTreeMap<&'static str, Origin<'a>>;

/// The settings that a port can have of its own: where it has any, these are all that it has.
const OF_PORTS: [&str; 4] = ["connectionPool", "loadBalancer", "outlierDetection", "tls"];

impl<'a> MergedRule<'a> {
    /// Its parts, the first first.
    pub fn rules(&self) -> &[&'a Arc<Rule>] {
        &self.rules
    }

    /// Whether an object is one of its parts.
    pub fn contains(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|part| part.source == rule.source)
    }

    /// Whether it is for workloads with certain labels.
    pub fn is_for_some(&self) -> bool {
        let mut rules = self.rules.iter().take(1);
        rules.any(|rule| rule.spec.workload_selector.is_some())
    }

    /// Whose policy is used.
    pub fn policy(&self) -> Option<(&'a Arc<Rule>, &'a TrafficPolicy)> {
        let mut rules = self.rules.iter();
        rules.find_map(|rule| Some((*rule, rule.spec.traffic_policy.as_ref()?)))
    }

    /// The subsets by name: whose they are, and their place in that object.
    pub fn subsets(&self) -> BTreeMap<&'a str, (&'a Arc<Rule>, usize, &'a Subset)> {
        let mut found = BTreeMap::new();
        for rule in &self.rules {
            for (index, subset) in rule.spec.subsets.iter().enumerate() {
                found
                    .entry(subset.name.as_str())
                    .or_insert((*rule, index, subset));
            }
        }
        found
    }

    /// The ports that have settings of their own, in the policy or in that of a subset.
    pub fn ports(&self) -> BTreeSet<u32> {
        let policy = self.policy().map(|(_, policy)| policy);
        let subsets = self.subsets();
        let of_subsets = subsets
            .values()
            .filter_map(|(_, _, subset)| subset.traffic_policy.as_ref());
        policy
            .into_iter()
            .chain(of_subsets)
            .flat_map(|policy| &policy.port_level_settings)
            .filter_map(|settings| Some(settings.port.as_ref()?.number))
            .collect()
    }

    /// The settings for a port (`None` for one without settings of its own), of a subset or of the host as a whole.
    /// Istio: `MergeSubsetTrafficPolicy`.
    pub fn settings(&self, subset: Option<&str>, port: Option<u32>) -> Settings<'a> {
        let of_host = self.policy();
        let mut settings = of_host.map_or_else(Settings::new, |(rule, policy)| {
            level(rule, "spec.trafficPolicy", policy, port).0
        });
        let subsets = self.subsets();
        let of_subset = subset.and_then(|name| subsets.get(name));
        if let Some((rule, index, subset)) = of_subset
            && let Some(policy) = &subset.traffic_policy
        {
            let at = format!("spec.subsets[{index}].trafficPolicy");
            let (own, is_of_port) = level(rule, &at, policy, port);
            if is_of_port {
                settings.retain(|name, _| !OF_PORTS.contains(name));
            }
            settings.extend(own);
        }
        settings
    }

    /// Takes in a rule, if it is exported to the same namespaces, or to more, and selects the same workloads or all.
    /// Whether it is a part then and does not stand for itself.
    fn take_in(&mut self, rule: &'a Arc<Rule>) -> bool {
        let Some(first) = self.rules.first() else {
            return false;
        };
        let (own, other) = (exports(first), exports(rule));
        if own != other && (own.is_empty() || !own.is_subset(&other)) {
            return false;
        }
        let selectors = (&first.spec.workload_selector, &rule.spec.workload_selector);
        let is_like = match selectors {
            (Some(own), Some(other)) if own.match_labels != other.match_labels => return false,
            (Some(_), Some(_)) | (None, None) => true,
            _ => false,
        };
        self.rules.push(rule);
        is_like
    }
}

/// `exportTo` as it is written. A rule for selected workloads stays in its namespace.
fn exports(rule: &Rule) -> BTreeSet<&str> {
    if rule.spec.workload_selector.is_some() {
        return BTreeSet::from(["."]);
    }
    rule.spec.export_to.iter().map(String::as_str).collect()
}

/// What a policy says for a port, and whether the port has settings of its own there.
fn level<'a>(
    rule: &'a Arc<Rule>,
    at: &str,
    policy: &TrafficPolicy,
    port: Option<u32>,
) -> (Settings<'a>, bool) {
    let is_of_port = |(_, settings): &(usize, &PortTrafficPolicy)| {
        port.is_some() && settings.port.as_ref().map(|port| port.number) == port
    };
    let mut ports = policy.port_level_settings.iter().enumerate();
    let (is_of_port, at, set) = match ports.find(is_of_port) {
        Some((index, of_port)) => (
            true,
            format!("{at}.portLevelSettings[{index}]"),
            vec![
                ("connectionPool", of_port.connection_pool.is_some()),
                ("loadBalancer", of_port.load_balancer.is_some()),
                ("outlierDetection", of_port.outlier_detection.is_some()),
                ("tls", of_port.tls.is_some()),
            ],
        ),
        None => (false, at.to_owned(), set_members(policy)),
    };
    let settings = set
        .into_iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| (name, (rule, format!("{at}.{name}"))))
        .collect();
    (settings, is_of_port)
}

fn set_members(policy: &TrafficPolicy) -> Vec<(&'static str, bool)> {
    vec![
        ("connectionPool", policy.connection_pool.is_some()),
        ("loadBalancer", policy.load_balancer.is_some()),
        ("outlierDetection", policy.outlier_detection.is_some()),
        ("tls", policy.tls.is_some()),
        ("tunnel", policy.tunnel.is_some()),
        ("proxyProtocol", policy.proxy_protocol.is_some()),
        ("retryBudget", policy.retry_budget.is_some()),
    ]
}
