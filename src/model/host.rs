//! Names of services, and the order in which a wildcard stands next to what it covers.

use std::fmt;
use std::sync::Arc;

/// A full host name or a wildcard (`*.example.com`, `*`).
///
/// Kept with its labels reversed (`com.example.*`), so that the hosts under a wildcard are neighbours in a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Arc<str>);

/// How many bytes of a text are looked at. No name is as long: DNS has 255, to which names for SNI add a port and a
/// subset. Without a bound the wildcards above one long text would fill the memory.
const LONGEST: usize = 512;

impl Host {
    /// A host as it is, without resolution. A text that is longer than any name counts by its beginning.
    pub fn new(name: &str) -> Host {
        Host(reversed(&name[..name.floor_char_boundary(LONGEST)]).into())
    }

    /// What a host means in an object of `namespace`: a name without a dot is a Kubernetes service of that namespace,
    /// whatever the client's namespace; any other is taken as it is.
    pub fn resolve(name: &str, namespace: &str, cluster_domain: &str) -> Host {
        if is_short(name) {
            Host::of_service(name, namespace, cluster_domain)
        } else {
            Host::new(name)
        }
    }

    /// The host of a Kubernetes service.
    pub fn of_service(name: &str, namespace: &str, cluster_domain: &str) -> Host {
        Host::new(&format!("{name}.{namespace}.svc.{cluster_domain}"))
    }

    /// Whether it stands for many hosts.
    pub fn is_wildcard(&self) -> bool {
        &*self.0 == "*" || self.0.ends_with(".*")
    }

    /// Whether every host that `other` stands for is among those that this one stands for.
    pub fn covers(&self, other: &Host) -> bool {
        match self.prefix() {
            Some(prefix) => self == other || other.0.starts_with(prefix),
            None => self == other,
        }
    }

    /// Whether there are hosts that both stand for.
    pub fn overlaps(&self, other: &Host) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The wildcards that cover this host, itself left out; the longest first.
    pub fn wildcards_above(&self) -> impl Iterator<Item = Host> + '_ {
        let own = self.0.strip_suffix('*').map_or(&*self.0, |prefix| {
            prefix.strip_suffix('.').unwrap_or(prefix)
        });
        own.rmatch_indices('.')
            .map(|(dot, _)| Host(format!("{}.*", &own[..dot]).into()))
            .chain((&*self.0 != "*").then(|| Host("*".into())))
    }

    /// For a wildcard, what the (reversed) hosts that it covers begin with.
    pub(super) fn prefix(&self) -> Option<&str> {
        if self.is_wildcard() {
            self.0.strip_suffix('*')
        } else {
            None
        }
    }

    /// Where the hosts that a wildcard covers begin in the order of hosts.
    pub fn first_below(&self) -> Host {
        Host(self.prefix().unwrap_or(&self.0).into())
    }
}

/// Whether a name has no dot and is no wildcard and no address: only such names are completed.
pub fn is_short(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('*') && !name.contains(['.', ':'])
}

fn reversed(name: &str) -> String {
    let mut labels: Vec<&str> = name.split('.').collect();
    labels.reverse();
    labels.join(".")
}

/// The name as people write it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reversed(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_dot_is_a_service_of_the_objects_namespace() {
        let resolve = |name| Host::resolve(name, "shop", "cluster.local").to_string();
        assert_eq!(resolve("reviews"), "reviews.shop.svc.cluster.local");
        assert_eq!(resolve("reviews.prod"), "reviews.prod");
        assert_eq!(resolve("*"), "*");
        assert_eq!(resolve("::1"), "::1");
    }

    #[test]
    fn wildcard_covers_what_ends_with_its_suffix() {
        let wildcard = Host::new("*.example.com");
        assert!(wildcard.covers(&Host::new("a.example.com")));
        assert!(wildcard.covers(&Host::new("a.b.example.com")));
        assert!(wildcard.covers(&Host::new("*.b.example.com")));
        assert!(!wildcard.covers(&Host::new("example.com")));
        assert!(!wildcard.covers(&Host::new("aexample.com")));
        assert!(!wildcard.covers(&Host::new("*")));
        assert!(Host::new("*").covers(&wildcard));
        assert!(!Host::new("a.example.com").covers(&wildcard));
    }

    #[test]
    fn text_that_is_no_name_has_no_more_wildcards_than_a_name() {
        let host = Host::new(&"\u{e9}.".repeat(500_000));
        assert!(host.wildcards_above().count() <= LONGEST);
    }

    #[test]
    fn hosts_overlap_where_one_covers_the_other() {
        let overlap = |a, b| Host::new(a).overlaps(&Host::new(b));
        for (a, b, expected) in [
            ("*", "a.com", true),
            ("*.a.com", "*.com", true),
            ("a.com", "a.com", true),
            ("*.a.com", "*.b.com", false),
            ("a.com", "b.com", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn wildcards_above_are_all_that_cover_a_host() {
        let above = |name| {
            Host::new(name)
                .wildcards_above()
                .map(|host| host.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(above("a.b.com"), ["*.b.com", "*.com", "*"]);
        assert_eq!(above("*.b.com"), ["*.com", "*"]);
        assert_eq!(above("a"), ["*"]);
        assert!(above("*").is_empty());
        for name in ["a.b.com", "*.b.com", "a", "", ".", "a..b"] {
            assert!(
                Host::new(name)
                    .wildcards_above()
                    .all(|wildcard| wildcard.covers(&Host::new(name))),
                "{name}"
            );
        }
    }
}
