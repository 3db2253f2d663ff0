//! Sidecar: what a proxy reaches and accepts.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::api::metadata::Metadata;
use crate::api::networking::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy,
    OutboundTrafficPolicyMode, ServerTLSSettings, ServerTLSmode, SidecarPort, SidecarSpec,
};
use crate::api::parse;

use super::fields;
use super::hosts::Hosts;
use super::protocol::Protocol;
use super::report::Field;
use super::{Validate, connection_pool, gateway, tls};

impl Validate for SidecarSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        at.within(
            "workloadSelector",
            &self.workload_selector,
            |at, selector| {
                fields::selector(&at.member("labels"), &selector.labels);
            },
        );
        let empty = SidecarSpec {
            workload_selector: self.workload_selector.clone(),
            ..SidecarSpec::default()
        };
        if *self == empty {
            at.invalid("says nothing: one of ingress, egress, inboundConnectionPool, outboundTrafficPolicy is needed");
        }
        at.each("ingress", &self.ingress, ingress);
        unique(
            &at.member("ingress"),
            self.ingress.iter().map(|listener| (&listener.port, "")),
        );
        at.each("egress", &self.egress, |at, listener| {
            egress(at, listener, &meta.namespace)
        });
        unique(
            &at.member("egress"),
            self.egress
                .iter()
                .map(|listener| (&listener.port, listener.bind.as_str())),
        );
        catch_all_is_last(&at.member("egress"), &self.egress);
        at.within(
            "inboundConnectionPool",
            &self.inbound_connection_pool,
            connection_pool::check,
        );
        at.within(
            "outboundTrafficPolicy",
            &self.outbound_traffic_policy,
            outbound_traffic_policy,
        );
    }
}

