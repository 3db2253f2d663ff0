//! Whether one condition of HTTP routes takes all requests that another one takes.
//!
//! A condition that is said to be covered is: everything here is proven from the fields alone, and what cannot be proven (a
//! regular expression inside of another) is not said. How conditions are read is Istio's way of making Envoy's matchers of
//! them (`pilot/pkg/networking/core/route`).

mod index;
mod texts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::networking::{HTTPMatchRequest, StringMatch};
use crate::model::gateway_key;
use crate::world::ObjectKey;

pub use index::Earlier;
use texts::Texts;

/// What header conditions on claims of tokens begin with.
const CLAIM: char = '@';

/// A condition in an object of a namespace, in which its Gateways are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    /// What it says.
    pub request: &'a HTTPMatchRequest,
    /// The namespace of the VirtualService with the hosts.
    pub namespace: &'a str,
}

impl<'a> Condition<'a> {
    /// Whether the condition is looked at where a Gateway's routes are made.
    pub fn is_for(&self, gateway: &ObjectKey) -> bool {
        let mut names = self.request.gateways.iter();
        self.request.gateways.is_empty()
            || names.any(|name| gateway_key(name, self.namespace).as_ref() == Some(gateway))
    }

    /// Whether every request that `other` takes is taken by this one too, wherever `other` applies.
    pub fn covers(&self, other: &Condition<'_>) -> bool {
        self.applies_wherever(other) && covers_requests(self.request, other.request)
    }

    /// As [`Condition::covers`] at one Gateway, for conditions that are [`Condition::is_for`] it.
    pub fn covers_at_gateway(&self, other: &Condition<'_>) -> bool {
        (!self.request.gateways.is_empty() || self.asks_no_more_of_clients(other))
            && covers_requests(self.request, other.request)
    }

    /// A condition with Gateways is looked at by their proxies, whatever their labels; one without by those which have its
    /// labels and are in its namespace.
    fn applies_wherever(&self, other: &Condition<'_>) -> bool {
        let (own, others) = (&self.request.gateways, &other.request.gateways);
        if own.is_empty() {
            return self.asks_no_more_of_clients(other);
        }
        // `None` stands for the sidecars.
        let keys = |names: &[String], namespace: &str| -> BTreeSet<Option<ObjectKey>> {
            let key = |name: &String| gateway_key(name, namespace);
            names.iter().map(key).collect()
        };
        !others.is_empty() && keys(others, other.namespace).is_subset(&keys(own, self.namespace))
    }

    fn asks_no_more_of_clients(&self, other: &Condition<'_>) -> bool {
        let (own, others) = (self.request, other.request);
        if own.source_labels.is_empty() && own.source_namespace.is_empty() {
            return true;
        }
        let has = |(key, value): (&String, &String)| others.source_labels.get(key) == Some(value);
        others.gateways.is_empty()
            && own.source_labels.iter().all(has)
            && (own.source_namespace.is_empty() || own.source_namespace == others.source_namespace)
    }
}

/// Whether a condition takes every request of the clients and the port for which it is looked at at all. At a gateway Istio
/// puts such routes behind those of all VirtualServices of the host.
pub fn is_catch_all(request: &HTTPMatchRequest) -> bool {
    let takes_all = |uri: &StringMatch| uri.prefix.as_deref() == Some("/");
    has_no_needs(request) && request.uri.as_ref().is_none_or(takes_all)
}

/// Whether it may be one: how a regular expression for every path is taken has changed between releases.
pub fn may_be_catch_all(request: &HTTPMatchRequest) -> bool {
    let by_regex = |uri: &StringMatch| uri.regex.is_some();
    is_catch_all(request) || (has_no_needs(request) && request.uri.as_ref().is_some_and(by_regex))
}

fn has_no_needs(request: &HTTPMatchRequest) -> bool {
    request.scheme.is_none()
        && request.method.is_none()
        && request.authority.is_none()
        && request.headers.is_empty()
        && request.without_headers.is_empty()
        && request.query_params.is_empty()
}

fn covers_requests(own: &HTTPMatchRequest, other: &HTTPMatchRequest) -> bool {
    (own.port == 0 || own.port == other.port)
        && covers_path(own, other)
        && [
            (&own.scheme, &other.scheme),
            (&own.method, &other.method),
            (&own.authority, &other.authority),
        ]
        .into_iter()
        .all(|(own, other)| covers_optional(own.as_ref(), other.as_ref()))
        && own.headers.iter().all(|(name, matcher)| {
            let other = named(&other.headers, name);
            if name.starts_with(CLAIM) {
                return other == Some(matcher);
            }
            covers_optional(Some(matcher), other)
        })
        && own
            .query_params
            .iter()
            .all(|(name, matcher)| covers_optional(Some(matcher), other.query_params.get(name)))
        && own
            .without_headers
            .iter()
            .all(|(name, matcher)| excludes(other, name, matcher))
}

/// Names of headers are compared without regard to case.
fn named<'m>(headers: &'m BTreeMap<String, StringMatch>, name: &str) -> Option<&'m StringMatch> {
    let mut all = headers.iter();
    headers.get(name).or_else(|| {
        all.find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, matcher)| matcher)
    })
}

fn covers_optional(own: Option<&StringMatch>, other: Option<&StringMatch>) -> bool {
    match (own, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(other)) => own == other || Texts::of(own).cover(&Texts::of(other)),
    }
}

/// The paths that a condition takes; one without a path takes all, which begin with a slash.
fn paths(request: &HTTPMatchRequest) -> Texts<'_> {
    match &request.uri {
        None => Texts::Begins("/".into()),
        Some(uri) if *uri == StringMatch::default() => Texts::Unknown,
        Some(uri) => Texts::of(uri),
    }
}

/// Exact paths and beginnings may ignore case; regular expressions never do, also those that stand for one path.
fn covers_path(own: &HTTPMatchRequest, other: &HTTPMatchRequest) -> bool {
    if own.ignore_uri_case == other.ignore_uri_case && own.uri == other.uri {
        return true;
    }
    let ignores_case = |request: &HTTPMatchRequest| {
        let by_regex = request.uri.as_ref().is_some_and(|uri| uri.regex.is_some());
        request.ignore_uri_case && !by_regex
    };
    let (own_paths, others) = (paths(own), paths(other));
    if ignores_case(own) {
        own_paths
            .in_small_letters()
            .cover(&others.in_small_letters())
    } else if ignores_case(other) {
        (own_paths == Texts::Any || own_paths.has_no_letters()) && own_paths.cover(&others)
    } else {
        own_paths.cover(&others)
    }
}

/// Whether a condition takes no request of which this header matches so. Where a header is not there, conditions on what it
/// must not be compare the empty text; `{}` means that it must not be there.
fn excludes(request: &HTTPMatchRequest, name: &str, matcher: &StringMatch) -> bool {
    let without = named(&request.without_headers, name);
    if without == Some(matcher) {
        return true;
    }
    if name.starts_with(CLAIM) {
        return false;
    }
    let is_presence = |matcher: &StringMatch| *matcher == StringMatch::default();
    let texts = |matcher| match Texts::of(matcher) {
        Texts::Any => Texts::Unknown,
        texts => texts,
    };
    if is_presence(matcher) {
        return false;
    }
    let unwanted = texts(matcher);
    let by_absence = |without: &StringMatch| is_presence(without) && unwanted.needs_text();
    without.is_some_and(|without| by_absence(without) || texts(without).cover(&unwanted))
        || named(&request.headers, name)
            .is_some_and(|wanted| Texts::of(wanted).is_apart_from(&unwanted))
}
