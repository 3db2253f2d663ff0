//! Names of services, and the order in which a wildcard stands next to what it covers.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::world::compare;

/// A full host name or a wildcard (`*.example.com`, `*-api.example.com`, `*`): a star in the first label stands for
/// whatever comes before the rest, dots too.
///
/// Kept with its labels reversed (`com.example.*`), so that the hosts under a wildcard are neighbours in a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(Arc<str>);

impl Ord for Host {
    fn cmp(&self, other: &Host) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Host {
    fn partial_cmp(&self, other: &Host) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many bytes of a text are looked at. No name is as long: DNS has 255, to which names for SNI add a port and a
/// subset. Without a bound the wildcards above one long text would fill the memory.
const LONGEST: usize = 512;

impl Host {
    /// A host as it is, without resolution. A text that is longer than any name counts by its beginning.
    pub fn new(name: &str) -> Host {
        let mut text = Reversed::default();
        text.push(&name[..name.floor_char_boundary(LONGEST)]);
        text.host()
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
        let bytes = name.len() + namespace.len() + cluster_domain.len() + ".svc..".len();
        if bytes > LONGEST {
            return Host::new(&format!("{name}.{namespace}.svc.{cluster_domain}"));
        }
        let mut text = Reversed::default();
        for part in [cluster_domain, "svc", namespace, name] {
            text.push(part);
        }
        text.host()
    }

    /// Whether it stands for many hosts.
    pub fn is_wildcard(&self) -> bool {
        self.first_label().starts_with('*')
    }

    /// Whether every host that `other` stands for is among those that this one stands for.
    pub fn covers(&self, other: &Host) -> bool {
        let Some(rest) = self.first_label().strip_prefix('*') else {
            return self == other;
        };
        if self == other {
            return true;
        }
        let Some(below) = other.0.strip_prefix(self.parent()) else {
            return false;
        };
        rest.is_empty()
            || below
                .split('.')
                .next()
                .is_some_and(|label| label.ends_with(rest))
    }

    /// Whether there are hosts that both stand for.
    pub fn overlaps(&self, other: &Host) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The plainest wildcard of each level above this host, itself left out; the longest first. Others of the level
    /// ([`Host::begins`]) may cover the host as well.
    pub fn wildcards_above(&self) -> impl Iterator<Item = Host> + '_ {
        let own = self.0.strip_suffix('*').map_or(&*self.0, |prefix| {
            prefix.strip_suffix('.').unwrap_or(prefix)
        });
        own.rmatch_indices('.')
            .map(|(dot, _)| Host(format!("{}.*", &own[..dot]).into()))
            .chain((&*self.0 != "*").then(|| Host("*".into())))
    }

    /// The label that people write first, which is the last one here.
    fn first_label(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }

    /// All labels but the one that people write first, with the dot after them.
    fn parent(&self) -> &str {
        self.0.rfind('.').map_or("", |dot| &self.0[..=dot])
    }

    /// Where the hosts that a wildcard covers begin in the order of hosts. Up to where [`Host::is_beside`] ends they
    /// are neighbours, though others may stand among them.
    pub fn first_below(&self) -> Host {
        if self.is_wildcard() {
            Host(self.parent().into())
        } else {
            self.clone()
        }
    }

    /// Whether another host is below the same parent as this wildcard.
    pub fn is_beside(&self, other: &Host) -> bool {
        other.0.starts_with(self.parent())
    }

    /// How many bytes it has: of two that cover a host, the longer is the more specific.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the plainest wildcard of its level (`*.example.com`) and the other one a wildcard of the same
    /// level (`*-api.example.com`). In the order of hosts they are neighbours.
    pub fn begins(&self, other: &Host) -> bool {
        other.0.starts_with(&*self.0)
    }
}

/// Whether a name has no dot and is no wildcard and no address: only such names are completed.
pub fn is_short(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('*') && !name.contains(['.', ':'])
}

/// The labels of a host in the order in which they are kept. Hosts are made by the ten thousand, so this takes no memory
/// but that of the host.
struct Reversed {
    bytes: [u8; LONGEST],
    length: usize,
    labels: usize,
}

impl Default for Reversed {
    fn default() -> Self {
        Reversed {
            bytes: [0; LONGEST],
            length: 0,
            labels: 0,
        }
    }
}

impl Reversed {
    /// Adds the labels of a name, the last one first; what is longer than any host is left out.
    fn push(&mut self, name: &str) {
        for label in name.rsplit('.') {
            if self.labels > 0 {
                self.copy(b".");
            }
            self.copy(label.as_bytes());
            self.labels += 1;
        }
    }

    fn copy(&mut self, from: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + from.len()) {
            place.copy_from_slice(from);
            self.length += from.len();
        }
    }

    fn host(&self) -> Host {
        Host(String::from_utf8_lossy(&self.bytes[..self.length]).into())
    }
}

/// The name as people write it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.rsplit('.').enumerate() {
            f.write_str(if index == 0 { "" } else { "." })?;
            f.write_str(label)?;
        }
        Ok(())
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
    fn host_of_a_service_is_that_of_its_full_name() {
        for (name, namespace, domain) in [
            ("reviews", "shop", "cluster.local"),
            ("a.b", "c.d", "mesh"),
            ("", "", ""),
            ("x", "y", ""),
        ] {
            let full = format!("{name}.{namespace}.svc.{domain}");
            assert_eq!(
                Host::of_service(name, namespace, domain),
                Host::new(&full),
                "{full}"
            );
        }
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
    fn star_within_a_label_stands_for_what_comes_before_the_rest() {
        let wildcard = Host::new("*-api.example.com");
        for covered in [
            "shop-api.example.com",
            "a.shop-api.example.com",
            "*.shop-api.example.com",
            "*-shop-api.example.com",
            "*-api.example.com",
        ] {
            assert!(wildcard.covers(&Host::new(covered)), "{covered}");
        }
        for other in [
            "api.example.com",
            "shop.example.com",
            "*.example.com",
            "shop-api.example.org",
            "*",
        ] {
            assert!(!wildcard.covers(&Host::new(other)), "{other}");
        }
        assert!(Host::new("*.example.com").covers(&wildcard));
        assert!(Host::new("*").covers(&wildcard));
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
