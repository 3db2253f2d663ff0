//! WorkloadEntry, WorkloadGroup, and the endpoints of ServiceEntries.

use crate::api::metadata::Metadata;
use crate::api::networking::{
    HTTPHealthCheckConfig, ReadinessProbe, WorkloadEntrySpec, WorkloadGroupSpec,
};
use crate::api::parse;

use super::Validate;
use super::fields;
use super::http;
use super::report::Field;

impl Validate for WorkloadEntrySpec {
    fn validate(&self, _: &Metadata, at: &Field<'_>) {
        address_or_network(at, self);
        entry(at, self);
        if !self.address.is_empty() && !self.address.starts_with("unix://") {
            http::host_or_address(&at.member("address"), &self.address);
        }
    }
}

/// An endpoint needs an address, unless its network's gateway stands for it.
pub(super) fn address_or_network(at: &Field<'_>, entry: &WorkloadEntrySpec) {
    if !entry.address.is_empty() {
        return;
    }
    let at = at.member("address");
    if entry.network.is_empty() {
        at.invalid("an address is needed, unless network is set");
    } else {
        at.questionable(
            "is empty; the endpoint is reached only through the gateway of its network",
        );
    }
}

/// What holds for every entry, wherever it stands.
pub(super) fn entry(at: &Field<'_>, entry: &WorkloadEntrySpec) {
    if let Some(path) = entry.address.strip_prefix("unix://") {
        fields::socket_path(&at.member("address"), path);
        if !entry.ports.is_empty() {
            at.member("ports")
                .invalid("a Unix domain socket has no ports");
        }
    }
    let ports = at.member("ports");
    for (name, number) in &entry.ports {
        let at = ports.key(name);
        if let Err(error) = parse::dns_label(name) {
            at.invalid(format!("not a port's name: {error}"));
        }
        fields::port(&at, *number);
    }
    fields::labels(&at.member("labels"), &entry.labels);
}

impl Validate for WorkloadGroupSpec {
    fn validate(&self, _: &Metadata, at: &Field<'_>) {
        match &self.template {
            None => at
                .member("template")
                .invalid("a WorkloadGroup needs a template"),
            Some(template) => entry(&at.member("template"), template),
        }
        at.within("metadata", &self.metadata, |at, metadata| {
            fields::labels(&at.member("labels"), &metadata.labels);
        });
        at.within("probe", &self.probe, probe);
    }
}

fn probe(at: &Field<'_>, probe: &ReadinessProbe) {
    for (name, number) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        fields::not_negative(&at.member(name), number);
    }
    let methods = [
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("exec", probe.exec.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    fields::only_one(at, &methods);
    if methods.iter().all(|(_, set)| !set) {
        at.invalid("one of httpGet, tcpSocket, exec, grpc is needed");
    }
    at.within("httpGet", &probe.http_get, http_get);
    at.within("tcpSocket", &probe.tcp_socket, |at, tcp| {
        fields::port(&at.member("port"), tcp.port)
    });
    at.within("grpc", &probe.grpc, |at, grpc| {
        fields::port(&at.member("port"), grpc.port)
    });
    at.within("exec", &probe.exec, |at, exec| {
        if exec.command.is_empty() {
            at.member("command").invalid("a command is needed");
        }
    });
}

fn header_name(at: &Field<'_>, name: &str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(allowed) {
        at.invalid(format!(
            "{name:?} is not a header's name of letters, digits, '-' and '_'"
        ));
    }
}

fn http_get(at: &Field<'_>, probe: &HTTPHealthCheckConfig) {
    fields::port(&at.member("port"), probe.port);
    if !matches!(probe.scheme.as_str(), "" | "HTTP" | "HTTPS") {
        at.member("scheme")
            .invalid(format!("{:?} is neither HTTP nor HTTPS", probe.scheme));
    }
    at.each("httpHeaders", &probe.http_headers, |at, header| {
        header_name(&at.member("name"), &header.name)
    });
}
