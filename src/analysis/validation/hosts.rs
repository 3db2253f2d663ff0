//! Hosts of a list, to be found by what they cover: there may be thousands.

use std::collections::HashMap;

/// No name is longer, in bytes; what is refused for its length is not looked for besides.
const LONGEST: usize = 512;

/// Hosts with their places in a list.
#[derive(Default)]
pub(super) struct Hosts<'a> {
    /// The first of each name, in small letters.
    names: HashMap<String, usize>,
    /// The first wildcard of each ending.
    endings: HashMap<&'a str, usize>,
}

impl<'a> Hosts<'a> {
    pub(super) fn new(list: &'a [String]) -> Self {
        let mut hosts = Hosts::default();
        for (index, host) in list.iter().enumerate() {
            hosts.insert(index, host);
        }
        hosts
    }

    /// Adds a host, which may be a wildcard. Of equal ones, the one that is added first stays.
    pub(super) fn insert(&mut self, index: usize, host: &'a str) {
        match host.strip_prefix('*') {
            Some(ending) => self.endings.entry(ending).or_insert(index),
            None => self.names.entry(host.to_ascii_lowercase()).or_insert(index),
        };
    }

    /// The places of those that cover this host, which may be a wildcard: that stand for all that it stands for.
    pub(super) fn covering(&self, host: &str) -> impl Iterator<Item = usize> {
        let name = self.names.get(&host.to_ascii_lowercase());
        let stem = host.strip_prefix('*').unwrap_or(host);
        let stem = if host.len() <= LONGEST { stem } else { "" };
        let endings = stem.char_indices().map(|(at, _)| &stem[at..]).chain([""]);
        name.into_iter()
            .chain(endings.filter_map(|ending| self.endings.get(ending)))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(wide: &str, narrow: &str) -> bool {
        match wide.strip_prefix('*') {
            Some(suffix) => narrow.strip_prefix('*').unwrap_or(narrow).ends_with(suffix),
            None => wide.eq_ignore_ascii_case(narrow),
        }
    }

    proptest! {
        #[test]
        fn hosts_are_found_as_if_each_was_looked_at(
            list in prop::collection::vec("[*]?[.aAb]{0,3}", 0..6),
        ) {
            let hosts = Hosts::new(&list);
            for (index, host) in list.iter().enumerate() {
                let expected = (0..list.len()).find(|&other| {
                    other != index
                        && covers(&list[other], host)
                        && (other < index || !covers(host, &list[other]))
                });
                let found = hosts.covering(host).filter(|other| *other != index).min();
                prop_assert_eq!(found, expected, "{:?} at {}", &list, index);
            }
        }
    }
}
