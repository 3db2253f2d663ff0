//! Gateways as JSON, for programs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shown;
use crate::analysis::credentials::{Credential, Outcome};
use crate::analysis::gateway_status::ServerStatus;
use crate::gateway::Exposure;
use crate::world::{Certificate, ObjectKey};

/// All of them, as an array.
pub(super) fn of(gateways: &[Shown], now: Timestamp) -> Value {
    gateways.iter().map(|gateway| one(gateway, now)).collect()
}

fn one(gateway: &Shown, now: Timestamp) -> Value {
    let status = &gateway.status;
    let conditions = gateway.conditions.iter().chain(&gateway.told).map(|condition| {
        json!({"type": condition.kind, "status": condition.status, "reason": condition.reason, "message": condition.message})
    });
    let missing = gateway.missing.iter().map(|message| {
        json!({"code": message.code, "level": message.level.as_str(), "path": message.path, "message": message.text})
    });
    let servers = status.servers.iter().map(|it| server(it, now));
    json!({
        "namespace": *status.key.namespace,
        "name": *status.key.name,
        "addresses": status.entrances.load_balancers,
        "nodeAddresses": status.entrances.nodes,
        "servers": servers.collect::<Value>(),
        "conditions": conditions.collect::<Value>(),
        "missing": missing.collect::<Value>(),
    })
}

fn server(status: &ServerStatus, now: Timestamp) -> Value {
    let port = status.server.port.as_ref();
    let attached = status.attached.by.iter().map(
        |(key, routes)| json!({"namespace": *key.namespace, "name": *key.name, "routes": routes}),
    );
    json!({
        "name": status.name(),
        "port": port.map(|port| port.number),
        "protocol": port.map(|port| port.protocol.as_str()),
        "tlsMode": status.server.tls.as_ref().map(|tls| json!(tls.mode)),
        "hosts": status.server.hosts,
        "exposed": status.exposed.iter().map(exposure).collect::<Value>(),
        "credentials": status.credentials.iter().map(|it| credential(it, now)).collect::<Value>(),
        "virtualServices": attached.collect::<Value>(),
        "routes": status.attached.routes(),
    })
}

fn exposure(at: &Exposure) -> Value {
    json!({
        "service": named(&at.service),
        "port": at.service_port,
        "targetPort": at.target_port,
        "nodePort": at.node_port,
        "live": at.live,
    })
}

fn credential(credential: &Credential, now: Timestamp) -> Value {
    let (state, problem, certificates): (&str, Option<String>, &[Certificate]) = match &credential
        .outcome
    {
        Outcome::Server(certificate) => ("Certificate", None, std::slice::from_ref(certificate)),
        Outcome::Authorities(certificates) => ("Authorities", None, certificates),
        Outcome::Missing => ("Missing", None, &[]),
        Outcome::NoCertificate(problem) => ("NoCertificate", Some(problem.to_string()), &[]),
        Outcome::NoPrivateKey(problem) => ("NoPrivateKey", Some(problem.to_string()), &[]),
        Outcome::NoAuthorities(problem) => ("NoAuthorities", Some(problem.to_string()), &[]),
        Outcome::Elsewhere => ("OtherNamespace", None, &[]),
        Outcome::Unread(_) => ("NotRead", None, &[]),
    };
    let certificates = certificates.iter().map(|certificate| {
        json!({
            "fingerprint": certificate.fingerprint,
            "names": certificate.names,
            "notBefore": certificate.not_before.to_string(),
            "notAfter": certificate.not_after.to_string(),
            "daysLeft": certificate.days_left(now),
        })
    });
    json!({
        "field": credential.path,
        "secret": named(&credential.secret),
        "state": state,
        "problem": problem,
        "certificates": certificates.collect::<Value>(),
    })
}

fn named(key: &ObjectKey) -> Value {
    json!({"namespace": *key.namespace, "name": *key.name})
}
