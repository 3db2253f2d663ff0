//! What is known of hosts: a persistent map from host to entries that can be searched in both directions.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;

use crate::world::ObjectKey;

use super::host::Host;

/// Something that an object says about a host.
pub trait Entry {
    /// The host.
    fn host(&self) -> &Host;
    /// The object that says it.
    fn source(&self) -> &ObjectKey;
    /// When that object was created; the oldest comes first among the entries of a host.
    fn created(&self) -> Option<Timestamp>;
}

/// Entries by host. Those of one host are in order of age, then of namespace and name; objects without a creation
/// time (from files) come last.
#[derive(Debug)]
pub struct HostIndex<T> {
    hosts: OrdMap<Host, Arc<[Arc<T>]>>,
}

impl<T> Clone for HostIndex<T> {
    fn clone(&self) -> Self {
        HostIndex {
            hosts: self.hosts.clone(),
        }
    }
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        HostIndex {
            hosts: OrdMap::new(),
        }
    }
}

impl<T: Entry> HostIndex<T> {
    /// The entries of exactly this host.
    pub fn exact(&self, host: &Host) -> &[Arc<T>] {
        self.hosts.get(host).map_or(&[], |entries| entries)
    }

    /// The entries of wildcards that cover the host, those of the longest first.
    pub fn above<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = (Host, &'a [Arc<T>])> + 'a {
        host.wildcards_above().filter_map(|wildcard| {
            let entries = self.hosts.get(&wildcard)?;
            Some((wildcard, &**entries))
        })
    }

    /// The hosts that a wildcard covers, with their entries; nothing for a host that is no wildcard.
    pub fn below<'a>(&'a self, wildcard: &Host) -> impl Iterator<Item = (&'a Host, &'a [Arc<T>])> {
        wildcard.prefix().into_iter().flat_map(move |_| {
            self.hosts
                .range(wildcard.first_below()..)
                .take_while(move |(host, _)| wildcard.covers(host))
                .filter(move |(host, _)| *host != wildcard)
                .map(|(host, entries)| (host, &**entries))
        })
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether nothing is known of any host.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    pub(super) fn insert(&mut self, entry: T) {
        let host = entry.host().clone();
        let mut entries = self.exact(&host).to_vec();
        let rank = |entry: &T| {
            (
                entry.created().is_none(),
                entry.created(),
                entry.source().clone(),
            )
        };
        let own = rank(&entry);
        let place = entries.partition_point(|other| rank(other) <= own);
        entries.insert(place, Arc::new(entry));
        self.hosts.insert(host, entries.into());
    }

    pub(super) fn remove(&mut self, host: &Host, source: &ObjectKey) {
        let left: Vec<Arc<T>> = self
            .exact(host)
            .iter()
            .filter(|entry| entry.source() != source)
            .cloned()
            .collect();
        if left.is_empty() {
            self.hosts.remove(host);
        } else {
            self.hosts.insert(host.clone(), left.into());
        }
    }
}
