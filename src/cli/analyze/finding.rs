//! Messages with their places, and which of them are wanted.

use std::str::FromStr;

use crate::analysis::{Level, Message};
use crate::cli::manifests::Place;

/// Everything that was found.
pub(super) struct Findings<'d> {
    /// What is said, errors first.
    pub(super) said: Vec<Finding<'d>>,
    /// What an annotation or `--suppress` keeps from being said.
    pub(super) suppressed: Vec<Finding<'d>>,
}

/// A message with its place.
#[derive(Debug)]
pub(super) struct Finding<'d> {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    /// The field; may be empty.
    pub(super) path: String,
    /// `Kind namespace/name`, or the file for what cannot be read.
    pub(super) origin: String,
    pub(super) reason: &'static str,
    pub(super) effect: &'static str,
    pub(super) cure: &'static str,
    pub(super) related: Vec<String>,
    pub(super) documentation_url: Option<String>,
    /// The place in a file; none for an object of the cluster.
    pub(super) place: Option<(&'d str, Place<'d>)>,
}

impl<'d> Finding<'d> {
    pub(super) fn new(message: &Message, place: Option<(&'d str, Place<'d>)>) -> Finding<'d> {
        Finding {
            code: message.code,
            name: message.name,
            level: message.level,
            text: message.text.clone(),
            path: message.path.clone(),
            origin: message.object.to_string(),
            reason: message.reason,
            effect: message.effect,
            cure: message.cure,
            related: message.related.iter().map(ToString::to_string).collect(),
            documentation_url: message.documentation_url(),
            place,
        }
    }

    /// `file:line`; empty for an object of the cluster.
    pub(super) fn reference(&self) -> String {
        self.place
            .as_ref()
            .map_or_else(String::new, |(file, place)| {
                format!("{file}:{}", place.line)
            })
    }

    /// The object and the field in it.
    pub(super) fn subject(&self) -> String {
        if self.path.is_empty() {
            self.origin.clone()
        } else {
            format!("{}: {}", self.origin, self.path)
        }
    }
}

impl Findings<'_> {
    pub(super) fn suppress(&mut self, suppressions: &[Suppression]) {
        let unwanted = |finding: &mut Finding<'_>| suppressions.iter().any(|it| it.covers(finding));
        self.suppressed.extend(self.said.extract_if(.., unwanted));
    }
}

/// `CODE=PATTERN` of `--suppress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suppression {
    pub(super) code: String,
    /// A glob over `Kind namespace/name`.
    pattern: String,
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Suppression, String> {
        match text.split_once('=') {
            Some((code, pattern)) if !code.is_empty() && !pattern.is_empty() => Ok(Suppression {
                code: code.to_owned(),
                pattern: pattern.to_owned(),
            }),
            _ => Err(format!(
                "{text:?} is not CODE=PATTERN, such as IST0103=\"Pod shop/*\"; the pattern is matched with `Kind namespace/name`"
            )),
        }
    }
}

impl Suppression {
    fn covers(&self, finding: &Finding<'_>) -> bool {
        self.code == finding.code && matches(&self.pattern, &finding.origin)
    }
}

/// Whether a text fits a glob: `*` is any characters, `?` is one. Linear in the text for each `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    // After the last star, and the place in the text up to which the star reaches.
    let mut star = None;
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, place));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((after, reached)) = star else {
                    return false;
                };
                star = Some((after, reached + 1));
                (at, place) = (after, reached + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, fits) in [
            ("*", "Pod shop/a", true),
            ("Pod *", "Pod shop/a", true),
            ("Pod shop/?", "Pod shop/a", true),
            ("Pod shop/?", "Pod shop/ab", false),
            ("*/a*c", "Pod shop/abcabc", true),
            ("*/a*d", "Pod shop/abcabc", false),
            ("Pod", "Pod shop/a", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn suppression_without_a_pattern_is_told_what_it_lacks() {
        assert!(
            "IST0103"
                .parse::<Suppression>()
                .unwrap_err()
                .contains("CODE=PATTERN")
        );
        assert!("IST0103=".parse::<Suppression>().is_err());
    }
}
