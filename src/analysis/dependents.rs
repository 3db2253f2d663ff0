//! Who must be looked at again when something changes.

use std::collections::BTreeSet;

use imbl::{OrdMap, OrdSet};

use crate::model::{Host, Subject, Topic};
use crate::world::ObjectKey;

/// The reverse of "this verdict looked at these subjects".
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dependents {
    by_subject: OrdMap<Subject, OrdSet<ObjectKey>>,
}

impl Dependents {
    /// Replaces what one object's verdict looked at.
    pub(super) fn replace(
        &mut self,
        object: &ObjectKey,
        old: &BTreeSet<Subject>,
        new: &BTreeSet<Subject>,
    ) {
        for subject in old.difference(new) {
            let Some(objects) = self.by_subject.get_mut(subject) else {
                continue;
            };
            objects.remove(object);
            if objects.is_empty() {
                self.by_subject.remove(subject);
            }
        }
        for subject in new.difference(old) {
            self.by_subject
                .entry(subject.clone())
                .or_default()
                .insert(object.clone());
        }
    }

    /// Adds the objects whose verdict looked at a subject that was touched. A look at a host is concerned by what is
    /// said of wildcards above it, a look at a wildcard by what is said of hosts below it.
    pub(super) fn collect(&self, touched: &Subject, concerned: &mut BTreeSet<ObjectKey>) {
        self.collect_exact(touched, concerned);
        let Subject::Host(topic, host) = touched else {
            return;
        };
        for level in host.wildcards_above() {
            let from = Subject::Host(*topic, level.clone());
            let of_level = self.by_subject.range(from..).take_while(
                |(subject, _)| matches!(subject, Subject::Host(of, other) if of == topic && level.begins(other)),
            );
            for (subject, objects) in of_level {
                if matches!(subject, Subject::Host(_, wildcard) if wildcard.covers(host)) {
                    concerned.extend(objects.iter().cloned());
                }
            }
        }
        if host.is_wildcard() {
            self.collect_below(*topic, host, concerned);
        }
    }

    fn collect_exact(&self, subject: &Subject, concerned: &mut BTreeSet<ObjectKey>) {
        concerned.extend(self.by_subject.get(subject).into_iter().flatten().cloned());
    }

    fn collect_below(&self, topic: Topic, wildcard: &Host, concerned: &mut BTreeSet<ObjectKey>) {
        let below = self.by_subject.range(Subject::Host(topic, wildcard.first_below())..).take_while(
            |(subject, _)| matches!(subject, Subject::Host(of, host) if *of == topic && wildcard.is_beside(host)),
        );
        for (subject, objects) in below {
            if matches!(subject, Subject::Host(_, host) if wildcard.covers(host)) {
                concerned.extend(objects.iter().cloned());
            }
        }
    }
}