/// Each port number and each Unix domain socket is listened at once.
fn unique<'a>(at: &Field<'_>, listeners: impl Iterator<Item = (&'a Option<SidecarPort>, &'a str)>) {
    let (mut ports, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    for (index, (port, bind)) in listeners.enumerate() {
        let at = at.index(index);
        let number = port.as_ref().map_or(0, |port| port.number);
        if bind.starts_with("unix://") {
            if !sockets.insert(bind) {
                at.member("bind")
                    .invalid(format!("{bind:?} is there twice"));
            }
        } else if number != 0 && !ports.insert(number) {
            at.member("port")
                .member("number")
                .invalid(format!("{number} is there twice"));
        }
    }
}

fn catch_all_is_last(at: &Field<'_>, listeners: &[IstioEgressListener]) {
    let Some((_, others)) = listeners.split_last() else {
        return;
    };
    for (index, listener) in others.iter().enumerate() {
        if listener.port.is_none() && !listener.bind.starts_with("unix://") {
            at.index(index).invalid(
                "a listener without a port takes what the others leave, so it must be the last one",
            );
        }
    }
}

fn port(at: &Field<'_>, port: &SidecarPort, socket: bool) {
    if !port.protocol.is_empty() && Protocol::parse(&port.protocol).is_none() {
        at.member("protocol")
            .invalid(Protocol::unknown(&port.protocol));
    }
    if !socket {
        fields::port(&at.member("number"), port.number);
    } else if port.number != 0 {
        at.member("number")
            .invalid("a Unix domain socket has no port; the number must be 0");
    }
}

fn egress(at: &Field<'_>, listener: &IstioEgressListener, namespace: &str) {
    let socket = gateway::bind(&at.member("bind"), &listener.bind);
    at.within("port", &listener.port, |at, listened| {
        port(at, listened, socket)
    });
    if socket && listener.capture_mode == CaptureMode::Iptables {
        at.member("captureMode")
            .invalid("connections to a Unix domain socket are not redirected; use NONE or DEFAULT");
    }
    if listener.port.is_none() && !listener.bind.is_empty() {
        at.member("port")
            .invalid("a listener with bind needs a port");
    }
    if listener.hosts.is_empty() {
        at.member("hosts")
            .invalid("a listener needs a host; \"*/*\" is all");
    }
    at.each("hosts", &listener.hosts, |at, text| host(at, text));
    covered(&at.member("hosts"), &listener.hosts, namespace);
}

fn host(at: &Field<'_>, text: &str) {
    let Some((namespace, host)) = text.split_once('/') else {
        at.invalid(format!("{text:?} lacks the namespace; hosts are written namespace/host, such as ./reviews.default.svc.cluster.local or */*"));
        return;
    };
    // "~namespace" leaves a namespace out.
    let excluded = namespace.strip_prefix('~').unwrap_or(namespace);
    if !matches!(namespace, "*" | "." | "~")
        && let Err(error) = parse::dns_label(excluded)
    {
        at.invalid(format!("not a namespace: {error}"));
    }
    if host == "*" {
        return;
    }
    at.check(parse::wildcard_name(host));
    if host
        .strip_prefix('*')
        .is_some_and(|rest| !rest.starts_with('.'))
    {
        at.invalid(format!(
            "{host:?} has a wildcard for a part of a label; '*' stands for whole labels here"
        ));
    }
}

/// Hosts that another host of the listener includes.
fn covered(at: &Field<'_>, hosts: &[String], own: &str) {
    let included = hosts.iter().enumerate().filter_map(|(index, text)| {
        let (namespace, host) = text.split_once('/')?;
        let namespace = if namespace == "." { own } else { namespace };
        (!namespace.starts_with('~')).then_some((index, namespace, host))
    });
    let mut by_namespace: HashMap<&str, Hosts<'_>> = HashMap::new();
    for (index, namespace, host) in included.clone() {
        by_namespace
            .entry(namespace)
            .or_default()
            .insert(index, host);
    }
    for (index, namespace, host) in included {
        let wider = ["*", namespace]
            .into_iter()
            .filter_map(|namespace| by_namespace.get(namespace))
            .flat_map(|hosts| hosts.covering(host))
            .filter(|other| *other != index);
        if let Some(wider) = wider.min() {
            at.index(index)
                .questionable(format!("adds nothing: {:?} includes it", hosts[wider]));
        }
    }
}

fn ingress(at: &Field<'_>, listener: &IstioIngressListener) {
    match &listener.port {
        None => at
            .member("port")
            .invalid("an ingress listener needs a port"),
        Some(listened) => port(&at.member("port"), listened, false),
    }
    if !listener.bind.is_empty() && listener.bind.parse::<IpAddr>().is_err() {
        at.member("bind")
            .invalid(format!("{:?} is not an IP address", listener.bind));
    }
    if !listener.default_endpoint.is_empty() {
        endpoint(&at.member("defaultEndpoint"), &listener.default_endpoint);
    }
    let protocol = listener
        .port
        .as_ref()
        .and_then(|port| Protocol::parse(&port.protocol));
    at.within("tls", &listener.tls, |at, settings| {
        ingress_tls(at, settings, protocol)
    });
    at.within("connectionPool", &listener.connection_pool, |at, pool| {
        connection_pool::check(at, pool);
        if pool.http.is_some() && protocol.is_some_and(|protocol| !protocol.is_http()) {
            at.member("http")
                .questionable("has no effect on a port that is not HTTP");
        }
    });
}

/// Where an ingress listener sends traffic: to the workload itself.
fn endpoint(at: &Field<'_>, text: &str) {
    if let Some(path) = text.strip_prefix("unix://") {
        fields::socket_path(at, path);
        return;
    }
    let local = ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"];
    match text.rsplit_once(':') {
        Some((host, number)) if local.contains(&host) => match number.parse::<u32>() {
            Ok(number) => fields::port(at, number),
            Err(_) => at.invalid(format!("{number:?} is not a port")),
        },
        _ => at.invalid(format!("{text:?} is not one of 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT, unix:///path")),
    }
}

fn ingress_tls(at: &Field<'_>, settings: &ServerTLSSettings, protocol: Option<Protocol>) {
    if protocol.is_some_and(|protocol| !protocol.is_tls()) {
        at.invalid("TLS settings are for ports of protocol HTTPS or TLS");
    }
    if !matches!(
        settings.mode,
        ServerTLSmode::Simple | ServerTLSmode::Mutual | ServerTLSmode::OptionalMutual
    ) {
        at.member("mode")
            .invalid("a sidecar terminates TLS in mode SIMPLE, MUTUAL or OPTIONAL_MUTUAL only");
    }
    for (name, set) in [
        ("credentialName", !settings.credential_name.is_empty()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
        ("subjectAltNames", !settings.subject_alt_names.is_empty()),
        ("httpsRedirect", settings.https_redirect),
    ] {
        if set {
            at.member(name).invalid("is not supported at a sidecar");
        }
    }
    tls::server(at, settings);
}

fn outbound_traffic_policy(at: &Field<'_>, policy: &OutboundTrafficPolicy) {
    at.within("egressProxy", &policy.egress_proxy, |at, proxy| {
        if policy.mode != OutboundTrafficPolicyMode::AllowAny {
            at.invalid("needs mode ALLOW_ANY");
        }
        at.member("host").check(parse::dns_name(&proxy.host));
        if proxy.port.is_none() {
            at.member("port").invalid("an egress proxy needs a port");
        }
        fields::port_selector(&at.member("port"), &proxy.port);
        if !proxy.subset.is_empty() {
            fields::subset_name(&at.member("subset"), &proxy.subset);
        }
    });
}
