//! Routes that nothing reaches, because earlier ones match the same.

use std::collections::BTreeMap;

use crate::api::networking::{
    HTTPMatchRequest, L4MatchAttributes, TLSMatchAttributes, VirtualServiceSpec,
};

use super::report::{Field, Finding};

pub fn check(at: &Field<'_>, spec: &VirtualServiceSpec) {
    routes(
        &at.member("http"),
        spec.http.iter().map(|route| route.r#match.as_slice()),
    );
    routes(
        &at.member("tls"),
        spec.tls.iter().map(|route| route.r#match.as_slice()),
    );
    routes(
        &at.member("tcp"),
        spec.tcp.iter().map(|route| route.r#match.as_slice()),
    );
}

/// A condition of a route.
trait Match {
    /// The same traffic.
    fn equals(&self, other: &Self) -> bool;
    /// All of the other's traffic, and more.
    fn covers(&self, _other: &Self) -> bool {
        false
    }
}

fn routes<'a, M: Match + 'a>(at: &Field<'_>, routes: impl Iterator<Item = &'a [M]>) {
    let mut earlier: Vec<(usize, usize, &M)> = Vec::new();
    let mut catches_all = None;
    for (index, matches) in routes.enumerate() {
        let at = at.index(index);
        if let Some(catches_all) = catches_all {
            at.report(Finding::UnreachableRoute, format!("never applies: the route before it at index {catches_all} has no match and takes everything"));
        }
        if matches.is_empty() {
            catches_all = catches_all.or(Some(index));
        }
        let mut repeated = 0;
        for (number, condition) in matches.iter().enumerate() {
            let same = earlier.iter().find(|(_, _, other)| other.equals(condition));
            let wider = || earlier.iter().find(|(_, _, other)| other.covers(condition));
            repeated += usize::from(same.is_some());
            if let Some((route, earlier, _)) = same.or_else(wider) {
                let text = format!(
                    "adds nothing: the match at index {earlier} of the route at index {route} takes the same requests before it"
                );
                at.member("match")
                    .index(number)
                    .report(Finding::IneffectiveMatch, text);
            }
            earlier.push((index, number, condition));
        }
        if !matches.is_empty() && repeated == matches.len() {
            at.report(
                Finding::UnreachableRoute,
                "never applies: earlier matches take everything that it matches",
            );
        }
    }
}

impl Match for HTTPMatchRequest {
    /// Names are for logs alone.
    fn equals(&self, other: &Self) -> bool {
        self.uri == other.uri
            && self.port == other.port
            && self.ignore_uri_case == other.ignore_uri_case
            && self.scheme == other.scheme
            && self.method == other.method
            && self.authority == other.authority
            && self.headers == other.headers
            && self.without_headers == other.without_headers
            && self.query_params == other.query_params
            && self.source_labels == other.source_labels
            && self.source_namespace == other.source_namespace
            && self.gateways == other.gateways
            && self.stat_prefix == other.stat_prefix
    }

    /// Covered are longer prefixes under the same or fewer further conditions.
    fn covers(&self, other: &Self) -> bool {
        let (Some(short), Some(long)) = (path_prefix(self), path_prefix(other)) else {
            return false;
        };
        let covers_path =
            long.starts_with(short) && (self.ignore_uri_case == other.ignore_uri_case);
        covers_path
            && [
                (&self.scheme, &other.scheme),
                (&self.method, &other.method),
                (&self.authority, &other.authority),
            ]
            .iter()
            .all(|(mine, others)| mine.is_none() || mine == others)
            && is_part(&self.headers, &other.headers)
            && is_part(&self.query_params, &other.query_params)
            && is_part(&self.without_headers, &other.without_headers)
            && is_part(&self.source_labels, &other.source_labels)
            && (self.port == 0 || self.port == other.port)
            && (self.source_namespace.is_empty() || self.source_namespace == other.source_namespace)
            && (self.gateways.is_empty() || self.gateways == other.gateways)
    }
}

fn path_prefix(request: &HTTPMatchRequest) -> Option<&str> {
    request.uri.as_ref()?.prefix.as_deref()
}

fn is_part<V: PartialEq>(part: &BTreeMap<String, V>, whole: &BTreeMap<String, V>) -> bool {
    part.iter()
        .all(|(key, value)| whole.get(key) == Some(value))
}

impl Match for TLSMatchAttributes {
    fn equals(&self, other: &Self) -> bool {
        self == other
    }
}

impl Match for L4MatchAttributes {
    fn equals(&self, other: &Self) -> bool {
        self == other
    }
}
