//! What is known of hosts: a persistent map from host to entries that can be searched in both directions.

use std::cmp::Reverse;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap, OrdSet};
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
    /// Mostly a host is looked up as it is, and has one entry.
    entries: GenericHashMap<Host, Entries<T>, RandomState, DefaultSharedPtr>,
    /// The hosts in order, so that those under a wildcard are neighbours; made when the first wildcard asks, since most
    /// indices of most meshes are never asked.
    hosts: OnceLock<OrdSet<Host>>,
    /// Those that are wildcards: mostly few, so that what covers a host is found without a search for each level.
    wildcards: OrdSet<Host>,
}

/// The entries of one host; at least one.
#[derive(Debug)]
enum Entries<T> {
    One(Arc<T>),
    Several(OrdMap<Rank, Arc<T>>),
}

/// What [`Entry::precedence`] compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    from_file: bool,
    created: Option<Timestamp>,
    source: ObjectKey,
}

impl Rank {
    fn new(created: Option<Timestamp>, source: &ObjectKey) -> Rank {
        Rank {
            from_file: created.is_none(),
            created,
            source: source.clone(),
        }
    }

    fn of<T: Entry>(entry: &T) -> Rank {
        Rank::new(entry.created(), entry.source())
    }
}

impl<T> Clone for Entries<T> {
    fn clone(&self) -> Self {
        match self {
            Entries::One(entry) => Entries::One(Arc::clone(entry)),
            Entries::Several(entries) => Entries::Several(entries.clone()),
        }
    }
}

