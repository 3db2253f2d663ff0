//! Why the API server does not take the ports of a Service: its answers, read.

use std::{collections::BTreeSet, ops::RangeInclusive};

use kube::core::Status;

use crate::{
    kubernetes::lease::WriteError,
    world::{PortTrouble, PortTroubleKind},
};

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A write to it brings nothing; the watch brings what there is instead.
    #[error("the object is gone, or another one has its name")]
    Gone,
    /// It will be refused again, unless something changes.
    #[error("the API server refused it: {0}")]
    Refused(Refusal),
    /// It may work the next time.
    #[error(transparent)]
    Write(WriteError),
}

/// What the API server has against a write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// One of the node ports that were asked for: the API server names the first one alone.
    #[error("node port {number}: {text}")]
    NodePort {
        number: u16,
        kind: PortTroubleKind,
        text: String,
    },
    /// There is no node port left for a port that needs one.
    #[error("{0}")]
    Exhausted(String),
    /// Others own fields that would change.
    #[error("{}", conflicts(.0))]
    Fields(Vec<Owned>),
    /// Rights, a quota or an admission policy.
    #[error("{0}")]
    Forbidden(String),
    /// The Service would be invalid.
    #[error("{0}")]
    Invalid(String),
}

/// A field of a port that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub port: u16,
    /// As in JSON.
    pub field: String,
    pub manager: String,
}

fn conflicts(owned: &[Owned]) -> String {
    let lines: Vec<String> = owned.iter().map(Owned::describe).collect();
    lines.join(", ")
}

impl Owned {
    /// For people.
    pub(super) fn describe(&self) -> String {
        format!("{:?} set its {}", self.manager, self.field)
    }
}

impl Refusal {
    /// What to tell the Gateways whose ports these are.
    pub(super) fn trouble(&self, ports: BTreeSet<u16>) -> PortTrouble {
        let (kind, text) = match self {
            Refusal::NodePort { kind, text, .. } => (*kind, text.clone()),
            Refusal::Exhausted(text) => (PortTroubleKind::NodePortsExhausted, text.clone()),
            Refusal::Fields(owned) => (PortTroubleKind::FieldConflict, conflicts(owned)),
            Refusal::Forbidden(text) => (PortTroubleKind::Forbidden, text.clone()),
            Refusal::Invalid(text) => (PortTroubleKind::Refused, text.clone()),
        };
        PortTrouble { kind, ports, text }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Api(kube::Error::Api(status)) => match read(status) {
                Some(failure) => failure,
                None => Self::Write(error),
            },
            _ => Self::Write(error),
        }
    }
}

/// `None`: nothing that says more than that it did not work this time.
fn read(status: &Status) -> Option<Failure> {
    let message = status.message.clone();
    let refused = |refusal| Some(Failure::Refused(refusal));
    match status.code {
        404 => Some(Failure::Gone),
        // A uid that is another's is a conflict as well, but not one of field managers.
        409 => match owned_fields(status) {
            owned if owned.is_empty() => Some(Failure::Gone),
            owned => refused(Refusal::Fields(owned)),
        },
        403 => refused(Refusal::Forbidden(message)),
        422 => refused(node_port(status).unwrap_or(Refusal::Invalid(message))),
        // The API server itself calls it an internal error, for want of a better word.
        500 if message.contains("allocate a nodePort") && message.contains("range is full") => {
            refused(Refusal::Exhausted("range is full".to_owned()))
        }
        401 | 408 | 429 => None,
        400..=499 => refused(Refusal::Invalid(message)),
        _ => None,
    }
}

fn causes(status: &Status) -> impl Iterator<Item = (&str, &str)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| (cause.field.as_str(), cause.message.as_str()))
}

/// The node ports that may be given, of a text that ends with `The range of valid ports is 30000-32767`.
pub(super) fn valid_node_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (_, range) = text.rsplit_once(' ')?;
    let (first, last) = range.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Reads causes such as `.spec.ports[port=8088,protocol="TCP"].targetPort` with `conflict with "kubectl-patch" using v1`.
