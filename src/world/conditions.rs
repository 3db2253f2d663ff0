//! Conditions that others wrote into an object's status.

use serde_json::Value;

use crate::api::conditions;
use crate::api::kind::Kind;

/// A condition that says that something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegativeCondition {
    /// Its field: `status.conditions[0]`.
    pub path: String,
    /// Its type.
    pub kind: String,
    /// Its status.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// What it says.
    pub message: String,
}

/// The types of Gateway API conditions whose `False` is bad.
const GATEWAY_API: [&str; 4] = ["Accepted", "Programmed", "ResolvedRefs", "Ready"];

/// The types of Istio's own conditions without a domain whose `False` is bad.
const ISTIO: [&str; 3] = ["ZtunnelAccepted", "WaypointAccepted", "Healthy"];

/// A status that is `True` for a part of the object only.
const PARTIALLY_INVALID: &str = "PartiallyInvalid";

/// The conditions of Istio and of the Gateway API in the status of an object that say that something is wrong. Those
/// that this program writes itself are left out, and so are those of other programs.
pub(super) fn negative(kind: Kind, status: Option<&Value>) -> Vec<NegativeCondition> {
    let Some(status) = status else {
        return Vec::new();
    };
    let is_ours = |name: &str| kind.has_status() && conditions::OURS.contains(&name);
    let counts = |name: &str| match name.split_once('/') {
        Some((domain, _)) => domain == "istio.io" || domain.ends_with(".istio.io"),
        None if kind.is_built_in() || kind.has_status() => ISTIO.contains(&name),
        None => GATEWAY_API.contains(&name),
    };
    let own = ("status.conditions".to_owned(), &status["conditions"]);
    let parents = status["parents"].as_array().into_iter().flatten();
    let parents = parents.enumerate().map(|(index, parent)| {
        let path = format!("status.parents[{index}].conditions");
        (path, &parent["conditions"])
    });
    let mut found = Vec::new();
    for (path, list) in std::iter::once(own).chain(parents) {
        for (index, condition) in list.as_array().into_iter().flatten().enumerate() {
            let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
            let (name, status, reason) = (text("type"), text("status"), text("reason"));
            let is_negative = status == "False" || reason == PARTIALLY_INVALID;
            if is_negative && counts(&name) && !is_ours(&name) {
                found.push(NegativeCondition {
                    path: format!("{path}[{index}]"),
                    kind: name,
                    status,
                    reason,
                    message: text("message"),
                });
            }
        }
    }
    found
}