impl<T: Entry> Entries<T> {
    /// In order, as far as they are in a range of ranks.
    fn within<'a>(
        &'a self,
        range: (Bound<Rank>, Bound<Rank>),
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let (one, several) = match self {
            Entries::One(entry) => (range.contains(&Rank::of(&**entry)).then_some(entry), None),
            Entries::Several(entries) => (None, Some(entries.range(range))),
        };
        let several = several.into_iter().flatten().map(|(_, entry)| entry);
        one.into_iter().chain(several).inspect(|_| visit())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        let (one, several) = match self {
            Entries::One(entry) => (Some(entry), None),
            Entries::Several(entries) => (None, Some(entries.values())),
        };
        let several = several.into_iter().flatten();
        one.into_iter().chain(several).inspect(|_| visit())
    }

    fn insert(&mut self, entry: Arc<T>) {
        match self {
            Entries::One(own) if own.precedence() == entry.precedence() => *own = entry,
            Entries::One(own) => {
                let both = [Arc::clone(own), entry];
                let ranked = both.map(|entry| (Rank::of(&*entry), entry));
                *self = Entries::Several(ranked.into_iter().collect());
            }
            Entries::Several(entries) => {
                entries.insert(Rank::of(&*entry), entry);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, entry: &T) -> bool {
        match self {
            Entries::One(own) => own.precedence() == entry.precedence(),
            Entries::Several(entries) => {
                entries.remove(&Rank::of(entry));
                if entries.len() < 2
                    && let Some((_, last)) = entries.get_min()
                {
                    *self = Entries::One(Arc::clone(last));
                }
                false
            }
        }
    }
}

impl<T> Clone for HostIndex<T> {
    fn clone(&self) -> Self {
        HostIndex {
            entries: self.entries.clone(),
            hosts: self.hosts.clone(),
            wildcards: self.wildcards.clone(),
        }
    }
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        HostIndex {
            entries: GenericHashMap::default(),
            hosts: OnceLock::new(),
            wildcards: OrdSet::new(),
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
        let rank = Rank::new(created, source);
        match self.entries.get(host)? {
            Entries::One(entry) => (Rank::of(&**entry) == rank).then_some(entry),
            Entries::Several(entries) => entries.get(&rank),
        }
    }

    /// The entries of exactly this host.
    pub fn exact<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let entries = self.entries.get(host).into_iter();
        entries.flat_map(Entries::all)
    }

    /// The entries of the same host that come before this one, the first first.
    pub fn before<'a>(&'a self, entry: &T) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let range = (Bound::Unbounded, Bound::Excluded(Rank::of(entry)));
        let entries = self.entries.get(entry.host());
        entries
            .map(|entries| entries.within(range))
            .into_iter()
            .flatten()
    }

    /// The entries of the same host that come after this one.
    pub fn after<'a>(&'a self, entry: &T) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let range = (Bound::Excluded(Rank::of(entry)), Bound::Unbounded);
        let entries = self.entries.get(entry.host());
        entries
            .map(|entries| entries.within(range))
            .into_iter()
            .flatten()
    }

    /// The entries of the hosts that a wildcard covers, itself left out; none for a host that is no wildcard.
    pub fn below<'a>(&'a self, wildcard: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let wildcard = wildcard.is_wildcard().then(|| wildcard.clone());
        wildcard.into_iter().flat_map(|wildcard| {
            let from = self.in_order().range(wildcard.first_below()..);
            let own = wildcard.clone();
            from.inspect(|_| visit())
                .take_while(move |host| wildcard.is_beside(host))
                .filter(move |host| **host != own && own.covers(host))
                .flat_map(|host| self.exact(host))
        })
    }

    fn in_order(&self) -> &OrdSet<Host> {
        self.hosts.get_or_init(|| {
            let mut hosts: Vec<Host> = self.entries.keys().cloned().collect();
            // In order, they are taken in several times as fast.
            hosts.sort_unstable();
            hosts.into_iter().collect()
        })
    }

    /// The entries of the wildcards that cover a host, those of the longest first.
    pub fn above<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let levels: Vec<Host> = match self.wildcards.is_empty() {
            true => Vec::new(),
            false => host.wildcards_above().collect(),
        };
        let host = host.clone();
        levels.into_iter().flat_map(move |level| {
            let of_level = self.wildcards.range(level.clone()..).inspect(|_| visit());
            let mut found: Vec<&Host> = of_level
                .take_while(|other| level.begins(other))
                .filter(|other| other.covers(&host) && **other != host)
                .collect();
            found.sort_by_key(|other| Reverse(other.len()));
            found.into_iter().flat_map(|other| self.exact(other))
        })
    }

    /// The entries of a host, of the wildcards that cover it, and of the hosts that it covers.
    pub fn around<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let covering = self.exact(host).chain(self.above(host));
        covering.chain(self.below(host))
    }

    /// How many hosts something is known of.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known of any host.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn insert(&mut self, entry: Arc<T>) {
        let host = entry.host();
        if let Some(entries) = self.entries.get_mut(host) {
            entries.insert(entry);
            return;
        }
        let host = host.clone();
        if let Some(hosts) = self.hosts.get_mut() {
            hosts.insert(host.clone());
        }
        if host.is_wildcard() {
            self.wildcards.insert(host.clone());
        }
        self.entries.insert(host, Entries::One(entry));
    }

    pub(super) fn remove(&mut self, entry: &T) {
        let host = entry.host();
        let entries = self.entries.get_mut(host);
        if entries.is_some_and(|entries| entries.remove(entry)) {
            self.entries.remove(host);
            if let Some(hosts) = self.hosts.get_mut() {
                hosts.remove(host);
            }
            self.wildcards.remove(host);
        }
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
        keep: impl Fn(&G, &T) -> bool,
        most: usize,
    ) -> Vec<&'a Arc<T>> {
        let mut found: Vec<&'a Arc<T>> = Vec::new();
        let mut filled = 0;
        for name in groups {
            let Some(group) = self.groups.get(&name) else {
                continue;
            };
            let before = found.len();
            let all = group.exact(host).chain(group.above(host));
            found.extend(all.filter(|entry| keep(&name, entry)).take(most));
            filled += usize::from(found.len() > before);
        }
        if filled > 1 {
            found.sort_by_key(|entry| {
                let of_wildcard = Reverse(entry.host().len());
                (entry.host() != host, of_wildcard, entry.precedence())
            });
            found.dedup_by(|a, b| Arc::ptr_eq(a, b));
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
