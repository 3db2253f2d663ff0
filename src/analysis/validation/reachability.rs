//! Routes that nothing reaches, because earlier ones match the same.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use serde::Serialize;

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
trait Match: Serialize {
    /// A text that two conditions share when they take the same traffic.
    fn identity(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
    /// The path prefix, by which conditions that cover each other are found; `None` for one that takes no part.
    fn prefix(&self) -> Option<&str> {
        None
    }
    /// Further needs: one that covers this has none of its own, or its first is among these.
    fn needs(&self) -> Vec<String> {
        Vec::new()
    }
    /// Whether it takes all of the other's traffic, and more. Asked only where [`Match::prefix`] begins the other's.
    fn covers(&self, _other: &Self) -> bool {
        false
    }
}

/// How many earlier conditions one is compared with, at each of as many prefixes: where there are more, what is
/// covered by a later one of them is not found. Repetitions always are.
const LOOKED_THROUGH: usize = 128;

fn routes<'a, M: Match + 'a>(at: &Field<'_>, routes: impl Iterator<Item = &'a [M]> + Clone) {
    let mut earlier = Earlier::default();
    let is_single = routes.clone().map(<[M]>::len).sum::<usize>() < 2;
    let mut catches_all = None;
    for (index, matches) in routes.enumerate() {
        let at = at.index(index);
        if let Some(catches_all) = catches_all {
            at.report(Finding::UnreachableRoute, format!("never applies: the route before it at index {catches_all} has no match and takes everything"));
        }
        if matches.is_empty() {
            catches_all = catches_all.or(Some(index));
        }
        if is_single {
            continue;
        }
        let mut repeated = 0;
        for (number, condition) in matches.iter().enumerate() {
            let identity = condition.identity();
            let same = earlier.same_as(identity.as_ref());
            repeated += usize::from(same.is_some());
            if let Some((route, earlier)) = same.or_else(|| earlier.first_wider(condition)) {
                let text = format!(
                    "adds nothing: the match at index {earlier} of the route at index {route} takes the same requests before it"
                );
                at.member("match")
                    .index(number)
                    .report(Finding::IneffectiveMatch, text);
            }
            earlier.push((index, number), identity, condition);
        }
        if !matches.is_empty() && repeated == matches.len() {
            at.report(
                Finding::UnreachableRoute,
                "never applies: earlier matches take everything that it matches",
            );
        }
    }
}

/// Index of a route, and of a match in it.
type Place = (usize, usize);

/// Conditions by their first need (empty for none), those of one need in order.
type ByNeed<'a, M> = HashMap<String, Vec<(Place, &'a M)>>;

/// The conditions so far, to be found without looking at all of them: there may be thousands.
struct Earlier<'a, M> {
    by_identity: HashMap<String, Place>,
    by_prefix: BTreeMap<&'a str, ByNeed<'a, M>>,
}

impl<M> Default for Earlier<'_, M> {
    fn default() -> Self {
        Earlier {
            by_identity: HashMap::new(),
            by_prefix: BTreeMap::new(),
        }
    }
}

impl<'a, M: Match> Earlier<'a, M> {
    fn push(&mut self, place: Place, identity: Option<String>, condition: &'a M) {
        if let Some(identity) = identity {
            self.by_identity.entry(identity).or_insert(place);
        }
        if let Some(prefix) = condition.prefix() {
            let need = condition.needs().into_iter().next().unwrap_or_default();
            let by_need = self.by_prefix.entry(prefix).or_default();
            by_need.entry(need).or_default().push((place, condition));
        }
    }

    fn same_as(&self, identity: Option<&String>) -> Option<Place> {
        self.by_identity.get(identity?).copied()
    }

    /// The first condition that covers this one.
    fn first_wider(&self, condition: &M) -> Option<Place> {
        let mut needs = condition.needs();
        needs.push(String::new());
        self.beginning(condition.prefix()?)
            .take(LOOKED_THROUGH)
            .flat_map(|by_need| needs.iter().filter_map(|need| by_need.get(need)))
            .filter_map(|found| {
                let mut first = found.iter().take(LOOKED_THROUGH);
                first.find(|(_, other)| other.covers(condition))
            })
            .map(|(place, _)| *place)
            .min()
    }

    /// The entries of the prefixes that a path begins with, the longest first.
    fn beginning<'b>(&'b self, path: &'b str) -> impl Iterator<Item = &'b ByNeed<'a, M>> {
        let mut end = Bound::Included(path);
        std::iter::from_fn(move || {
            loop {
                let range = (Bound::Unbounded, end);
                let (prefix, entry) = self.by_prefix.range::<str, _>(range).next_back()?;
                if path.starts_with(prefix) {
                    end = Bound::Excluded(prefix);
                    return Some(entry);
                }
                // What the path begins with and comes before this one is part of both.
                end = Bound::Included(common(prefix, path));
            }
        })
    }
}

/// What both texts begin with.
fn common<'t>(one: &str, other: &'t str) -> &'t str {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    &other[..other.floor_char_boundary(same.count())]
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

    fn prefix(&self) -> Option<&str> {
        self.uri.as_ref()?.prefix.as_deref()
    }

    fn needs(&self) -> Vec<String> {
        let needs = self.headers.iter().map(|one| need("header", one));
        let needs = needs
            .chain(self.query_params.iter().map(|one| need("parameter", one)))
            .chain(self.without_headers.iter().map(|one| need("without", one)))
            .chain(self.source_labels.iter().map(|one| need("label", one)))
            .chain(self.method.iter().map(|one| need("method", one)))
            .chain(self.authority.iter().map(|one| need("authority", one)))
            .chain((self.port != 0).then(|| need("port", self.port)));
        needs.collect()
    }

    /// Covered are longer prefixes under the same or fewer further conditions.
    fn covers(&self, other: &Self) -> bool {
        self.ignore_uri_case == other.ignore_uri_case
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

/// A text for something that a condition asks for, which one that it covers asks for as well.
fn need(what: &str, wanted: impl Serialize) -> String {
    serde_json::to_string(&(what, wanted)).unwrap_or_default()
}

fn is_part<V: PartialEq>(part: &BTreeMap<String, V>, whole: &BTreeMap<String, V>) -> bool {
    part.iter()
        .all(|(key, value)| whole.get(key) == Some(value))
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
        check(&report.spec(), &spec);
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
        assert_eq!(paths, ["spec.http[2].match[0]", "spec.http[5].match[0]"]);
    }
}
