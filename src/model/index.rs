//! What is known of hosts: a persistent map from host to entries that can be searched in both directions.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;

use crate::world::ObjectKey;

use super::host::Host;
use super::visit;

/// Something that an object says about a host.
pub trait Entry {
    /// The host.
    fn host(&self) -> &Host;
    /// The object that says it.
    fn source(&self) -> &ObjectKey;
    /// When that object was created.
    fn created(&self) -> Option<Timestamp>;
    /// Whether it says the same about the host; false where that would take long to tell.
    fn says_the_same(&self, other: &Self) -> bool;

    /// What puts the entries of one host in order: age, then namespace and name; objects without a creation time (from
    /// files) come last.
    fn precedence(&self) -> (bool, Option<Timestamp>, &ObjectKey) {
        let created = self.created();
        (created.is_none(), created, self.source())
    }
}

/// Entries by host. Those of one host are in order of [`Entry::precedence`]. An object has at most one entry for a host.
#[derive(Debug)]
pub struct HostIndex<T> {
    entries: OrdMap<Place, Arc<T>>,
    /// Those of wildcards once more: mostly few, so that what covers a host is found without a search for each level.
    wildcards: OrdMap<Place, Arc<T>>,
}

/// Where an entry stands. One flat map serves hosts with one entry and hosts with thousands alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: Host,
    /// `None` is the place before all entries of the host.
    rank: Option<Rank>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    from_file: bool,
    created: Option<Timestamp>,
    source: ObjectKey,
}

impl Place {
    fn first(host: &Host) -> Place {
        Place {
            host: host.clone(),
            rank: None,
        }
    }

    fn new(host: &Host, created: Option<Timestamp>, source: &ObjectKey) -> Place {
        let rank = Rank {
            from_file: created.is_none(),
            created,
            source: source.clone(),
        };
        Place {
            host: host.clone(),
            rank: Some(rank),
        }
    }

    fn of<T: Entry>(entry: &T) -> Place {
        Place::new(entry.host(), entry.created(), entry.source())
    }
}

impl<T> Clone for HostIndex<T> {
    fn clone(&self) -> Self {
        HostIndex {
            entries: self.entries.clone(),
            wildcards: self.wildcards.clone(),
        }
    }
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        HostIndex {
            entries: OrdMap::new(),
            wildcards: OrdMap::new(),
        }
    }
}

impl<T: Entry> HostIndex<T> {
    /// What an object that was created then says about a host.
    pub fn get(
        &self,
        host: &Host,
        created: Option<Timestamp>,
        source: &ObjectKey,
    ) -> Option<&Arc<T>> {
        self.entries.get(&Place::new(host, created, source))
    }

    /// The entries of exactly this host.
    pub fn exact<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let host = host.clone();
        let from = self.entries.range(Place::first(&host)..);
        from.inspect(|_| visit())
            .take_while(move |(place, _)| place.host == host)
            .map(|(_, entry)| entry)
    }

    /// The entries of the same host that come before this one, the first first.
    pub fn before<'a>(&'a self, entry: &T) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let range = Place::first(entry.host())..Place::of(entry);
        let range = self.entries.range(range).inspect(|_| visit());
        range.map(|(_, entry)| entry)
    }

    /// The entries of the same host that come after this one.
    pub fn after<'a>(&'a self, entry: &T) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let host = entry.host().clone();
        let from = self
            .entries
            .range((Bound::Excluded(Place::of(entry)), Bound::Unbounded));
        from.inspect(|_| visit())
            .take_while(move |(place, _)| place.host == host)
            .map(|(_, entry)| entry)
    }

    /// The entries of the hosts that a wildcard covers, itself left out; none for a host that is no wildcard.
    pub fn below<'a>(&'a self, wildcard: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let wildcard = wildcard.clone();
        let from = wildcard
            .is_wildcard()
            .then(|| self.entries.range(Place::first(&wildcard.first_below())..));
        let own = wildcard.clone();
        from.into_iter()
            .flatten()
            .inspect(|_| visit())
            .take_while(move |(place, _)| wildcard.is_beside(&place.host))
            .filter(move |(place, _)| place.host != own && own.covers(&place.host))
            .map(|(_, entry)| entry)
    }

    /// The entries of the wildcards that cover a host, those of the longest first.
    pub fn above<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let levels: Vec<Host> = match self.wildcards.is_empty() {
            true => Vec::new(),
            false => host.wildcards_above().collect(),
        };
        let host = host.clone();
        levels.into_iter().flat_map(move |level| {
            let above = host.clone();
            let is_above = move |other: &Host| other.covers(&above) && *other != above;
            let all = |from: Place| self.wildcards.range(from..).inspect(|_| visit());
            // The plainest of the level are the shortest, and may be many: they are looked at only when they are reached.
            let next = level.clone();
            let mut longer: Vec<&'a Arc<T>> = all(Place::first(&level.next()))
                .take_while(|(place, _)| next.begins(&place.host))
                .filter(|(place, _)| is_above(&place.host))
                .map(|(_, entry)| entry)
                .collect();
            longer.sort_by_key(|entry| Reverse(entry.host().len()));
            let plain = is_above(&level).then(|| all(Place::first(&level)));
            let plain = plain.into_iter().flatten();
            let plain = plain.take_while(move |(place, _)| place.host == level);
            longer.into_iter().chain(plain.map(|(_, entry)| entry))
        })
    }

    /// The entries of a host, of the wildcards that cover it, and of the hosts that it covers.
    pub fn around<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let covering = self.exact(host).chain(self.above(host));
        covering.chain(self.below(host))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known of any host.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn insert(&mut self, entry: Arc<T>) {
        let place = Place::of(&*entry);
        if place.host.is_wildcard() {
            self.wildcards.insert(place.clone(), Arc::clone(&entry));
        }
        self.entries.insert(place, entry);
    }

    pub(super) fn remove(&mut self, entry: &T) {
        let place = Place::of(entry);
        if place.host.is_wildcard() {
            self.wildcards.remove(&place);
        }
        self.entries.remove(&place);
    }
}

