//! `exportTo`: from which namespaces an object is seen.

use std::fmt;
use std::sync::Arc;

use crate::api::text::enumeration;

/// From which namespaces an object is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// All (`*`).
    Everywhere,
    /// These, in order; none of them means nobody sees it (`~`).
    Namespaces(Arc<[Arc<str>]>),
}

impl Visibility {
    /// Reads an object's `exportTo`, or the mesh's default where it is empty. `.` is the object's own namespace.
    pub fn of(export_to: &[String], default: &[String], namespace: &str) -> Visibility {
        let entries = if export_to.is_empty() {
            default
        } else {
            export_to
        };
        let mut namespaces: Vec<Arc<str>> = Vec::new();
        for entry in entries {
            match entry.as_str() {
                "*" => return Visibility::Everywhere,
                "~" => {}
                "." => namespaces.push(namespace.into()),
                other => namespaces.push(other.into()),
            }
        }
        namespaces.sort();
        namespaces.dedup();
        Visibility::Namespaces(namespaces.into())
    }

    /// Whether it is seen from a namespace.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Visibility::Everywhere => true,
            Visibility::Namespaces(list) => list
                .binary_search_by(|member| (**member).cmp(namespace))
                .is_ok(),
        }
    }

    /// Whether it is seen from all namespaces that see the other.
    pub fn includes_all_of(&self, other: &Visibility) -> bool {
        match (self, other) {
            (Visibility::Everywhere, _) => true,
            (_, Visibility::Everywhere) => false,
            (Visibility::Namespaces(own), Visibility::Namespaces(list)) => {
                own.len() >= list.len() && list.iter().all(|namespace| self.includes(namespace))
            }
        }
    }

    /// Whether some namespace sees both.
    pub fn overlaps(&self, other: &Visibility) -> bool {
        match (self, other) {
            (Visibility::Everywhere, Visibility::Everywhere) => true,
            (Visibility::Everywhere, Visibility::Namespaces(list))
            | (Visibility::Namespaces(list), Visibility::Everywhere) => !list.is_empty(),
            (Visibility::Namespaces(own), Visibility::Namespaces(list)) => {
                let (few, by) = match own.len() < list.len() {
                    true => (own, other),
                    false => (list, self),
                };
                few.iter().any(|namespace| by.includes(namespace))
            }
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Visibility::Everywhere => f.write_str("all namespaces"),
            Visibility::Namespaces(list) if list.is_empty() => f.write_str("no namespace"),
            Visibility::Namespaces(list) => write!(f, "namespace {}", enumeration(list.iter())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(export_to: &[&str]) -> Visibility {
        let export_to: Vec<String> = export_to.iter().map(|&entry| entry.to_owned()).collect();
        Visibility::of(&export_to, &["*".to_owned()], "own")
    }

    #[test]
    fn a_dot_is_the_own_namespace_and_a_tilde_is_none() {
        assert!(of(&[]).includes("other"));
        assert!(of(&["."]).includes("own"));
        assert!(!of(&["."]).includes("other"));
        assert!(!of(&["~"]).includes("own"));
        assert!(of(&[".", "*"]).includes("other"));
    }

    #[test]
    fn visibilities_include_others_whose_namespaces_all_see_them() {
        assert!(of(&["*"]).includes_all_of(&of(&["a", "b"])));
        assert!(of(&["a", "b"]).includes_all_of(&of(&["b"])));
        assert!(!of(&["a", "b"]).includes_all_of(&of(&["b", "c"])));
        assert!(!of(&["a"]).includes_all_of(&of(&["*"])));
    }

    #[test]
    fn visibilities_overlap_where_one_namespace_sees_both() {
        assert!(of(&["*"]).overlaps(&of(&["a"])));
        assert!(of(&["a", "b"]).overlaps(&of(&["b", "c"])));
        assert!(!of(&["a"]).overlaps(&of(&["b"])));
        assert!(!of(&["~"]).overlaps(&of(&["*"])));
    }
}
