//! Which texts a matcher takes, as far as it can be told without running it.

use std::borrow::Cow;

use crate::api::networking::StringMatch;

/// The texts that a matcher takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Texts<'a> {
    /// All.
    Any,
    /// This one.
    Exact(Cow<'a, str>),
    /// Those that begin with this one, which is not empty.
    Begins(Cow<'a, str>),
    /// Those of a regular expression; all of them begin with `begins`.
    Regex { pattern: &'a str, begins: String },
    /// Nobody knows.
    Unknown,
}

impl<'a> Texts<'a> {
    /// Of a header, a query parameter or the like: a matcher without a member takes every text that is there.
    pub fn of(matcher: &'a StringMatch) -> Texts<'a> {
        match matcher {
            StringMatch {
                exact: Some(text),
                prefix: None,
                regex: None,
            } => Texts::Exact(text.into()),
            StringMatch {
                exact: None,
                prefix: Some(text),
                regex: None,
            } if !text.is_empty() => Texts::Begins(text.into()),
            StringMatch {
                exact: None,
                prefix: None,
                regex: Some(pattern),
            } => of_regex(pattern),
            StringMatch {
                exact: None,
                prefix: None,
                regex: None,
            } => Texts::Any,
            _ => Texts::Unknown,
        }
    }

    /// Whether it takes every text that the other takes.
    pub fn cover(&self, other: &Texts<'_>) -> bool {
        match (self, other) {
            (Texts::Any, _) => true,
            (Texts::Exact(own), Texts::Exact(text)) => own == text,
            (Texts::Begins(own), Texts::Exact(text) | Texts::Begins(text)) => {
                text.starts_with(&**own)
            }
            (Texts::Begins(own), Texts::Regex { begins, .. }) => begins.starts_with(&**own),
            (Texts::Regex { pattern, .. }, Texts::Regex { pattern: other, .. }) => pattern == other,
            _ => false,
        }
    }

    /// Whether no text is taken by both.
    pub fn is_apart_from(&self, other: &Texts<'_>) -> bool {
        match (self, other) {
            (Texts::Exact(one), Texts::Exact(two)) => one != two,
            (Texts::Exact(text), Texts::Begins(start))
            | (Texts::Begins(start), Texts::Exact(text)) => !text.starts_with(&**start),
            (Texts::Begins(one), Texts::Begins(two)) => {
                !one.starts_with(&**two) && !two.starts_with(&**one)
            }
            _ => false,
        }
    }

    /// Whether it is sure not to take the empty text.
    pub fn needs_text(&self) -> bool {
        match self {
            Texts::Exact(text) => !text.is_empty(),
            Texts::Begins(_) => true,
            Texts::Regex { begins, .. } => !begins.is_empty(),
            Texts::Any | Texts::Unknown => false,
        }
    }

    /// The same with small letters in the place of large ones; regular expressions stay as they are.
    pub fn in_small_letters(self) -> Texts<'a> {
        match self {
            Texts::Exact(text) => Texts::Exact(text.to_ascii_lowercase().into()),
            Texts::Begins(text) => Texts::Begins(text.to_ascii_lowercase().into()),
            Texts::Regex { pattern, begins } => Texts::Regex {
                pattern,
                begins: begins.to_ascii_lowercase(),
            },
            other => other,
        }
    }

    /// Whether large and small letters make no difference to it.
    pub fn has_no_letters(&self) -> bool {
        match self {
            Texts::Exact(text) | Texts::Begins(text) => {
                !text.bytes().any(|byte| byte.is_ascii_alphabetic())
            }
            _ => false,
        }
    }
}

/// Regular expressions match whole texts. Those that stand for a text or a beginning are taken for such; `*` alone, which is
/// none, is Istio's older way to write any text.
fn of_regex(pattern: &str) -> Texts<'_> {
    if matches!(pattern, "*" | ".*" | "^.*$" | "^.*" | ".*$") {
        return Texts::Any;
    }
    if pattern.contains("(?") || pattern.contains('|') {
        return Texts::Regex {
            pattern,
            begins: String::new(),
        };
    }
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let (literal, rest) = literal(inner);
    match rest {
        "" | "$" => Texts::Exact(literal.into()),
        ".*" | ".*$" if !literal.is_empty() => Texts::Begins(literal.into()),
        _ => Texts::Regex {
            pattern,
            begins: literal,
        },
    }
}

/// The text that everything which matches begins with, and the rest of the pattern.
fn literal(pattern: &str) -> (String, &str) {
    const META: [char; 14] = [
        '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$', '|', '\\',
    ];
    let mut text = String::new();
    let mut rest = pattern;
    loop {
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { break };
        let (char, after) = match (first, chars.next()) {
            // An escaped sign stands for itself; an escaped letter or digit for a class or the like.
            ('\\', Some(next)) if next.is_ascii_punctuation() => (next, chars.as_str()),
            (first, _) if !META.contains(&first) => (first, &rest[first.len_utf8()..]),
            _ => break,
        };
        // What may be repeated may also not be there.
        if after.starts_with(['?', '*', '{', '+']) {
            break;
        }
        text.push(char);
        rest = after;
    }
    (text, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_that_stand_for_texts_are_seen_through() {
        let regex = |pattern: &'static str| of_regex(pattern);
        assert_eq!(regex(".*"), Texts::Any);
        assert_eq!(regex("/a\\.b"), Texts::Exact("/a.b".into()));
        assert_eq!(regex("^/a$"), Texts::Exact("/a".into()));
        assert_eq!(regex("/api/.*"), Texts::Begins("/api/".into()));
        let begins = |pattern| match regex(pattern) {
            Texts::Regex { begins, .. } => begins,
            other => panic!("{other:?}"),
        };
        assert_eq!(begins("/a/[0-9]+"), "/a/");
        assert_eq!(begins("/ab?"), "/a");
        assert_eq!(begins("/ab*"), "/a");
        assert_eq!(begins("/ab+"), "/a");
        assert_eq!(begins("/a|/b"), "");
        assert_eq!(begins("(?i)/a"), "");
        assert_eq!(begins("/\\d"), "/");
        assert_eq!(begins("/a.*b"), "/a");
        assert_eq!(begins(".+"), "");
        assert_eq!(begins("[.*"), "");
    }
}
