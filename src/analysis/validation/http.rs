//! HTTP routes of a VirtualService.

use std::collections::BTreeMap;

use crate::api::networking::{
    HTTPMatchRequest, HTTPMirrorPolicy, HTTPRoute, HTTPRouteDestination, HeaderOperations, Headers,
    StringMatch,
};
use crate::api::parse;

use super::fields;
use super::http_actions;
use super::regex;
use super::report::Field;
use super::routes;

/// What the VirtualService around a route is.
#[derive(Clone, Copy)]
pub struct Context {
    /// It has no hosts: others delegate to it.
    pub delegated: bool,
    /// It is bound to a gateway.
    pub for_gateways: bool,
}

pub fn route(at: &Field<'_>, route: &HTTPRoute, context: Context) {
    conflicts(at, route, context);
    at.each("match", &route.r#match, |at, request| {
        match_request(at, request, context)
    });
    at.within_box("headers", &route.headers, headers);
    at.within_box("corsPolicy", &route.cors_policy, http_actions::cors);
    at.within_box("fault", &route.fault, http_actions::fault);
    at.within_box("redirect", &route.redirect, http_actions::redirect);
    at.within(
        "directResponse",
        &route.direct_response,
        http_actions::direct_response,
    );
    at.within_box("retries", &route.retries, http_actions::retries);
    at.within_box("rewrite", &route.rewrite, http_actions::rewrite);
    fields::duration(&at.member("timeout"), &route.timeout);
    mirrors(at, route);
    at.each("route", &route.route, destination);
    routes::weights(at, route.route.iter().map(|weighted| weighted.weight));
    prefix_rewrite(at, route);
    if route
        .rewrite
        .as_ref()
        .is_some_and(|rewrite| !rewrite.authority.is_empty())
        && sets_authority(route)
    {
        at.member("rewrite")
            .member("authority")
            .invalid("the authority is set twice: here and by a request header");
    }
}

/// What cannot stand beside each other, and what must be there at all.
fn conflicts(at: &Field<'_>, route: &HTTPRoute, context: Context) {
    let delegates = route.delegate.is_some();
    if delegates && context.delegated {
        at.member("delegate")
            .invalid("a VirtualService that is delegated to cannot delegate on");
    }
    let present = [
        ("delegate", delegates),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("route", !route.route.is_empty()),
    ];
    let mut actions = present
        .iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| *name);
    let Some(action) = actions.next() else {
        at.invalid("one of route, redirect, directResponse, delegate is needed");
        return;
    };
    for other in actions {
        at.member(other)
            .invalid(format!("cannot stand beside {action}"));
    }
    if matches!(action, "redirect" | "directResponse") {
        for (other, present) in [
            ("fault", route.fault.is_some()),
            ("rewrite", route.rewrite.is_some()),
        ] {
            if present {
                at.member(other)
                    .invalid(format!("cannot stand beside {action}"));
            }
        }
    }
}

fn match_request(at: &Field<'_>, request: &HTTPMatchRequest, context: Context) {
    at.within("uri", &request.uri, uri_match);
    for (name, value) in [
        ("scheme", &request.scheme),
        ("method", &request.method),
        ("authority", &request.authority),
    ] {
        at.within(name, value, string_match);
    }
    header_matches(&at.member("headers"), &request.headers, context);
    header_matches(
        &at.member("withoutHeaders"),
        &request.without_headers,
        context,
    );
    let parameters = at.member("queryParams");
    for (name, value) in &request.query_params {
        string_match(&parameters.key(name), value);
    }
    fields::optional_port(&at.member("port"), request.port);
    fields::labels(&at.member("sourceLabels"), &request.source_labels);
    fields::gateway_names(&at.member("gateways"), &request.gateways);
    routes::source_namespace(at, &request.source_namespace);
}

fn header_matches(at: &Field<'_>, matches: &BTreeMap<String, StringMatch>, context: Context) {
    for (name, value) in matches {
        let at = at.key(name);
        if name.is_empty() {
            at.invalid("a header's name must not be empty");
        } else if name.starts_with("@request.auth.claims") && !context.for_gateways {
            at.invalid("claims of a JWT can be matched only at a gateway");
        }
        // Older versions of Istio took the regular expression "*" for "the header is there", and it still does.
        if value.regex.as_deref() != Some("*") {
            string_match(&at, value);
        }
    }
}

/// A matcher: at most one of its members, a prefix or regular expression that says something.
pub(super) fn string_match(at: &Field<'_>, value: &StringMatch) {
    let members = [
        ("exact", value.exact.is_some()),
        ("prefix", value.prefix.is_some()),
        ("regex", value.regex.is_some()),
    ];
    fields::only_one(at, &members);
    if value.prefix.as_deref() == Some("") {
        at.member("prefix")
            .invalid("an empty prefix matches everything; leave the match out");
    }
    regular_expression(at, value);
}

/// As [`string_match`] for a path, where an empty prefix is in use for "everything".
fn uri_match(at: &Field<'_>, value: &StringMatch) {
    if value.prefix.as_deref() == Some("") && value.exact.is_none() && value.regex.is_none() {
        at.member("prefix")
            .questionable("an empty prefix matches everything; '/' says the same and is clearer");
    } else {
        string_match(at, value);
    }
}