/// An index for each of several groups of entries; an entry may be in many of them.
#[derive(Debug)]
pub struct Grouped<G: Ord, T> {
    groups: OrdMap<G, HostIndex<T>>,
}

impl<G: Ord, T> Clone for Grouped<G, T> {
    fn clone(&self) -> Self {
        Grouped {
            groups: self.groups.clone(),
        }
    }
}

impl<G: Ord, T> Default for Grouped<G, T> {
    fn default() -> Self {
        Grouped {
            groups: OrdMap::new(),
        }
    }
}

impl<G: Ord + Clone, T: Entry> Grouped<G, T> {
    /// The entries of one group; `None` where there are none.
    pub fn of(&self, group: &G) -> Option<&HostIndex<T>> {
        self.groups.get(group)
    }

    /// The entries in any of these groups that are kept and concern a host, each once: its own, then those of wildcards that
    /// cover it (the longest first). Of each group so many at most.
    pub fn concerning<'a>(
        &'a self,
        host: &Host,
        groups: impl IntoIterator<Item = G>,
        keep: impl Fn(&T) -> bool,
        most: usize,
    ) -> Vec<&'a Arc<T>> {
        let mut found: Vec<&'a Arc<T>> = Vec::new();
        for group in groups
            .into_iter()
            .filter_map(|group| self.groups.get(&group))
        {
            let is_first = found.is_empty();
            let all = group.exact(host).chain(group.above(host));
            found.extend(all.filter(|entry| keep(entry)).take(most));
            if !is_first {
                found.sort_by_key(|entry| {
                    let of_wildcard = Reverse(entry.host().len());
                    (entry.host() != host, of_wildcard, entry.precedence())
                });
                found.dedup_by(|a, b| Arc::ptr_eq(a, b));
            }
        }
        found
    }

    /// The entry that comes first of those in any of these groups which [precede](Entry::precedence) another entry of the
    /// same host, with its group; of several groups, the first.
    pub fn first_before<'a>(
        &'a self,
        entry: &T,
        groups: impl IntoIterator<Item = G>,
    ) -> Option<(G, &'a Arc<T>)> {
        self.first(groups, |index| index.before(entry).next())
    }

    /// As [`Grouped::first_before`], of those which come after.
    pub fn first_after<'a>(
        &'a self,
        entry: &T,
        groups: impl IntoIterator<Item = G>,
    ) -> Option<(G, &'a Arc<T>)> {
        self.first(groups, |index| index.after(entry).next())
    }

    fn first<'a>(
        &'a self,
        groups: impl IntoIterator<Item = G>,
        of: impl Fn(&'a HostIndex<T>) -> Option<&'a Arc<T>>,
    ) -> Option<(G, &'a Arc<T>)> {
        groups
            .into_iter()
            .filter_map(|group| Some((of(self.groups.get(&group)?)?, group)))
            .min_by(|(a, _), (b, _)| a.precedence().cmp(&b.precedence()))
            .map(|(entry, group)| (group, entry))
    }

    pub(super) fn insert(&mut self, group: G, entry: Arc<T>) {
        self.groups.entry(group).or_default().insert(entry);
    }

    pub(super) fn remove(&mut self, group: &G, entry: &T) {
        let Some(index) = self.groups.get_mut(group) else {
            return;
        };
        index.remove(entry);
        if index.is_empty() {
            self.groups.remove(group);
        }
    }
}
