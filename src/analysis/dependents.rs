//! Who must be looked at again when something changes.

use std::collections::BTreeSet;

use imbl::{OrdMap, OrdSet};

use crate::api::kind::Kind;
use crate::model::{Host, Subject, Topic, print, threads};
use crate::world::ObjectKey;

/// What one verdict looked at, in the form in which it is kept: there are many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// In order, each host once.
    hosts: Vec<(Host, Topics)>,
    /// Everything else but the next, in order, each once.
    others: Vec<Print>,
    /// The kinds of which it was asked whether there is any object.
    existence: Vec<Kind>,
}

/// Among how many hosts it is seen at once that one was looked at before: mostly it was.
const LATELY: usize = 4;

/// Topics as bits.
type Topics = u8;

/// Stands for a subject. Two subjects may share one, which costs a look too many and changes nothing else.
type Print = u64;

fn bit(topic: Topic) -> Topics {
    1 << topic as u8
}

impl Looks {
    /// Adds a subject. What was added is in order only after [`Looks::settle`].
    pub(super) fn add(&mut self, subject: Subject) {
        match subject {
            Subject::Host(topic, host) => {
                let mut lately = self.hosts.iter_mut().rev().take(LATELY);
                match lately.find(|(other, _)| *other == host) {
                    Some((_, topics)) => *topics |= bit(topic),
                    None => self.hosts.push((host, bit(topic))),
                }
            }
            Subject::Existence(kind) => {
                if !self.existence.contains(&kind) {
                    self.existence.push(kind);
                }
            }
            other => self.others.push(print(other)),
        }
    }

    /// Brings what was added in order.
    pub(super) fn settle(&mut self) {
        self.hosts.sort_unstable();
        self.hosts.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            kept.1 |= if same { later.1 } else { 0 };
            same
        });
        self.others.sort_unstable();
        self.others.dedup();
        self.existence.sort_unstable();
        self.hosts.shrink_to_fit();
        self.others.shrink_to_fit();
    }

    /// Whether nothing was looked at.
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.others.is_empty() && self.existence.is_empty()
    }

    /// Whether it was asked if there is any object of a kind.
    pub(super) fn ask_for_any(&self, kind: Kind) -> bool {
        self.existence.contains(&kind)
    }

    fn topics(&self, host: &Host) -> Option<Topics> {
        let place = self.hosts.binary_search_by(|(own, _)| own.cmp(host));
        place.ok().map(|place| self.hosts[place].1)
    }
}

/// The reverse of "this verdict looked at these subjects". `None` comes before all objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dependents {
    hosts: OrdMap<(Host, Option<ObjectKey>), Topics>,
    others: OrdSet<(Print, Option<ObjectKey>)>,
}

/// What is to be changed in [`Dependents`]: gathered for many objects, since in order it is faster done.
#[derive(Default)]
pub(super) struct Edit {
    gone_hosts: Vec<(Host, Option<ObjectKey>)>,
    new_hosts: Vec<((Host, Option<ObjectKey>), Topics)>,
    gone: Vec<(Print, Option<ObjectKey>)>,
    new: Vec<(Print, Option<ObjectKey>)>,
}

impl Edit {
    /// Replaces what one object's verdict looked at.
    pub(super) fn replace(&mut self, object: &ObjectKey, old: &Looks, new: &Looks) {
        if old == new {
            return;
        }
        let by = || Some(object.clone());
        for (host, _) in &old.hosts {
            if new.topics(host).is_none() {
                self.gone_hosts.push((host.clone(), by()));
            }
        }
        for (host, topics) in &new.hosts {
            if old.topics(host) != Some(*topics) {
                self.new_hosts.push(((host.clone(), by()), *topics));
            }
        }
        let is_in = |looks: &Looks, print: &Print| looks.others.binary_search(print).is_ok();
        let gone = old.others.iter().filter(|print| !is_in(new, print));
        self.gone.extend(gone.map(|print| (*print, by())));
        let added = new.others.iter().filter(|print| !is_in(old, print));
        self.new.extend(added.map(|print| (*print, by())));
    }
}

impl Dependents {
    /// Of all verdicts there are.
    pub(super) fn of<'l>(
        all: impl ExactSizeIterator<Item = (&'l ObjectKey, &'l Looks)> + Clone + Send + Sync,
    ) -> Dependents {
        let (hosts, others) = threads::both(
            all.len(),
            || {
                let hosts = all.clone().flat_map(|(key, looks)| {
                    looks
                        .hosts
                        .iter()
                        .map(move |(host, topics)| ((host, key), *topics))
                });
                let mut hosts: Vec<_> = hosts.collect();
                hosts.sort_unstable();
                let entry = |((host, key), topics): ((&Host, &ObjectKey), Topics)| {
                    ((host.clone(), Some(key.clone())), topics)
                };
                hosts.into_iter().map(entry).collect()
            },
            || {
                let others = all
                    .clone()
                    .flat_map(|(key, looks)| looks.others.iter().map(move |print| (*print, key)));
                let mut others: Vec<_> = others.collect();
                others.sort_unstable();
                let entry = |(print, key): (Print, &ObjectKey)| (print, Some(key.clone()));
                others.into_iter().map(entry).collect()
            },
        );
        Dependents { hosts, others }
    }

    pub(super) fn apply(&mut self, mut edit: Edit) {
        for entry in &edit.gone_hosts {
            self.hosts.remove(entry);
        }
        for entry in &edit.gone {
            self.others.remove(entry);
        }
        edit.new_hosts.sort();
        for (entry, topics) in edit.new_hosts {
            self.hosts.insert(entry, topics);
        }
        edit.new.sort_unstable();
        for entry in edit.new {
            self.others.insert(entry);
        }
    }

    /// Adds the objects whose verdict looked at a subject that was touched; not for [`Subject::Existence`]. A look at a
    /// host is concerned by what is said of wildcards above it, a look at a wildcard by what is said of hosts below it.
    pub(super) fn collect(&self, touched: &Subject, concerned: &mut BTreeSet<ObjectKey>) {
        let Subject::Host(topic, host) = touched else {
            let print = print(touched);
            let found = self.others.range((print, None)..);
            let found = found.take_while(|(other, _)| *other == print);
            concerned.extend(found.filter_map(|(_, object)| object.clone()));
            return;
        };
        let from = |host: &Host| self.hosts.range((host.clone(), None)..);
        let mut take = |((_, object), topics): (&(Host, Option<ObjectKey>), &Topics)| {
            if topics & bit(*topic) != 0 {
                concerned.extend(object.clone());
            }
        };
        from(host)
            .take_while(|((other, _), _)| other == host)
            .for_each(&mut take);
        for level in host.wildcards_above() {
            from(&level)
                .take_while(|((other, _), _)| level.begins(other))
                .filter(|((wildcard, _), _)| wildcard.covers(host))
                .for_each(&mut take);
        }
        if host.is_wildcard() {
            from(&host.first_below())
                .take_while(|((other, _), _)| host.is_beside(other))
                .filter(|((other, _), _)| host.covers(other))
                .for_each(&mut take);
        }
    }
}
