//! The HTTP routes of a VirtualService with those of its delegates in the place of the routes that delegate.
//!
//! Istio's way (`mergeHTTPRoutes`): a delegate's route takes what both its own conditions and those of the route that
//! delegates let through. Where they do not fit, the delegate's route is left out without a word.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::networking::{HTTPMatchRequest, HTTPRoute, StringMatch, VirtualServiceSpec};
use crate::model::{Visibility, delegate_key};
use crate::world::ObjectKey;

use super::matching::Condition;
use super::view::View;

/// How much is put together for one object: pairs of conditions that are compared, and routes. Of an object for which that
/// is not enough nothing is said: the product of two lists of thousands would not fit into memory.
const MOST_MERGED: usize = 20_000;

/// One route of the result.
pub struct Route<'a> {
    /// Index in the VirtualService with the hosts.
    pub root: usize,
    /// The delegate that it is of, with the index there.
    pub delegate: Option<(ObjectKey, usize)>,
    /// The conditions of which one must hold; never none.
    pub matches: Vec<Cow<'a, HTTPMatchRequest>>,
}

impl Route<'_> {
    /// The conditions, as conditions of an object of this namespace.
    pub fn conditions<'c>(&'c self, namespace: &'c str) -> impl Iterator<Item = Condition<'c>> {
        self.matches
            .iter()
            .map(move |request| Condition { request, namespace })
    }

    /// The route in words: its field, and the object if that is a delegate.
    pub fn place(&self) -> String {
        match &self.delegate {
            Some((delegate, index)) => format!("spec.http[{index}] of {delegate}"),
            None => format!("spec.http[{}]", self.root),
        }
    }
}

/// A delegate's route that is left out.
pub struct Misfit {
    /// Index of the route that delegates.
    pub root: usize,
    /// The delegate.
    pub delegate: ObjectKey,
    /// Index of its route.
    pub route: usize,
    /// The condition there that does not fit.
    pub condition: usize,
}

/// The HTTP routes of an object, and what its delegates' have to be left out of; neither for an object of which there are
/// more than [`MOST_MERGED`].
pub fn routes<'a>(
    view: &View<'a>,
    key: &ObjectKey,
    spec: &'a VirtualServiceSpec,
) -> (Vec<Route<'a>>, Vec<Misfit>) {
    let mut routes = Vec::new();
    let mut misfits = Vec::new();
    let mut left = MOST_MERGED;
    for (root, http) in spec.http.iter().enumerate() {
        let Some(named) = &http.delegate else {
            routes.push(Route {
                root,
                delegate: None,
                matches: or_any(borrowed(&http.r#match)),
            });
            continue;
        };
        let delegate = delegate_key(named, key);
        for (index, own) in followed(view, key, &delegate).iter().enumerate() {
            let pairs = http.r#match.len().max(1) * own.r#match.len().max(1);
            let Some(rest) = left.checked_sub(pairs) else {
                return (Vec::new(), Vec::new());
            };
            left = rest;
            match joined(&http.r#match, &own.r#match) {
                Ok(matches) => routes.push(Route {
                    root,
                    delegate: Some((delegate.clone(), index)),
                    matches: or_any(matches),
                }),
                Err(condition) => misfits.push(Misfit {
                    root,
                    delegate: delegate.clone(),
                    route: index,
                    condition,
                }),
            }
        }
    }
    (routes, misfits)
}

/// The routes of a delegate, if it is one that can be followed.
fn followed<'a>(view: &View<'a>, root: &ObjectKey, delegate: &ObjectKey) -> &'a [HTTPRoute] {
    let object = view.object::<VirtualServiceSpec>(delegate);
    let Some(spec) = object.and_then(|object| object.spec()) else {
        return &[];
    };
    let default = &view.settings().default_virtual_service_export_to;
    let visibility = Visibility::of(&spec.export_to, default, &delegate.namespace);
    let delegates = spec.http.iter().any(|route| route.delegate.is_some());
    if !spec.hosts.is_empty() || delegates || !visibility.includes(&root.namespace) {
        return &[];
    }
    &spec.http
}

fn borrowed(matches: &[HTTPMatchRequest]) -> Vec<Cow<'_, HTTPMatchRequest>> {
    matches.iter().map(Cow::Borrowed).collect()
}

