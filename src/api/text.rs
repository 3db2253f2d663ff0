//! Texts for people.

use std::fmt::{Display, Write as _};

/// How many items of a list are named.
const NAMED: usize = 20;

/// The items of a list, the first of them where there are many: a message stays readable, and small, however long the
/// lists in the objects are.
pub fn enumeration(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut items = items.into_iter();
    let mut text = String::new();
    for (index, item) in items.by_ref().take(NAMED).enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{item}");
    }
    match items.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enumeration_names_twenty_and_counts_the_rest() {
        assert_eq!(enumeration([0; 0]), "");
        assert_eq!(enumeration(["a", "b"]), "a, b");
        assert!(enumeration(0..20).ends_with("18, 19"));
        assert!(enumeration(0..25).ends_with("18, 19 and 5 more"));
    }
}
