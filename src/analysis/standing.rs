//! Conditions that rest on no message: what is said when all is well, and what only a running cluster tells.

use crate::api::kind::Kind;
use crate::gateway::{Exposure, Finding, GatewayPlan, Plan, Reason};
use crate::world::ObjectKey;

use super::conditions::{Condition, IS_READY, PORTS_EXPOSED, READY, joined};

/// How many ports are listed.
const LISTED: usize = 50;

/// The conditions of an object that stand unless a message turns them. `summary` is what is known of it beside.
pub(super) fn of(object: &ObjectKey, ports: &Plan, summary: &str) -> Vec<Condition> {
    let exposed = match object.kind {
        Kind::Gateway => ports.gateways.get(object).map(ports_exposed),
        _ => None,
    };
    let ready = (!summary.is_empty()).then(|| Condition {
        kind: READY.to_owned(),
        message: format!("{IS_READY} {summary}"),
        ..condition("True", READY, "")
    });
    exposed.into_iter().chain(ready).collect()
}

/// `PortsExposed`: false where a finding says so, unknown where there is nothing that could expose a port, where people
/// see to it, and until the API server has taken what is planned.
fn ports_exposed(gateway: &GatewayPlan) -> Condition {
    let Some(worst) = gateway.findings.iter().min_by_key(|finding| finding.reason) else {
        return match gateway.exposed.as_slice() {
            [] => condition("True", "NoPorts", "No server needs a port of a Service."),
            exposed if gateway.is_settling() => {
                let pending = exposed.iter().filter(|at| !at.live);
                condition("Unknown", "Pending", &to_come(pending))
            }
            exposed => condition("True", "Exposed", &listed(exposed)),
        };
    };
    let status = match worst.reason {
        Reason::NoPods | Reason::NoSelector | Reason::OptedOut => "Unknown",
        _ => "False",
    };
    condition(status, worst.reason.as_str(), &said(&gateway.findings))
}

fn condition(status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        kind: PORTS_EXPOSED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn said(findings: &[Finding]) -> String {
    let lines = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.path, finding.text));
    limited(lines, findings.len(), " | ")
}

/// The ports that are not there yet.
fn to_come<'a>(pending: impl Iterator<Item = &'a Exposure>) -> String {
    let line = |at: &Exposure| {
        format!(
            "{} is about to be on Service {}",
            at.port,
            at.service.qualified_name()
        )
    };
    let lines: Vec<String> = pending.map(line).collect();
    let count = lines.len();
    limited(lines.into_iter(), count, "; ")
}

/// Every port with its way to the pods.
fn listed(exposed: &[Exposure]) -> String {
    let line = |at: &Exposure| {
        let mut line = format!(
            "{} on Service {} port {}",
            at.port,
            at.service.qualified_name(),
            at.service_port
        );
        if let Some(port) = at.node_port {
            line.push_str(&format!(", node port {port}"));
        }
        if let Some(port) = at.target_port {
            line.push_str(&format!(", pods listen on {port}"));
        }
        line
    };
    limited(exposed.iter().map(line), exposed.len(), "; ")
}

/// The first lines, as far as they fit into a condition: what the API server or a webhook said may be long.
fn limited(lines: impl Iterator<Item = String>, count: usize, separator: &str) -> String {
    let mut lines: Vec<String> = lines.take(LISTED).collect();
    if count > LISTED {
        lines.push(format!("and {} more", count - LISTED));
    }
    joined(lines.into_iter(), separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_fits_into_a_condition_however_long_the_findings_are() {
        let finding = |index: usize| Finding {
            reason: Reason::Forbidden,
            path: format!("spec.servers[{index}].port"),
            text: "because a webhook says a lot ".repeat(100),
        };
        let gateway = GatewayPlan {
            exposed: Vec::new(),
            findings: (0..100).map(finding).collect(),
        };
        let condition = ports_exposed(&gateway);
        assert_eq!(condition.reason, "Forbidden");
        assert!(
            condition.message.len() <= 32 * 1024,
            "{}",
            condition.message.len()
        );
        assert!(condition.message.ends_with(" more"));
    }
}
