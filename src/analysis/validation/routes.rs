//! VirtualService: hosts, gateways, TLS and TCP routes.

use crate::api::metadata::Metadata;
use crate::api::networking::{
    L4MatchAttributes, RouteDestination, TCPRoute, TLSMatchAttributes, TLSRoute, VirtualServiceSpec,
};
use crate::api::parse;
use crate::api::text::enumeration;
use crate::model::{MESH_GATEWAY, applies_to_mesh};

use super::fields::{self, ExportTo};
use super::hosts::Hosts;
use super::report::Field;
use super::{Validate, http, reachability};

impl Validate for VirtualServiceSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        let for_mesh = applies_to_mesh(&self.gateways);
        let for_gateways = self.gateways.iter().any(|gateway| gateway != MESH_GATEWAY);
        let own = Hosts::new(&self.hosts);
        if self.hosts.is_empty() {
            delegated(self, at);
        } else {
            hosts(&at.member("hosts"), &self.hosts, &own, for_mesh);
        }
        fields::gateway_names(&at.member("gateways"), &self.gateways);
        if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
            at.invalid("routes nothing: one of http, tls, tcp is needed");
        }
        let context = http::Context {
            delegated: self.hosts.is_empty(),
            for_gateways,
        };
        at.each("http", &self.http, |at, route| {
            http::route(at, route, context)
        });
        at.each("tls", &self.tls, |at, route| {
            tls_route(at, route, &self.hosts, &own)
        });
        at.each("tcp", &self.tcp, tcp_route);
        fields::export_to(
            &at.member("exportTo"),
            &self.export_to,
            &meta.namespace,
            ExportTo::Common,
        );
        reachability::check(at, self, &meta.namespace);
    }
}

/// A VirtualService without hosts, to which others delegate.
fn delegated(spec: &VirtualServiceSpec, at: &Field<'_>) {
    if !spec.gateways.is_empty() {
        at.member("gateways").invalid("a VirtualService without hosts is only delegated to and has no gateways; hosts are missing otherwise");
    }
    for (name, present) in [("tls", !spec.tls.is_empty()), ("tcp", !spec.tcp.is_empty())] {
        if present {
            at.member(name).invalid("a VirtualService without hosts is only delegated to and routes HTTP alone; hosts are missing otherwise");
        }
    }
}

fn hosts(at: &Field<'_>, list: &[String], hosts: &Hosts<'_>, for_mesh: bool) {
    for (index, host) in list.iter().enumerate() {
        let at = at.index(index);
        if host == "*" && for_mesh {
            at.invalid(
                "'*' is not allowed for the mesh; name hosts, or bind the routes to a gateway",
            );
        } else if host.parse::<std::net::IpAddr>().is_err() {
            at.check(parse::wildcard_name(behind_sni(host)));
        }
        if let Some(other) = hosts.covering(host).filter(|other| *other != index).min() {
            let other = &list[other];
            at.invalid(format!(
                "{host:?} is a duplicate: {other:?} is among the hosts already"
            ));
        }
    }
}

/// The service behind a name that gateways between networks route by: `outbound_.PORT_.SUBSET_.HOST`.
fn behind_sni(name: &str) -> &str {
    let mut parts = name.splitn(4, "_.");
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("outbound" | "inbound"), Some(port), Some(_), Some(host))
            if port.parse::<u16>().is_ok() =>
        {
            host
        }
        _ => name,
    }
}

fn tls_route(at: &Field<'_>, route: &TLSRoute, list: &[String], hosts: &Hosts<'_>) {
    if route.r#match.is_empty() {
        at.member("match")
            .invalid("a TLS route needs a match with sniHosts");
    }
    at.each("match", &route.r#match, |at, attributes| {
        tls_match(at, attributes, list, hosts)
    });
    destinations(at, &route.route, "TLS");
}

fn tls_match(at: &Field<'_>, attributes: &TLSMatchAttributes, list: &[String], hosts: &Hosts<'_>) {
    if attributes.sni_hosts.is_empty() {
        at.member("sniHosts")
            .invalid("a match of a TLS route needs sniHosts");
    }
    at.each("sniHosts", &attributes.sni_hosts, |at, sni| {
        if sni.parse::<std::net::IpAddr>().is_ok() {
            at.questionable(format!(
                "{sni} is an address; clients send names (SNI), most of them nothing for an address"
            ));
        } else if let Err(error) = parse::wildcard_name(behind_sni(sni)) {
            at.invalid(error);
        } else if !list.is_empty() && hosts.covering(sni).next().is_none() {
            at.invalid(format!(
                "{sni:?} is not among the hosts of the VirtualService: {}",
                enumeration(list)
            ));
        }
    });
    subnets(at, &attributes.destination_subnets);
    fields::optional_port(&at.member("port"), attributes.port);
    fields::labels(&at.member("sourceLabels"), &attributes.source_labels);
    fields::gateway_names(&at.member("gateways"), &attributes.gateways);
    source_namespace(at, &attributes.source_namespace);
}

fn tcp_route(at: &Field<'_>, route: &TCPRoute) {
    at.each("match", &route.r#match, l4_match);
    destinations(at, &route.route, "TCP");
}

fn l4_match(at: &Field<'_>, attributes: &L4MatchAttributes) {
    subnets(at, &attributes.destination_subnets);
    if !attributes.source_subnet.is_empty() {
        at.member("sourceSubnet")
            .check(parse::ip_or_subnet(&attributes.source_subnet));
    }
    fields::optional_port(&at.member("port"), attributes.port);
    fields::labels(&at.member("sourceLabels"), &attributes.source_labels);
    fields::gateway_names(&at.member("gateways"), &attributes.gateways);
    source_namespace(at, &attributes.source_namespace);
}

fn subnets(at: &Field<'_>, subnets: &[String]) {
    at.each("destinationSubnets", subnets, |at, subnet| {
        at.check(parse::ip_or_subnet(subnet))
    });
}

/// The namespace of a client's workload, if one is given.
pub(super) fn source_namespace(at: &Field<'_>, namespace: &str) {
    if !namespace.is_empty() {
        at.member("sourceNamespace")
            .check(parse::dns_label(namespace));
    }
}

fn destinations(at: &Field<'_>, destinations: &[RouteDestination], kind: &str) {
    if destinations.is_empty() {
        at.member("route")
            .invalid(format!("a {kind} route needs a destination"));
    }
    at.each("route", destinations, |at, weighted| {
        match &weighted.destination {
            Some(destination) => fields::destination(&at.member("destination"), destination),
            None => at.member("destination").invalid("a destination is needed"),
        }
    });
    weights(at, destinations.iter().map(|weighted| weighted.weight));
}

/// The weights of a route's destinations: none negative, and something left to share when there are several.
pub(super) fn weights(at: &Field<'_>, weights: impl ExactSizeIterator<Item = i32> + Clone) {
    let list = at.member("route");
    for (index, weight) in weights.clone().enumerate() {
        fields::not_negative(&list.index(index).member("weight"), weight);
    }
    if weights.len() > 1 && weights.map(i64::from).sum::<i64>() == 0 {
        list.invalid("several destinations share by weight, and all weights are 0");
    }
}
