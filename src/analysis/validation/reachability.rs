//! Routes that nothing reaches, because earlier ones match the same.

use std::collections::HashMap;

use serde::Serialize;

use crate::analysis::matching::{Condition, Earlier};
use crate::api::networking::{
    HTTPMatchRequest, HTTPRoute, L4MatchAttributes, TLSMatchAttributes, VirtualServiceSpec,
};
use crate::api::text::enumeration;

use super::report::{Field, Finding};

/// Checks the routes of a VirtualService in a namespace.
pub fn check(at: &Field<'_>, spec: &VirtualServiceSpec, namespace: &str) {
    let hands_on = |route: &HTTPRoute| route.delegate.is_some();
    let http = spec.http.iter();
    let http = http.map(|route| (route.r#match.as_slice(), hands_on(route)));
    let tls = spec
        .tls
        .iter()
        .map(|route| (route.r#match.as_slice(), false));
    let tcp = spec
        .tcp
        .iter()
        .map(|route| (route.r#match.as_slice(), false));
    let conditions = spec.http.iter().map(|route| route.r#match.len());
    if conditions.sum::<usize>() > 1 {
        let wider = WiderRequests {
            namespace,
            routes: &spec.http,
            earlier: Earlier::default(),
        };
        routes(&at.member("http"), http, wider);
    } else {
        routes(&at.member("http"), http, Nothing);
    }
    routes(&at.member("tls"), tls, Nothing);
    routes(&at.member("tcp"), tcp, Nothing);
}

/// A condition of a route.
trait Match: Serialize {
    /// A text that two conditions share when they take the same traffic.
    fn identity(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// Finds earlier conditions that take all of a condition's traffic, and more.
trait Wider<'a, M> {
    fn push(&mut self, place: Place, condition: &'a M);
    fn first(&self, condition: &'a M) -> Covering;
}

/// The first earlier conditions that take all of one's traffic.
#[derive(Clone, Copy, Default)]
struct Covering {
    /// Whatever they compare.
    any: Option<Place>,
    /// By their path prefixes, as Istio looks for them.
    by_prefix: Option<Place>,
}

/// Checks routes: their matches, and whether each hands requests on to a delegate, which may leave some to the next route.
fn routes<'a, M: Match + 'a>(
    at: &Field<'_>,
    routes: impl Iterator<Item = (&'a [M], bool)>,
    mut wider: impl Wider<'a, M>,
) {
    let mut by_identity: HashMap<String, Place> = HashMap::new();
    let mut catches_all = None;
    let mut is_bare = None;
    for (index, (matches, hands_on)) in routes.enumerate() {
        let at = at.index(index);
        // Of two routes without a match Istio says it even where the first one hands requests on.
        let before = catches_all.or(is_bare.filter(|_| matches.is_empty()));
        if let Some(before) = before {
            at.report(Finding::UnreachableRoute, format!("never applies: the route before it at index {before} has no match and takes everything"));
        }
        if matches.is_empty() {
            is_bare = is_bare.or(Some(index));
            catches_all = catches_all.or((!hands_on).then_some(index));
        }
        let mut repeats = !matches.is_empty();
        let mut covering = Vec::new();
        for (number, condition) in matches.iter().enumerate() {
            let identity = condition.identity();
            let same = identity
                .as_ref()
                .and_then(|text| by_identity.get(text).copied());
            let found = wider.first(condition);
            if let Some((route, earlier)) = same.or(found.by_prefix) {
                let text = format!(
                    "adds nothing: the match at index {earlier} of the route at index {route} takes the same requests before it"
                );
                at.member("match")
                    .index(number)
                    .report(Finding::IneffectiveMatch, text);
            }
            repeats &= same.is_some();
            covering.extend(found.any.filter(|(route, _)| *route < index));
            if let Some(identity) = identity {
                by_identity.entry(identity).or_insert((index, number));
            }
            wider.push((index, number), condition);
        }
        if repeats {
            at.report(
                Finding::UnreachableRoute,
                "never applies: earlier matches take everything that it matches",
            );
        } else if !matches.is_empty() && covering.len() == matches.len() && catches_all.is_none() {
            covering.sort_unstable();
            covering.dedup();
            let verb = if covering.len() == 1 { "takes" } else { "take" };
            let by = covering.iter();
            let by = by.map(|(route, number)| format!("spec.http[{route}].match[{number}]"));
            at.report(
                Finding::ShadowedRoute,
                format!(
                    "is never used: {} {verb} its requests before",
                    enumeration(by)
                ),
            );
        }
    }
}

/// Index of a route, and of a match in it.
type Place = (usize, usize);

/// HTTP conditions so far.
struct WiderRequests<'a> {
    namespace: &'a str,
    routes: &'a [HTTPRoute],
    earlier: Earlier<'a, Place>,
}

impl<'a> WiderRequests<'a> {
    fn condition(&self, request: &'a HTTPMatchRequest) -> Condition<'a> {
        Condition {
            request,
            namespace: self.namespace,
        }
    }
}

impl<'a> Wider<'a, HTTPMatchRequest> for WiderRequests<'a> {
    fn push(&mut self, place: Place, request: &'a HTTPMatchRequest) {
        self.earlier.push(place, self.condition(request));
    }

    fn first(&self, request: &'a HTTPMatchRequest) -> Covering {
        let has_prefix = |request: &HTTPMatchRequest| {
            request.uri.as_ref().is_some_and(|uri| uri.prefix.is_some())
        };
        let keeps = |(route, _): Place| {
            let route = self.routes.get(route);
            route.is_some_and(|route| route.delegate.is_none())
        };
        let condition = self.condition(request);
        let find = |asked_for: &dyn Fn(Place, &HTTPMatchRequest) -> bool| {
            self.earlier.first_covering(&condition, asked_for)
        };
        let by_prefix = has_prefix(request).then(|| find(&|_, request| has_prefix(request)));
        Covering {
            any: find(&|place, _| keeps(place)),
            by_prefix: by_prefix.flatten(),
        }
    }
}

/// Conditions of TLS and TCP are compared as a whole alone.
struct Nothing;

impl<'a, M> Wider<'a, M> for Nothing {
    fn push(&mut self, _: Place, _: &'a M) {}

    fn first(&self, _: &'a M) -> Covering {
        Covering::default()
    }
}

impl Match for HTTPMatchRequest {
    /// Names are for logs alone.
    fn identity(&self) -> Option<String> {
        if self.name.is_empty() {
            return serde_json::to_string(self).ok();
        }
        let unnamed = HTTPMatchRequest {
            name: String::new(),
            ..self.clone()
        };
        serde_json::to_string(&unnamed).ok()
    }
}

impl Match for TLSMatchAttributes {}

impl Match for L4MatchAttributes {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::report::{Problem, Report};
    use super::*;

    fn problems(http: Vec<Value>) -> Vec<Problem> {
        let spec: VirtualServiceSpec = serde_json::from_value(json!({"http": http})).unwrap();
        let report = Report::default();
        check(&report.spec(), &spec, "shop");
        report.into_problems()
    }

    #[test]
    fn the_first_of_the_shorter_prefixes_is_named() {
        let by_prefix = |prefix: &str| json!({"match": [{"uri": {"prefix": prefix}}]});
        let prefixes = [
            "/shop/x",
            "/shop",
            "/\u{e9}a",
            "/shop/cart",
            "/",
            "/s",
            "/\u{e8}",
            "/shop/x",
        ];
        let said: Vec<(String, String)> = problems(prefixes.map(by_prefix).to_vec())
            .into_iter()
            .filter(|problem| problem.finding == Finding::IneffectiveMatch)
            .map(|problem| {
                let route = problem.text.split("route at index ").nth(1).unwrap();
                (problem.path, route.split(' ').next().unwrap().to_owned())
            })
            .collect();
        let expected = [(3, "1"), (5, "4"), (6, "4"), (7, "0")]
            .map(|(route, by)| (format!("spec.http[{route}].match[0]"), by.to_owned()));
        assert_eq!(said, expected);
    }

    #[test]
    fn routes_whose_requests_others_take_are_named_with_them() {
        let of = |matches: Value| json!({"match": matches});
        let routes = vec![
            of(json!([{"uri": {"prefix": "/shop"}}, {"headers": {"x": {"exact": "1"}}}])),
            of(json!([{"uri": {"exact": "/shop/cart"}}, {"uri": {"regex": "/shop/[0-9]+"}}])),
            of(json!([{"uri": {"exact": "/shop/cart"}}, {"uri": {"exact": "/cart"}}])),
            of(
                json!([{"uri": {"exact": "/cart"}, "headers": {"x": {"exact": "1"}}}, {"uri": {"prefix": "/shop"}}]),
            ),
        ];
        let said: Vec<String> = problems(routes)
            .into_iter()
            .filter(|problem| problem.finding == Finding::ShadowedRoute)
            .map(|problem| format!("{} {}", problem.path, problem.text))
            .collect();
        assert_eq!(
            said,
            [
                "spec.http[1] is never used: spec.http[0].match[0] takes its requests before",
                "spec.http[3] is never used: spec.http[0].match[0], spec.http[0].match[1] take its requests before",
            ]
        );
    }

    #[test]
    fn routes_that_hand_requests_on_may_leave_some_to_others() {
        let routes = vec![
            json!({"match": [{"uri": {"prefix": "/shop"}}], "delegate": {"name": "shop"}}),
            json!({"match": [{"uri": {"exact": "/shop/cart"}}]}),
            json!({"delegate": {"name": "rest"}}),
            json!({"match": [{"uri": {"exact": "/other"}}]}),
        ];
        let said = problems(routes);
        assert!(said.is_empty(), "{said:#?}");
    }

    #[test]
    fn matches_with_fewer_needs_cover_those_with_more() {
        let of = |headers: Value| json!({"match": [{"uri": {"prefix": "/"}, "headers": headers}]});
        let header = |value: &str| json!({"exact": value});
        let routes = vec![
            of(json!({"b": header("1"), "c": header("1")})),
            of(json!({"a": header("1"), "b": header("1")})),
            of(json!({"a": header("1"), "b": header("1"), "c": header("1")})),
            of(json!({"a": header("2"), "b": header("1")})),
            of(json!({})),
            of(json!({"z": header("1")})),
        ];
        let paths: Vec<String> = problems(routes)
            .into_iter()
            .map(|problem| problem.path)
            .collect();
        let expected = [2, 5].map(|route| {
            [
                format!("spec.http[{route}].match[0]"),
                format!("spec.http[{route}]"),
            ]
        });
        assert_eq!(paths, expected.concat());
    }
}
