//! Whether a regular expression is one that Envoy (RE2) takes.

use regex_syntax::ast::parse::Parser;

/// RE2 refuses more repetitions than these.
const MOST_REPETITIONS: u32 = 1000;

/// Longest expression that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Longest expression of a matcher, in bytes: as Istio has it, which lets Envoy compile any of these.
const LONGEST_MATCHER: usize = 1024;

/// How far away the end of a token is looked for, in bytes; none is as long.
const LONGEST_TOKEN: usize = 64;

/// Checks the regular expression of a matcher of texts, which must not be longer than 1024 bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn check_matcher(pattern: &str) -> Result<(), String> {
    if pattern.len() > LONGEST_MATCHER {
        return Err(too_long(pattern, LONGEST_MATCHER));
    }
    check(pattern)
}

fn too_long(pattern: &str, most: usize) -> String {
    format!(
        "a regular expression of {} bytes is too long; {most} fit",
        pattern.len()
    )
}

/// Checks a regular expression in RE2's syntax, of at most 64 KiB.
///
/// The parser at hand knows a dialect that differs in a few places; these are translated before it sees them. What it
/// cannot know (`\C`, `\Q…\E`, names of Unicode's classes) is let pass: better one invalid expression that Envoy refuses
/// than a valid one that we do. Classes are not expanded, so that the cost follows the length.
///
/// # Errors
/// What is wrong, in words.
pub fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > LONGEST {
        return Err(too_long(pattern, LONGEST));
    }
    if pattern.contains("\\Q") || pattern.contains("\\C") {
        return Ok(());
    }
    let translated = translate(pattern)?;
    match Parser::new().parse(&translated) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "{pattern:?} is not a valid RE2 regular expression: {}",
            error.kind()
        )),
    }
}

/// Escapes what is plain text in RE2 but has a meaning in the parser's dialect: a `{` that begins no repetition, and
/// inside of a character class `[`, `&&`, `--` and `~~`.
fn translate(pattern: &str) -> Result<String, String> {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '\\' => escape_length(rest),
            '{' if !in_class => match repetition(rest) {
                Some((length, most)) if most <= MOST_REPETITIONS => length,
                Some(_) => {
                    return Err(format!(
                        "{pattern:?} repeats more than {MOST_REPETITIONS} times, which RE2 refuses"
                    ));
                }
                None => {
                    translated.push('\\');
                    1
                }
            },
            '[' if !in_class => {
                in_class = true;
                class_start_length(rest)
            }
            '[' => match end_of_token(rest, ":]").filter(|_| rest.starts_with("[:")) {
                Some(end) => end + 2,
                None => {
                    translated.push('\\');
                    1
                }
            },
            ']' if in_class => {
                in_class = false;
                1
            }
            '&' | '~' if in_class && rest[1..].starts_with(next) => {
                translated.push('\\');
                1
            }
            other => other.len_utf8(),
        };
        let (token, tail) = rest.split_at(length.min(rest.len()));
        translated.push_str(token);
        rest = tail;
    }
    Ok(translated)
}

/// Where a token that begins here has its end, if it has one.
fn end_of_token(text: &str, end: &str) -> Option<usize> {
    text[..text.floor_char_boundary(LONGEST_TOKEN)].find(end)
}

/// Length of an escape: `\x{1F600}` and `\p{Greek}` keep their braces.
fn escape_length(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    let Some(letter) = chars.next() else { return 1 };
    let short = 1 + letter.len_utf8();
    if matches!(letter, 'x' | 'p' | 'P') && text[short..].starts_with('{') {
        return end_of_token(text, "}").map_or(short, |end| end + 1);
    }
    short
}

/// Length of `[`, `[^`, and of a `]` that follows either and stands for itself.
fn class_start_length(text: &str) -> usize {
    let start = if text.starts_with("[^") { 2 } else { 1 };
    if text[start..].starts_with(']') {
        start + 1
    } else {
        start
    }
}

/// Length and greatest number of `{n}`, `{n,}` and `{n,m}`.
fn repetition(text: &str) -> Option<(usize, u32)> {
    let end = end_of_token(text, "}")?;
    let inner = &text[1..end];
    let (least, most) = inner
        .split_once(',')
        .map_or((inner, None), |(least, most)| (least, Some(most)));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
    };
    let least = number(least)?;
    let most = match most {
        None | Some("") => least,
        Some(most) => number(most)?,
    };
    Some((end + 1, least.max(most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_that_re2_takes_are_valid() {
        for pattern in [
            "",
            "a+",
            "^/service/([^/]+)(/.*)$",
            "[[:alpha:]]",
            "[^[]+",
            "[]a]",
            "[a&&b]",
            "a{",
            "a{,5}",
            "{x}",
            "a{2,3}",
            "\\d{3}",
            "\\x{1F600}",
            "\\p{Greek}",
            "\\pN",
            "(?i)a",
            "(?P<n>a)",
            "\\Qa{\\E",
            "\\/",
            "(?s).*",
            "a{1000}",
            "[\\]]",
            "\\.",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn expressions_that_re2_refuses_are_invalid() {
        for pattern in [
            "[",
            "?",
            "*",
            "(",
            "a)",
            "(?=a)",
            "\\1",
            "[z-a]",
            "a{3,2}",
            "a{1001}",
            "\\",
            "(?<",
            "[[:alpha:]",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn long_expressions_cost_no_more_than_their_length() {
        let start = std::time::Instant::now();
        for token in ["\\pL", "(?i)\\w", "{", "[[:", "\\x{", "(?i)[^a]{1000}"] {
            let _ = check(&token.repeat(LONGEST / token.len()));
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(pattern in "[\\[\\]{}()^\\\\a0,:&~*+?.|pQx-]{0,24}|\\PC*") {
            let _ = check(&pattern);
        }
    }
}
