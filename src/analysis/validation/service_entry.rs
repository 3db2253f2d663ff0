//! ServiceEntry: hosts, ports, and how endpoints are found.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::api::metadata::Metadata;
use crate::api::networking::{Resolution, ServiceEntrySpec, WorkloadEntrySpec};
use crate::api::parse;
use crate::api::text::enumeration;

use super::fields::{self, ExportTo};
use super::protocol::Protocol;
use super::report::Field;
use super::{Validate, http, workload};

impl Validate for ServiceEntrySpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        hosts(at, self);
        addresses(at, self);
        ports(at, self);
        if self.workload_selector.is_some() && !self.endpoints.is_empty() {
            at.member("workloadSelector")
                .invalid("cannot stand beside endpoints");
        }
        at.within(
            "workloadSelector",
            &self.workload_selector,
            |at, selector| {
                fields::selector(&at.member("labels"), &selector.labels);
                if self.resolution == Resolution::None {
                    at.questionable("selects endpoints, yet resolution NONE uses none");
                }
            },
        );
        at.each("endpoints", &self.endpoints, |at, endpoint| {
            workload::address_or_network(at, endpoint);
            workload::entry(at, endpoint);
            endpoint_ports(at, endpoint, self);
        });
        match self.resolution {
            Resolution::None => unresolved(at, self),
            Resolution::Static => at.each("endpoints", &self.endpoints, |at, endpoint| {
                static_endpoint(at, endpoint, self)
            }),
            Resolution::Dns | Resolution::DnsRoundRobin => by_dns(at, self),
            Resolution::DynamicDns => by_request(at, self),
        }
        fields::export_to(
            &at.member("exportTo"),
            &self.export_to,
            &meta.namespace,
            ExportTo::ServiceEntry,
        );
    }
}

fn hosts(at: &Field<'_>, spec: &ServiceEntrySpec) {
    if spec.hosts.is_empty() {
        at.member("hosts").invalid("a ServiceEntry needs a host");
    }
    at.each("hosts", &spec.hosts, |at, host| match host.as_str() {
        "*" => at.invalid("'*' would take all traffic; name hosts"),
        host => at.check(parse::wildcard_name(host)),
    });
}

fn addresses(at: &Field<'_>, spec: &ServiceEntrySpec) {
    let blocks_allowed = matches!(spec.resolution, Resolution::None | Resolution::Static);
    at.each("addresses", &spec.addresses, |at, address| {
        at.check(parse::ip_or_subnet(address));
        if address.contains('/') && !blocks_allowed {
            at.invalid("a block of addresses is allowed with resolution NONE or STATIC only");
        }
    });
}