/// No condition means every request.
fn or_any(matches: Vec<Cow<'_, HTTPMatchRequest>>) -> Vec<Cow<'_, HTTPMatchRequest>> {
    if matches.is_empty() {
        vec![Cow::default()]
    } else {
        matches
    }
}

/// What conditions of both sides let through, or the first of the delegate's that fits none of the root's.
fn joined<'a>(
    root: &'a [HTTPMatchRequest],
    own: &'a [HTTPMatchRequest],
) -> Result<Vec<Cow<'a, HTTPMatchRequest>>, usize> {
    if root.is_empty() || own.is_empty() {
        return Ok(borrowed(if root.is_empty() { own } else { root }));
    }
    let mut all = Vec::new();
    for (index, condition) in own.iter().enumerate() {
        let before = all.len();
        let fitting = root.iter().filter(|wide| fits(wide, condition));
        all.extend(fitting.map(|wide| Cow::Owned(both(wide, condition))));
        if all.len() == before {
            return Err(index);
        }
    }
    Ok(all)
}

/// Both conditions in one: what the delegate's says itself is what counts.
fn both(root: &HTTPMatchRequest, own: &HTTPMatchRequest) -> HTTPMatchRequest {
    fn or<'t>(own: &'t str, root: &'t str) -> String {
        if own.is_empty() { root } else { own }.to_owned()
    }
    fn all<V: Clone>(root: &BTreeMap<String, V>, own: &BTreeMap<String, V>) -> BTreeMap<String, V> {
        let mut all = root.clone();
        all.extend(own.clone());
        all
    }
    HTTPMatchRequest {
        name: or(&own.name, &root.name),
        uri: own.uri.clone().or_else(|| root.uri.clone()),
        scheme: own.scheme.clone().or_else(|| root.scheme.clone()),
        method: own.method.clone().or_else(|| root.method.clone()),
        authority: own.authority.clone().or_else(|| root.authority.clone()),
        headers: all(&root.headers, &own.headers),
        port: if own.port == 0 { root.port } else { own.port },
        source_labels: all(&root.source_labels, &own.source_labels),
        gateways: if own.gateways.is_empty() {
            root.gateways.clone()
        } else {
            own.gateways.clone()
        },
        query_params: all(&root.query_params, &own.query_params),
        ignore_uri_case: own.ignore_uri_case,
        without_headers: all(&root.without_headers, &own.without_headers),
        source_namespace: or(&own.source_namespace, &root.source_namespace),
        stat_prefix: or(&own.stat_prefix, &root.stat_prefix),
    }
}

/// Whether a delegate's condition is narrower than the root's, or about something else.
fn fits(root: &HTTPMatchRequest, own: &HTTPMatchRequest) -> bool {
    let pairs = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let fit = |root: Option<&StringMatch>, own: Option<&StringMatch>| match (root, own) {
        (Some(root), Some(own)) => is_narrower(root, own),
        _ => true,
    };
    let all_fit = |root: &BTreeMap<String, StringMatch>, own: &BTreeMap<String, StringMatch>| {
        own.iter().all(|(key, own)| fit(root.get(key), Some(own)))
    };
    let labels_fit = own.source_labels.iter().all(|(key, value)| {
        root.source_labels
            .get(key)
            .is_none_or(|other| other == value)
    });
    let gateways_fit = root.gateways.is_empty()
        || own
            .gateways
            .iter()
            .all(|gateway| root.gateways.contains(gateway));
    pairs
        .into_iter()
        .all(|(root, own)| fit(root.as_ref(), own.as_ref()))
        && all_fit(&root.headers, &own.headers)
        && all_fit(&root.without_headers, &own.without_headers)
        && all_fit(&root.query_params, &own.query_params)
        && root.ignore_uri_case == own.ignore_uri_case
        && (root.port == 0 || own.port == 0 || root.port == own.port)
        && (root.source_namespace.is_empty() || root.source_namespace == own.source_namespace)
        && labels_fit
        && gateways_fit
}

/// Istio compares exact texts and beginnings; a regular expression on one side stands beside nothing on the other.
fn is_narrower(root: &StringMatch, own: &StringMatch) -> bool {
    fn set(text: &Option<String>) -> Option<&str> {
        text.as_deref().filter(|text| !text.is_empty())
    }
    let (exact, prefix, regex) = (set(&own.exact), set(&own.prefix), set(&own.regex));
    match (set(&root.exact), set(&root.prefix), set(&root.regex)) {
        (_, _, Some(_)) => false,
        _ if regex.is_some() => false,
        (Some(text), ..) => prefix.is_none() && exact == Some(text),
        (None, Some(start), None) => prefix.or(exact).is_some_and(|text| text.starts_with(start)),
        (None, None, None) => false,
    }
}
