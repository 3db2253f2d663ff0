//! DestinationRule: subsets and traffic policies.

use std::collections::BTreeMap;

use crate::api::metadata::Metadata;
use crate::api::networking::{
    ClientTLSSettings, ConnectionPoolSettings, DestinationRuleSpec, LoadBalancerSettings,
    OutlierDetection, PortTrafficPolicy, RetryBudget, TrafficPolicy, TunnelSettings,
};
use crate::api::parse;

use super::fields::{self, ExportTo};
use super::http;
use super::report::Field;
use super::{Validate, connection_pool, load_balancer, tls};

impl Validate for DestinationRuleSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        match self.host.as_str() {
            "" => at.member("host").invalid("a DestinationRule needs a host"),
            host => at.member("host").check(parse::wildcard_name(host)),
        }
        at.within("trafficPolicy", &self.traffic_policy, traffic_policy);
        let mut first = BTreeMap::new();
        let subsets = at.member("subsets");
        for (index, subset) in self.subsets.iter().enumerate() {
            let at = subsets.index(index);
            fields::subset_name(&at.member("name"), &subset.name);
            if let Some(first) = first.insert(&subset.name, index) {
                at.member("name").questionable(format!(
                    "{:?} is the name of the subset at index {first} already",
                    subset.name
                ));
            }
            fields::labels(&at.member("labels"), &subset.labels);
            at.within("trafficPolicy", &subset.traffic_policy, traffic_policy);
        }
        at.within(
            "workloadSelector",
            &self.workload_selector,
            |at, selector| {
                fields::selector(&at.member("matchLabels"), &selector.match_labels);
            },
        );
        let owner = if self.workload_selector.is_some() {
            ExportTo::SelectingRule
        } else {
            ExportTo::Common
        };
        fields::export_to(
            &at.member("exportTo"),
            &self.export_to,
            &meta.namespace,
            owner,
        );
    }
}

/// The settings that a policy may have for all ports and for one of them.
struct Common<'a> {
    load_balancer: &'a Option<Box<LoadBalancerSettings>>,
    connection_pool: &'a Option<Box<ConnectionPoolSettings>>,
    outlier_detection: &'a Option<Box<OutlierDetection>>,
    tls: &'a Option<Box<ClientTLSSettings>>,
}

impl Common<'_> {
    fn check(&self, at: &Field<'_>) {
        at.within_box("loadBalancer", self.load_balancer, |at, settings| {
            load_balancer::check(at, settings, self.outlier_detection.is_some());
        });
        at.within_box(
            "connectionPool",
            self.connection_pool,
            connection_pool::check,
        );
        at.within_box(
            "outlierDetection",
            self.outlier_detection,
            connection_pool::outlier_detection,
        );
        at.within_box("tls", self.tls, tls::client);
    }
}

fn traffic_policy(at: &Field<'_>, policy: &TrafficPolicy) {
    if *policy == TrafficPolicy::default() {
        at.invalid("an empty traffic policy says nothing; leave it out");
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        at.member("proxyProtocol")
            .invalid("cannot stand beside tunnel");
    }
    Common {
        load_balancer: &policy.load_balancer,
        connection_pool: &policy.connection_pool,
        outlier_detection: &policy.outlier_detection,
        tls: &policy.tls,
    }
    .check(at);
    at.within_box("tunnel", &policy.tunnel, tunnel);
    at.within("retryBudget", &policy.retry_budget, retry_budget);
    at.each(
        "portLevelSettings",
        &policy.port_level_settings,
        port_policy,
    );
}

fn port_policy(at: &Field<'_>, policy: &PortTrafficPolicy) {
    if policy.port.is_none() {
        at.member("port")
            .invalid("settings of a port need its number");
    }
    fields::port_selector(&at.member("port"), &policy.port);
    Common {
        load_balancer: &policy.load_balancer,
        connection_pool: &policy.connection_pool,
        outlier_detection: &policy.outlier_detection,
        tls: &policy.tls,
    }
    .check(at);
}

fn tunnel(at: &Field<'_>, tunnel: &TunnelSettings) {
    if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
        at.member("protocol")
            .invalid(format!("{:?} is neither CONNECT nor POST", tunnel.protocol));
    }
    if tunnel.target_host.is_empty() {
        at.member("targetHost").invalid("a tunnel needs a target");
    } else {
        http::host_or_address(&at.member("targetHost"), &tunnel.target_host);
    }
    fields::port(&at.member("targetPort"), tunnel.target_port);
}

fn retry_budget(at: &Field<'_>, budget: &RetryBudget) {
    if let Some(percent) = budget.percent
        && !(0.0..=100.0).contains(&percent)
    {
        at.member("percent")
            .invalid(format!("{percent} is not a percentage from 0 to 100"));
    }
    fields::duration_or_zero(&at.member("budgetInterval"), &budget.budget_interval);
}