fn ports(at: &Field<'_>, spec: &ServiceEntrySpec) {
    let (mut names, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    let list = at.member("ports");
    for (index, port) in spec.ports.iter().enumerate() {
        let at = list.index(index);
        if let Err(error) = parse::dns_label(&port.name) {
            at.member("name")
                .invalid(format!("not a port's name: {error}"));
        } else if let Some(first) = names.insert(port.name.as_str(), index) {
            at.member("name").invalid(format!(
                "{:?} is the name of the port at index {first} already",
                port.name
            ));
        }
        fields::port(&at.member("number"), port.number);
        if let Some(first) = numbers.insert(port.number, index) {
            at.member("number").invalid(format!(
                "{} is the number of the port at index {first} already",
                port.number
            ));
        }
        fields::optional_port(&at.member("targetPort"), port.target_port);
        let protocol = Protocol::parse(&port.protocol);
        if protocol.is_none() && !port.protocol.is_empty() {
            at.member("protocol")
                .invalid(Protocol::unknown(&port.protocol));
        }
        let plain = protocol.is_some_and(Protocol::is_http);
        if spec.hosts.len() > 1
            && !spec.addresses.is_empty()
            && !plain
            && spec.resolution == Resolution::Dns
        {
            at.member("protocol").questionable(
                "connections that are not plain HTTP do not tell which of the hosts they are for",
            );
        }
    }
}

fn endpoint_ports(at: &Field<'_>, endpoint: &WorkloadEntrySpec, spec: &ServiceEntrySpec) {
    let ports = at.member("ports");
    for name in endpoint.ports.keys() {
        if !spec.ports.iter().any(|port| port.name == *name) {
            let known = enumeration(spec.ports.iter().map(|port| &port.name));
            ports.key(name).invalid(format!(
                "the ServiceEntry has no port of this name, but {known}"
            ));
        }
    }
}

fn unresolved(at: &Field<'_>, spec: &ServiceEntrySpec) {
    if !spec.endpoints.is_empty() {
        at.member("endpoints")
            .invalid("resolution NONE uses no endpoints");
    }
    at.each("ports", &spec.ports, |at, port| {
        if port.target_port != 0 {
            at.member("targetPort")
                .questionable("has no effect with resolution NONE");
        }
        let tcp = matches!(Protocol::parse(&port.protocol), None | Some(Protocol::Tcp));
        if tcp && spec.addresses.is_empty() && spec.workload_selector.is_none() {
            at.member("protocol").questionable(
                "a TCP port without addresses takes all traffic to its number; give spec.addresses",
            );
        }
    });
}

fn static_endpoint(at: &Field<'_>, endpoint: &WorkloadEntrySpec, spec: &ServiceEntrySpec) {
    let at = at.member("address");
    if endpoint.address.starts_with("unix://") {
        if spec.ports.len() != 1 {
            at.invalid(format!(
                "a Unix domain socket is for exactly one port, and the ServiceEntry has {}",
                spec.ports.len()
            ));
        }
    } else if !endpoint.address.is_empty() && endpoint.address.parse::<IpAddr>().is_err() {
        at.invalid(format!(
            "{:?} is not an IP address, which resolution STATIC needs",
            endpoint.address
        ));
    }
}

fn by_dns(at: &Field<'_>, spec: &ServiceEntrySpec) {
    if spec.endpoints.is_empty() && spec.workload_selector.is_none() {
        at.each("hosts", &spec.hosts, |at, host| {
            if host.contains('*') {
                at.invalid("a wildcard cannot be looked up; give endpoints");
            }
        });
    }
    if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        at.member("endpoints")
            .invalid("resolution DNS_ROUND_ROBIN has at most one endpoint");
    }
    at.each("endpoints", &spec.endpoints, |at, endpoint| {
        let at = at.member("address");
        if endpoint.address.starts_with("unix://") {
            at.invalid("a Unix domain socket needs resolution STATIC");
        } else if !endpoint.address.is_empty() {
            http::host_or_address(&at, &endpoint.address);
        }
    });
}

/// DYNAMIC_DNS: the name of each request is looked up.
fn by_request(at: &Field<'_>, spec: &ServiceEntrySpec) {
    at.each("hosts", &spec.hosts, |at, host| {
        if !host.starts_with("*.") {
            at.invalid(format!(
                "resolution DYNAMIC_DNS is for wildcards such as *.example.com, not for {host:?}"
            ));
        }
    });
    for (name, present) in [
        ("addresses", !spec.addresses.is_empty()),
        ("endpoints", !spec.endpoints.is_empty()),
        ("workloadSelector", spec.workload_selector.is_some()),
    ] {
        if present {
            at.member(name)
                .invalid("cannot stand beside resolution DYNAMIC_DNS");
        }
    }
    at.each("ports", &spec.ports, |at, port| {
        let named = Protocol::parse(&port.protocol).is_some_and(|protocol| protocol.is_http() || protocol.is_tls());
        if !named {
            at.member("protocol").invalid("resolution DYNAMIC_DNS needs a protocol that names its host: HTTP, HTTP2, GRPC, HTTPS or TLS");
        }
    });
}
