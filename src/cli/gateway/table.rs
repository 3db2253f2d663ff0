//! Gateways as tables, for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Shown;
use crate::analysis::conditions::READY;
use crate::analysis::credentials::{Credential, Outcome};
use crate::analysis::gateway_status::ServerStatus;
use crate::api::text::enumeration;
use crate::world::{Certificate, Readable};

/// The columns of a Gateway's servers.
const COLUMNS: [&str; 8] = [
    "SERVER",
    "PORT",
    "TARGET",
    "NODE PORT",
    "SERVICE",
    "CERTIFICATE",
    "HOSTS",
    "ROUTES",
];

/// All of them, one after the other.
pub(super) fn of(gateways: &[Shown], now: Timestamp) -> String {
    let tables: Vec<String> = gateways.iter().map(|gateway| one(gateway, now)).collect();
    tables.join("\n")
}

fn one(gateway: &Shown, now: Timestamp) -> String {
    let status = &gateway.status;
    let mut text = format!(
        "Gateway {}: {}",
        status.key.qualified_name(),
        readiness(gateway)
    );
    let entrances = &status.entrances;
    if !entrances.load_balancers.is_empty() {
        let _ = write!(text, ", at {}", entrances.load_balancers.join(", "));
    }
    if !entrances.nodes.is_empty() {
        let nodes = enumeration(&entrances.nodes);
        let _ = write!(text, ", node ports at {nodes}");
    }
    text.push('\n');
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(
        status
            .servers
            .iter()
            .flat_map(|server| rows_of(server, now)),
    );
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    for message in &gateway.missing {
        let _ = writeln!(
            text,
            "{} [{}] {}",
            message.level,
            message.code,
            message.line()
        );
    }
    if let Some(told) = &gateway.told {
        let _ = writeln!(
            text,
            "{}={} ({}) {}",
            told.kind, told.status, told.reason, told.message
        );
    }
    text
}

fn readiness(gateway: &Shown) -> String {
    let ready = gateway
        .conditions
        .iter()
        .find(|condition| condition.kind == READY);
    match ready {
        Some(ready) if ready.status == "True" => "ready".to_owned(),
        Some(ready) => format!("not ready ({})", ready.reason),
        None => "unknown".to_owned(),
    }
}

/// A row for each Service that exposes the server, and at least one.
fn rows_of(server: &ServerStatus, now: Timestamp) -> Vec<[String; COLUMNS.len()]> {
    let port = server.server.port.as_ref();
    let port = port.map_or_else(String::new, |port| {
        format!("{}/{}", port.number, port.protocol)
    });
    let number = |number: Option<u16>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let mut ways: Vec<[String; 3]> = server
        .exposed
        .iter()
        .map(|at| {
            let to_come = if at.live { "" } else { " (to come)" };
            let service = format!(
                "{}:{}{to_come}",
                at.service.qualified_name(),
                at.service_port
            );
            [number(at.target_port), number(at.node_port), service]
        })
        .collect();
    if ways.is_empty() {
        ways.push([(); 3].map(|()| "-".to_owned()));
    }
    let certificates: Vec<String> = server
        .credentials
        .iter()
        .map(|credential| certificate(credential, now))
        .collect();
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    ways.into_iter()
        .enumerate()
        .map(|(index, [target, node, service])| {
            let once = |text: String| {
                if index == 0 {
                    or_dash(text)
                } else {
                    String::new()
                }
            };
            [
                once(server.name().to_owned()),
                once(port.clone()),
                target,
                node,
                service,
                once(certificates.join(", ")),
                once(server.server.hosts.join(",")),
                once(server.attached.summary()),
            ]
        })
        .collect()
}

fn certificate(credential: &Credential, now: Timestamp) -> String {
    let name = &credential.secret.name;
    let days = |certificate: &Certificate| match certificate.days_left(now) {
        days if days < 0 => format!("expired {} days ago", -days),
        days => format!("{days} days left"),
    };
    match &credential.outcome {
        Outcome::Server(certificate) => format!("{name}: {}", days(certificate)),
        Outcome::Authorities(certificates) => {
            let first = certificates
                .iter()
                .min_by_key(|certificate| certificate.not_after);
            format!(
                "{name}, authorities: {}",
                first.map_or_else(String::new, days)
            )
        }
        Outcome::Missing => format!("{name}: missing"),
        Outcome::NoCertificate(_) => format!("{name}: no certificate"),
        Outcome::NoPrivateKey(_) => format!("{name}: wrong private key"),
        Outcome::NoAuthorities(_) => format!("{name}: no authorities"),
        Outcome::Elsewhere => format!("{}: other namespace", credential.secret.qualified_name()),
        Outcome::Unread(Readable::Refused) => format!("{name}: may not be read"),
        Outcome::Unread(_) => format!("{name}: not read"),
    }
}
