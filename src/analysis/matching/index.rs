//! Conditions in order, to be found by what they cover: there may be thousands.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::api::networking::{HTTPMatchRequest, StringMatch};

use super::texts::Texts;
use super::{Condition, paths};

/// How many conditions are compared with one. Beyond, nothing is said.
const MOST_COMPARED: usize = 256;

/// Conditions by one of their needs (empty for none), those of one need in order.
type ByNeed<'a, P> = HashMap<String, Vec<(P, Condition<'a>)>>;

/// The conditions so far, each with its place.
pub struct Earlier<'a, P> {
    /// Those that take every path, or nobody knows which.
    other: ByNeed<'a, P>,
    exact: HashMap<Cow<'a, str>, ByNeed<'a, P>>,
    beginnings: BTreeMap<Cow<'a, str>, ByNeed<'a, P>>,
    patterns: HashMap<&'a str, ByNeed<'a, P>>,
}

impl<P> Default for Earlier<'_, P> {
    fn default() -> Self {
        Earlier {
            other: HashMap::new(),
            exact: HashMap::new(),
            beginnings: BTreeMap::new(),
            patterns: HashMap::new(),
        }
    }
}

impl<'a, P: Copy + Ord> Earlier<'a, P> {
    /// Adds a condition, whose place is behind those of all others.
    pub fn push(&mut self, place: P, condition: Condition<'a>) {
        let by_need = match key(condition.request) {
            Texts::Exact(path) => self.exact.entry(path).or_default(),
            Texts::Begins(path) => self.beginnings.entry(path).or_default(),
            Texts::Regex { pattern, .. } => self.patterns.entry(pattern).or_default(),
            Texts::Any | Texts::Unknown => &mut self.other,
        };
        let mut needs = condition.request.headers.iter();
        let need = needs.next().map(|(name, matcher)| need(name, matcher));
        by_need
            .entry(need.unwrap_or_default())
            .or_default()
            .push((place, condition));
    }

    /// The first place of a condition that covers this one and is one of those that are asked for.
    pub fn first_covering(
        &self,
        condition: &Condition<'_>,
        asked_for: impl Fn(P, &HTTPMatchRequest) -> bool,
    ) -> Option<P> {
        let needs = condition.request.headers.iter();
        let of_header =
            |(name, matcher): (&String, &StringMatch)| [need(name, matcher), any_of(name)];
        let needs: Vec<String> = needs.flat_map(of_header).chain([String::new()]).collect();
        let mut left = MOST_COMPARED;
        let mut first: Option<P> = None;
        for by_need in self.candidates(condition.request) {
            for found in needs.iter().filter_map(|need| by_need.get(need)) {
                for (place, other) in found {
                    if left == 0 || first.is_some_and(|first| first <= *place) {
                        break;
                    }
                    left -= 1;
                    if asked_for(*place, other.request) && other.covers(condition) {
                        first = Some(*place);
                    }
                }
            }
        }
        first
    }

    /// The groups among which those are that take all paths of a condition.
    fn candidates(&self, request: &HTTPMatchRequest) -> Vec<&ByNeed<'a, P>> {
        let mut found = vec![&self.other];
        let (exact, begins, pattern) = match key(request) {
            Texts::Exact(path) => (Some(path.clone()), path, None),
            Texts::Begins(path) => (None, path, None),
            Texts::Regex { pattern, begins } => {
                (None, begins.to_ascii_lowercase().into(), Some(pattern))
            }
            Texts::Any | Texts::Unknown => return found,
        };
        found.extend(exact.and_then(|path| self.exact.get(&*path)));
        found.extend(pattern.and_then(|pattern| self.patterns.get(pattern)));
        found.extend(self.beginning(&begins));
        found
    }

    /// The groups of the beginnings that a path has, the longest first.
    fn beginning(&self, path: &str) -> Vec<&ByNeed<'a, P>> {
        let mut found = Vec::new();
        let mut end = Bound::Included(path.to_owned());
        loop {
            let range = (Bound::Unbounded, end.as_ref().map(String::as_str));
            let Some((beginning, group)) = self.beginnings.range::<str, _>(range).next_back()
            else {
                return found;
            };
            end = if path.starts_with(&**beginning) {
                found.push(group);
                Bound::Excluded(beginning.clone().into_owned())
            } else {
                // What the path begins with and comes before this one is part of both.
                Bound::Included(common(beginning, path).to_owned())
            };
        }
    }
}

/// The paths of a condition, in small letters: whether case matters is compared later.
fn key(request: &HTTPMatchRequest) -> Texts<'_> {
    match paths(request) {
        Texts::Regex { pattern, begins } => Texts::Regex { pattern, begins },
        texts => texts.in_small_letters(),
    }
}

/// A header with the value that it must have, if that is one.
fn need(name: &str, matcher: &StringMatch) -> String {
    match Texts::of(matcher) {
        Texts::Exact(value) => format!("{}={value}", name.to_ascii_lowercase()),
        _ => any_of(name),
    }
}

fn any_of(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// What both texts begin with.
fn common<'t>(one: &str, other: &'t str) -> &'t str {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    &other[..other.floor_char_boundary(same.count())]
}
