//! Gateway: servers, their ports and hosts.

use std::collections::BTreeMap;

use crate::api::metadata::Metadata;
use crate::api::networking::{GatewaySpec, Port, Server, ServerTLSSettings};
use crate::api::parse;

use super::fields;
use super::protocol::Protocol;
use super::report::Field;
use super::{Validate, tls};

impl Validate for GatewaySpec {
    fn validate(&self, _: &Metadata, at: &Field<'_>) {
        if self.servers.is_empty() {
            at.member("servers").invalid("a gateway needs a server");
        }
        fields::labels(&at.member("selector"), &self.selector);
        at.each("servers", &self.servers, server);
        let mut names = BTreeMap::new();
        let servers = at.member("servers");
        for (index, server) in self.servers.iter().enumerate() {
            let name = server.port.as_ref().map_or("", |port| port.name.as_str());
            if let Some(first) = names.insert(name, index)
                && !name.is_empty()
            {
                let text = format!(
                    "{name:?} is the port's name of the server at index {first} already; port names are unique"
                );
                servers
                    .index(index)
                    .member("port")
                    .member("name")
                    .invalid(text);
            }
        }
    }
}

fn server(at: &Field<'_>, server: &Server) {
    if server.hosts.is_empty() {
        at.member("hosts")
            .invalid("a server needs a host; '*' is any");
    }
    at.each("hosts", &server.hosts, |at, text| host(at, text));
    let socket = bind(&at.member("bind"), &server.bind);
    match &server.port {
        None => at.member("port").invalid("a server needs a port"),
        Some(listened) => port(&at.member("port"), listened, socket),
    }
    let protocol = server
        .port
        .as_ref()
        .and_then(|port| Protocol::parse(&port.protocol));
    server_tls(at, protocol, &server.tls);
}

fn host(at: &Field<'_>, text: &str) {
    let (namespace, host) = text
        .split_once('/')
        .map_or((None, text), |(namespace, host)| (Some(namespace), host));
    match namespace {
        None | Some("*" | ".") => {}
        Some(namespace) => {
            if let Err(error) = parse::dns_label(namespace) {
                at.invalid(format!("not a namespace: {error}"));
            }
        }
    }
    if host != "*" && host.parse::<std::net::IpAddr>().is_err() {
        at.check(parse::wildcard_name(host));
        if !host.contains('.') {
            at.invalid(format!(
                "{host:?} is a short name, which says nothing at a gateway; give the host in full"
            ));
        }
    }
}

/// Whether a server or listener is bound to a Unix domain socket rather than to an address.
pub(super) fn bind(at: &Field<'_>, bind: &str) -> bool {
    if let Some(path) = bind.strip_prefix("unix://") {
        fields::socket_path(at, path);
        return true;
    }
    if !bind.is_empty() && bind.parse::<std::net::IpAddr>().is_err() {
        at.invalid(format!(
            "{bind:?} is neither an IP address nor unix:///path"
        ));
    }
    false
}

fn port(at: &Field<'_>, port: &Port, socket: bool) {
    if Protocol::parse(&port.protocol).is_none() {
        at.member("protocol")
            .invalid(Protocol::unknown(&port.protocol));
    }
    if port.name.is_empty() {
        at.member("name").invalid("a port needs a name");
    }
    if !socket {
        fields::port(&at.member("number"), port.number);
    } else if port.number != 0 {
        at.member("number")
            .invalid("a Unix domain socket has no port; the number must be 0");
    }
}

fn server_tls(at: &Field<'_>, protocol: Option<Protocol>, settings: &Option<ServerTLSSettings>) {
    let Some(protocol) = protocol else { return };
    let Some(settings) = settings else {
        if protocol.is_tls() {
            at.member("tls")
                .invalid("a server of protocol HTTPS or TLS must have TLS settings");
        }
        return;
    };
    let at = at.member("tls");
    if protocol.is_tls() {
        tls::server(&at, settings);
        if settings.https_redirect {
            at.member("httpsRedirect")
                .questionable("is for servers of protocol HTTP, which it sends to HTTPS");
        }
        return;
    }
    let redirect_alone = ServerTLSSettings {
        https_redirect: settings.https_redirect,
        ..ServerTLSSettings::default()
    };
    if !protocol.is_http() {
        at.invalid("a server that is neither HTTPS nor TLS cannot have TLS settings");
    } else if *settings != redirect_alone {
        at.invalid("a server of plain HTTP can have no other TLS setting than httpsRedirect");
    }
}
