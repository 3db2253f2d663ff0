//! "Did you mean": which of the names that exist is closest to the one that was wanted.

/// Longest name that is compared; longer ones are as far apart as can be.
const LONGEST: usize = 64;

/// Most names that are compared.
const MOST_CANDIDATES: usize = 256;

/// For how many names that one object gets wrong the nearest ones are looked for.
const MOST_WRONG: usize = 32;

/// The names in order of their distance from what was wanted; equally distant ones keep their order, and so do more
/// than anybody would look through.
pub(super) fn nearest_first<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().collect();
    if names.len() <= MOST_CANDIDATES {
        names.sort_by_cached_key(|name| distance(wanted, name));
    }
    names
}

/// Looks for nearest names as long as one object gets few wrong: thousands of names among hundreds would take long.
pub(super) struct Hints {
    left: usize,
}

impl Default for Hints {
    fn default() -> Self {
        Hints { left: MOST_WRONG }
    }
}

impl Hints {
    /// `; did you mean "reviews"?` where one of the names is close to what was wanted, else nothing.
    pub(super) fn did_you_mean<'a>(
        &mut self,
        wanted: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> String {
        let Some(left) = self.left.checked_sub(1) else {
            return String::new();
        };
        self.left = left;
        let name = misspelling(wanted, names);
        name.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
    }
}

/// The one name that is close enough to be a misspelling of what was wanted, among the first few hundred.
fn misspelling<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wanted.len() / 3).max(1);
    let letters = letters(wanted);
    names
        .into_iter()
        .take(MOST_CANDIDATES)
        .filter(|name| name.len().abs_diff(wanted.len()) <= most)
        .filter(|name| at_least(&letters, name) <= most)
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How often each byte is in a name.
fn letters(name: &str) -> [i32; 256] {
    let mut letters = [0; 256];
    for byte in name.bytes() {
        letters[usize::from(byte)] += 1;
    }
    letters
}

/// No distance is less than this, which is much faster to tell: every edit changes one letter for another at most (of
/// ASCII; what is not is left to [`distance`]).
fn at_least(wanted: &[i32; 256], name: &str) -> usize {
    let own = letters(name);
    let ascii = wanted.iter().zip(own).take(128);
    let (more, fewer) = ascii.fold((0, 0), |(more, fewer), (a, b)| {
        (more + (b - a).max(0), fewer + (a - b).max(0))
    });
    usize::try_from(i32::max(more, fewer)).unwrap_or(usize::MAX)
}

/// How many characters must be inserted, deleted, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i];
        for j in 1..=b.len() {
            let replaced = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("v4", "v1", 1),
            ("reveiws", "reviews", 1),
            ("abc", "cab", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn letters_never_tell_more_than_the_distance() {
        for (a, b) in [
            ("reveiws", "reviews"),
            ("abc", "cab"),
            ("", "abc"),
            ("aab", "abb"),
            ("é", "e"),
        ] {
            assert!(at_least(&letters(a), b) <= distance(a, b), "{a} {b}");
        }
    }

    #[test]
    fn only_a_close_name_is_taken_for_a_misspelling() {
        assert_eq!(
            misspelling("reveiws", ["ratings", "reviews"]),
            Some("reviews")
        );
        assert_eq!(misspelling("reviews", ["ratings", "details"]), None);
        assert_eq!(misspelling("reviews", []), None);
    }
}
