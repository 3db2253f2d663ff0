//! Whether an object is valid in itself, whatever else exists. Admission, controller and command line ask the same.
//!
//! The rules are those of Istio's validators. All problems of an object are found, each with its field path.

mod authentication;
mod authorization;
mod cel;
mod connection_pool;
mod extensions;
mod fields;
mod gateway;
mod hosts;
mod http;
mod http_actions;
mod jwks;
mod load_balancer;
mod policies;
mod protocol;
mod proxies;
mod reachability;
mod regex;
mod report;
mod routes;
mod service_entry;
mod sidecar;
mod telemetry;
mod tls;
mod traffic_policy;
mod url;
mod workload;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::api::kind::{Kind, on_istio_kind};
use crate::api::metadata::Metadata;
use crate::api::networking::DecodeError;
use crate::world::{Content, Object, ObjectKey};

use super::diagnoses as say;
use super::message::{Diagnosis, Message};

pub(super) use protocol::Protocol;
pub use report::{Field, Finding, Problem, Report};

/// A spec that can be checked in itself.
pub trait Validate {
    /// Puts down all problems of the spec, which stands at the field `at` of an object with this metadata.
    fn validate(&self, meta: &Metadata, at: &Field<'_>);
}

/// All problems of an object in itself. One that does not decode has this as its only problem.
pub fn check<S: Content + Validate>(key: &ObjectKey, object: &Object<S>) -> Vec<Message> {
    match &object.spec {
        Ok(spec) => {
            let report = Report::default();
            spec.validate(&object.meta, &report.spec());
            report
                .into_problems()
                .into_iter()
                .map(|problem| message(key, problem))
                .collect()
        }
        Err(DecodeError { path, text }) => vec![say::UNREADABLE.message(key, path, text)],
    }
}

/// All problems of an object in JSON; none for kinds that are not Istio's.
pub fn validate(object: &Value) -> Vec<Message> {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    match Kind::of(text("apiVersion"), text("kind")) {
        Some(kind) => {
            on_istio_kind!(kind, Spec => check(&ObjectKey::of(kind, object), &Object::<Spec>::read(object)), _ => Vec::new())
        }
        None => Vec::new(),
    }
}

fn message(key: &ObjectKey, problem: Problem) -> Message {
    let diagnosis: &Diagnosis = match problem.finding {
        Finding::Invalid => &say::INVALID,
        Finding::Questionable => &say::QUESTIONABLE,
        Finding::UnreachableRoute => &say::UNREACHABLE_ROUTE,
        Finding::IneffectiveMatch => &say::INEFFECTIVE_MATCH,
        Finding::ShadowedRoute => &say::ROUTE_SHADOWED,
    };
    diagnosis.message(key, problem.path, problem.text)
}