fn owned_fields(status: &Status) -> Vec<Owned> {
    let read = |(field, message): (&str, &str)| {
        let (item, name) = field.strip_prefix(".spec.ports[port=")?.split_once("].")?;
        let port = item.split(',').next()?.parse().ok()?;
        Some(Owned {
            port,
            field: name.to_owned(),
            manager: message.split('"').nth(1)?.to_owned(),
        })
    };
    causes(status).filter_map(read).collect()
}

/// Reads a cause such as `spec.ports[3].nodePort` with `Invalid value: 30080: provided port is already allocated`.
fn node_port(status: &Status) -> Option<Refusal> {
    causes(status).find_map(|(field, message)| {
        field.strip_suffix("].nodePort")?;
        let (number, text) = message.strip_prefix("Invalid value: ")?.split_once(": ")?;
        let kind = if text.contains("already allocated") {
            PortTroubleKind::NodePortTaken
        } else if text.contains("not in the valid range") {
            PortTroubleKind::NodePortOutOfRange
        } else {
            return None;
        };
        Some(Refusal::NodePort {
            number: number.trim_matches('"').parse().ok()?,
            kind,
            text: text.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(status: Value) -> Option<Failure> {
        read(&serde_json::from_value(status).unwrap())
    }

    fn invalid(field: &str, message: &str) -> Option<Failure> {
        let cause = json!({"reason": "FieldValueInvalid", "message": message, "field": field});
        refusal(
            json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "Service is invalid",
                   "details": {"causes": [cause]}}),
        )
    }

    #[test]
    fn refused_node_ports_are_told_apart() {
        let taken = invalid(
            "spec.ports[3].nodePort",
            "Invalid value: 30080: provided port is already allocated",
        );
        let Some(Failure::Refused(Refusal::NodePort { number, kind, .. })) = taken else {
            panic!("{taken:?}");
        };
        assert_eq!((number, kind), (30080, PortTroubleKind::NodePortTaken));
        let range =
            "provided port is not in the valid range. The range of valid ports is 30000-32767";
        let outside = invalid(
            "spec.ports[3].nodePort",
            &format!("Invalid value: 80: {range}"),
        );
        assert_eq!(valid_node_ports(range), Some(30000..=32767));
        assert_eq!(valid_node_ports("provided port is already allocated"), None);
        let expected = Refusal::NodePort {
            number: 80,
            kind: PortTroubleKind::NodePortOutOfRange,
            text: range.to_owned(),
        };
        assert!(matches!(outside, Some(Failure::Refused(refusal)) if refusal == expected));
        let other = invalid("spec.ports[3].name", "Duplicate value: \"http\"");
        assert!(matches!(other, Some(Failure::Refused(Refusal::Invalid(_)))));
    }

    #[test]
    fn conflict_names_managers_and_fields_and_one_of_uids_means_that_the_service_is_gone() {
        let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"somebody\" using v1",
                           "field": ".spec.ports[port=8088,protocol=\"TCP\"].targetPort"});
        let conflict = json!({"status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed",
                              "details": {"causes": [cause]}});
        let Some(Failure::Refused(Refusal::Fields(owned))) = refusal(conflict) else {
            panic!("no conflict of fields");
        };
        let expected = Owned {
            port: 8088,
            field: "targetPort".to_owned(),
            manager: "somebody".to_owned(),
        };
        assert_eq!(owned, [expected]);
        let uid = json!({"status": "Failure", "code": 409, "reason": "Conflict", "message": "uid mismatch"});
        assert!(matches!(refusal(uid), Some(Failure::Gone)));
    }

    #[test]
    fn what_may_work_the_next_time_is_no_refusal() {
        for code in [401, 408, 429, 500, 503] {
            let status =
                json!({"status": "Failure", "code": code, "reason": "", "message": "try again"});
            assert!(refusal(status).is_none(), "{code}");
        }
        let full = json!({"status": "Failure", "code": 500, "reason": "InternalError",
            "message": "Internal error occurred: failed to allocate a nodePort: range is full"});
        assert!(matches!(
            refusal(full),
            Some(Failure::Refused(Refusal::Exhausted(_)))
        ));
    }
}