fn regular_expression(at: &Field<'_>, value: &StringMatch) {
    match value.regex.as_deref() {
        Some("") => at
            .member("regex")
            .invalid("an empty regular expression matches everything; leave the match out"),
        Some(pattern) => at.member("regex").check(regex::check_matcher(pattern)),
        None => {}
    }
}

fn destination(at: &Field<'_>, weighted: &HTTPRouteDestination) {
    match &weighted.destination {
        Some(destination) => fields::destination(&at.member("destination"), destination),
        None => at.member("destination").invalid("a destination is needed"),
    }
    at.within("headers", &weighted.headers, headers);
}

fn headers(at: &Field<'_>, headers: &Headers) {
    at.within("request", &headers.request, |at, operations| {
        header_operations(at, operations, true)
    });
    at.within("response", &headers.response, |at, operations| {
        header_operations(at, operations, false)
    });
}

fn header_operations(at: &Field<'_>, operations: &HeaderOperations, request: bool) {
    for (member, values) in [("set", &operations.set), ("add", &operations.add)] {
        let at = at.member(member);
        for (name, value) in values {
            let at = at.key(name);
            header_name(&at, name, request);
            if !has_balanced_percents(value) {
                at.invalid(format!("{value:?} has a '%' that begins no Envoy variable such as %HOSTNAME%; a plain one is written %%"));
            }
        }
    }
    at.each("remove", &operations.remove, |at, name| {
        header_name(at, name, false)
    });
}

/// A header that is changed. Only a request's authority can be changed among the pseudo-headers.
fn header_name(at: &Field<'_>, name: &str, authority_allowed: bool) {
    if name.is_empty() {
        at.invalid("a header's name must not be empty");
    } else if name.starts_with(':')
        && !(authority_allowed && name.eq_ignore_ascii_case(":authority"))
    {
        at.invalid(format!(
            "{name:?} is a pseudo-header, which cannot be changed here"
        ));
    } else if !authority_allowed && name.eq_ignore_ascii_case("host") {
        at.invalid("the host header cannot be changed here");
    }
}

/// Whether each `%` begins a variable or is doubled.
fn has_balanced_percents(value: &str) -> bool {
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        let after = &rest[start + 1..];
        let Some(end) = after.find('%') else {
            return false;
        };
        let variable = &after[..end];
        if !variable.is_empty() && !variable.starts_with(|c: char| c.is_ascii_uppercase()) {
            return false;
        }
        rest = &after[end + 1..];
    }
    true
}

fn sets_authority(route: &HTTPRoute) -> bool {
    let request = route
        .headers
        .as_ref()
        .and_then(|headers| headers.request.as_ref());
    let is_authority = |name: &String| {
        name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
    };
    request.is_some_and(|request| {
        request
            .set
            .keys()
            .chain(request.add.keys())
            .any(is_authority)
    })
}

fn mirrors(at: &Field<'_>, route: &HTTPRoute) {
    at.within("mirror", &route.mirror, fields::destination);
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        at.member("mirrors").invalid("cannot stand beside mirror");
    }
    for (name, value) in [
        ("mirrorPercent", route.mirror_percent),
        ("mirror_percent", route.mirror_percent_snake),
    ] {
        if let Some(value) = value {
            fields::whole_percent(&at.member(name), i64::from(value));
            at.member(name)
                .questionable("is deprecated; use mirrorPercentage");
        }
    }
    fields::percent(&at.member("mirrorPercentage"), &route.mirror_percentage);
    at.each(
        "mirrors",
        &route.mirrors,
        |at, policy: &HTTPMirrorPolicy| {
            match &policy.destination {
                Some(destination) => fields::destination(&at.member("destination"), destination),
                None => at
                    .member("destination")
                    .invalid("a mirror needs a destination"),
            }
            fields::percent(&at.member("percentage"), &policy.percentage);
        },
    );
}

/// A redirect that replaces the matched prefix needs matches by prefix.
fn prefix_rewrite(at: &Field<'_>, route: &HTTPRoute) {
    let Some(redirect) = &route.redirect else {
        return;
    };
    let by_prefix =
        |request: &HTTPMatchRequest| request.uri.as_ref().is_none_or(|uri| uri.prefix.is_some());
    if !redirect.prefix_rewrite.is_empty() && !route.r#match.iter().all(by_prefix) {
        at.member("redirect")
            .member("prefixRewrite")
            .invalid("replaces a matched prefix; every match of the route must be by uri.prefix");
    }
}

/// A header's name in a list.
pub(super) fn listed_header(at: &Field<'_>, name: &str) {
    if name.is_empty() {
        at.invalid("a header's name must not be empty");
    }
}

/// A host or an address with a port number, where either may be had.
pub(super) fn host_or_address(at: &Field<'_>, host: &str) {
    if host.parse::<std::net::IpAddr>().is_err() {
        at.check(parse::dns_name(host));
    }
}
