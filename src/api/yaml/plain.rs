//! The part of YAML in which most manifests are written, read many times faster than all of it can be.
//!
//! Block mappings and block lists of scalars on one line each. Whatever is more than that, or might mean something else
//! than it seems (anchors, tags, flow style, text over several lines, odd numbers, repeated keys, tabs, anything wrong),
//! is given up and left to the whole parser, which alone says what is an error.

use serde_json::{Map, Value};

/// Deeper nesting is left to the whole parser, which has a limit.
const DEEPEST: usize = 64;

/// Longer keys are left to the whole parser, which has a limit.
const LONGEST_KEY: usize = 256;

/// Reads one document; `None` where it is not of the plain part.
pub(super) fn parse(text: &str) -> Option<Value> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
    if !text.bytes().all(is_plain) {
        return None;
    }
    let mut lines = Lines::new(text);
    if let Some(rest) = lines.current.and_then(|line| line.text.strip_prefix("---")) {
        if lines.current?.indent > 0 || !rest.trim_start_matches(' ').is_empty() {
            return None;
        }
        lines.advance();
    }
    let value = node(&mut lines, 0, DEEPEST)?;
    lines.current.is_none().then_some(value)
}

/// A line that says something.
#[derive(Clone, Copy)]
struct Line<'t> {
    /// Columns before the text.
    indent: usize,
    /// Without blanks around it.
    text: &'t str,
}

/// The lines of a text, without those that are blank or a comment.
struct Lines<'t> {
    rest: std::str::Lines<'t>,
    current: Option<Line<'t>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Lines<'t> {
        let mut lines = Lines {
            rest: text.lines(),
            current: None,
        };
        lines.advance();
        lines
    }

    fn advance(&mut self) {
        let spoken = |line: &'t str| {
            let text = line.trim_start_matches(' ');
            let said = !text.is_empty() && !text.starts_with('#');
            said.then(|| Line {
                indent: line.len() - text.len(),
                text: text.trim_end_matches(' '),
            })
        };
        self.current = self.rest.find_map(spoken);
    }

    /// The rest of the current line, which begins so many columns later, stands for itself.
    fn step_into(&mut self, columns: usize) -> Option<()> {
        let line = self.current.as_mut()?;
        let rest = line.text.get(columns..)?;
        line.text = rest.trim_start_matches(' ');
        line.indent += columns + rest.len() - line.text.len();
        Some(())
    }
}

/// The mapping or list that begins on the current line, which must be indented so far at least.
fn node(lines: &mut Lines<'_>, least: usize, depth: usize) -> Option<Value> {
    let line = lines.current?;
    if line.indent < least || depth == 0 {
        return None;
    }
    if is_item(line.text) {
        list(lines, line.indent, depth - 1)
    } else {
        mapping(lines, line.indent, depth - 1)
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

fn list(lines: &mut Lines<'_>, indent: usize, depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    while let Some(line) = lines.current {
        if line.indent != indent || !is_item(line.text) {
            break;
        }
        let rest = line.text.get(2..)?.trim_start_matches(' ');
        if is_item(rest) {
            return None;
        }
        if key(rest).is_some() {
            lines.step_into(2)?;
            let indent = lines.current?.indent;
            items.push(mapping(lines, indent, depth.checked_sub(1)?)?);
        } else {
            items.push(scalar(rest)?);
            lines.advance();
        }
    }
    ends(lines, indent).then_some(Value::Array(items))
}

fn mapping(lines: &mut Lines<'_>, indent: usize, depth: usize) -> Option<Value> {
    let mut members = Map::new();
    while let Some(line) = lines.current {
        if line.indent != indent || is_item(line.text) {
            break;
        }
        let (name, rest) = key(line.text)?;
        lines.advance();
        let value = if !rest.is_empty() {
            scalar(rest)?
        } else {
            match lines.current {
                Some(next) if next.indent > indent => node(lines, indent + 1, depth)?,
                // A list may stand right under its key.
                Some(next) if next.indent == indent && is_item(next.text) => {
                    list(lines, indent, depth.checked_sub(1)?)?
                }
                _ => Value::Null,
            }
        };
        if members.insert(name.to_owned(), value).is_some() {
            return None;
        }
    }
    ends(lines, indent).then_some(Value::Object(members))
}

/// Whether what comes next cannot belong to a collection of this indent.
fn ends(lines: &Lines<'_>, indent: usize) -> bool {
    // A list right under its key ends with the next key, at the same indent.
    lines
        .current
        .is_none_or(|line| line.indent < indent || (line.indent == indent && !is_item(line.text)))
}

/// The key and what comes after it, if the line has one of the plain form.
fn key(text: &str) -> Option<(&str, &str)> {
    let is_of_keys =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let end = text.bytes().take_while(is_of_keys).count();
    let (name, rest) = text.split_at(end);
    let rest = rest.strip_prefix(':')?;
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_special(name);
    let is_separate = rest.is_empty() || rest.starts_with(' ');
    (is_word && is_separate && name.len() <= LONGEST_KEY)
        .then(|| (name, rest.trim_start_matches(' ')))
}

/// A scalar that fills the rest of its line.
fn scalar(text: &str) -> Option<Value> {
    let mut bytes = text.bytes();
    match bytes.next()? {
        quote @ (b'"' | b'\'') => {
            let inner = text.get(1..text.len().checked_sub(1)?)?;
            let closed = text.len() > 1 && text.ends_with(char::from(quote));
            let is_simple = !inner.bytes().any(|byte| byte == quote || byte == b'\\');
            (closed && is_simple).then(|| Value::from(inner))
        }
        b'[' if text == "[]" => Some(Value::Array(Vec::new())),
        b'{' if text == "{}" => Some(Value::Object(Map::new())),
        _ if text.contains(": ") || text.contains(" #") || text.ends_with(':') => None,
        first if first.is_ascii_alphabetic() => (!is_special(text)).then(|| Value::from(text)),
        b'/' => Some(Value::from(text)),
        b'-' => {
            let is_flag = text.starts_with("--") && bytes.nth(1)?.is_ascii_alphabetic();
            is_flag.then(|| Value::from(text))
        }
        b'0' if text.len() == 1 => Some(Value::from(0)),
        b'1'..=b'9' if text.len() <= 18 && bytes.all(|byte| byte.is_ascii_digit()) => {
            text.parse::<u64>().ok().map(Value::from)
        }
        b'0'..=b'9' => is_no_number(text).then(|| Value::from(text)),
        _ => None,
    }
}

/// Whether a text that begins with a digit can be no number in any notation: it has a character that is in none, or
/// more than one point.
fn is_no_number(text: &str) -> bool {
    let foreign = |byte: u8| {
        byte == b'/' || matches!(byte.to_ascii_lowercase(), b'g'..=b'n' | b'p'..=b'w' | b'y' | b'z')
    };
    text.bytes().any(foreign) || text.bytes().filter(|byte| *byte == b'.').count() > 1
}

/// Words that may stand for something else than themselves.
fn is_special(word: &str) -> bool {
    const SPECIAL: [&str; 13] = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity",
        "nil",
    ];
    word.len() <= 8
        && SPECIAL
            .iter()
            .any(|special| special.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use serde_json::json;

    use super::super::{parse_whole, write};
    use super::*;

    #[test]
    fn manifests_are_of_the_plain_part() {
        let text = "# a comment\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: reviews\n  \
                    labels:\n    app.kubernetes.io/name: reviews\nspec:\n  hosts:\n  - reviews\n  - '*.example.com'\n\n  http:\n    \
                    - match:\n        - uri:\n            prefix: /a\n      timeout: 5s\n      route:\n        - destination:\n            \
                    host: reviews\n            port:\n              number: 9080\n          weight: 100\n    - fault: {}\n      \
                    headers:\n  tls: []\n  # the end\n";
        let expected = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "reviews", "labels": {"app.kubernetes.io/name": "reviews"}},
            "spec": {"hosts": ["reviews", "*.example.com"], "http": [
                {"match": [{"uri": {"prefix": "/a"}}], "timeout": "5s",
                 "route": [{"destination": {"host": "reviews", "port": {"number": 9080}}, "weight": 100}]},
                {"fault": {}, "headers": null},
            ], "tls": []},
        });
        assert_eq!(parse(text), Some(expected.clone()));
        assert_eq!(parse_whole(text), Ok(expected));
    }

    #[test]
    fn what_may_mean_more_is_left_to_the_whole_parser() {
        for text in [
            "a: &x 1",
            "a: *x",
            "a: !!str 1",
            "a: |\n  b\n",
            "a: b\n  c\n",
            "a: b\nc\n",
            "a: [b]",
            "a: {b: c}",
            "a: yes",
            "a: ~",
            "a: 1.5",
            "a: 0x1f",
            "a: 012",
            "a: 1_000",
            "a: -1",
            "a: b: c",
            "a: b # c",
            "a: 'it''s'",
            "a: \"\\n\"",
            "a: \"b",
            "a:\tb",
            "a: 1\na: 2",
            "<<: {}",
            "? a",
            "- - a",
            "-\n  a: 1",
            "a: 1\n b: 2",
            "a:\n    b: 1\n  c: 2",
            "--- a",
            "a: 1\n---\nb: 2",
            "a: 1\n...\n",
            "%YAML 1.2\n---\na: 1",
            "a: \u{e9}",
            "true: 1",
            "a :b",
            "plain",
            "",
            "a:\n- b\n c: 1",
            "- a\nb: 1",
            "a: -\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    /// Lines that look like YAML, with all that makes it hard.
    fn lines() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "a",
            "b",
            "name",
            "a.b/c",
            "true",
            "no",
            "null",
            "~",
            "1",
            "0",
            "01",
            "0x1",
            "0o7",
            "1.5",
            "1.2.3",
            "1e3",
            "1_0",
            "1:30",
            "5s",
            "10.0.0.0/8",
            "-1",
            "--v=2",
            "-",
            "- ",
            "---",
            "...",
            ":",
            ": ",
            "'",
            "\"",
            "''",
            "\"x\"",
            "'y'",
            "#",
            " #c",
            "[]",
            "{}",
            "[",
            "{",
            "]",
            "}",
            ",",
            "&x",
            "*x",
            "!t",
            "|",
            ">",
            "?",
            "? ",
            "<<",
            "%",
            "@",
            "`",
            "\\",
            "\t",
            "/p",
            ".inf",
            "nan",
            "inf",
            "y",
            "\u{e9}",
            "=",
            "$x",
            "(",
            "2026-01-01",
            "1d",
            "1f",
            "0b1",
            "1x",
            "e5",
            "9".repeat(19).leak(),
        ]);
        let line = (
            0..7_usize,
            prop::bool::weighted(0.3),
            prop::collection::vec(words, 0..4),
            prop::sample::select(vec!["", "", "", "k: ", "l: ", "name: ", "m.n/o: "]),
        )
            .prop_map(|(indent, item, words, key)| {
                let item = if item { "- " } else { "" };
                format!("{}{item}{key}{}\n", " ".repeat(indent), words.join(""))
            });
        prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-zA-Z0-9./_:#,*-]{0,9}".prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z./-]{1,6}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// What is compared below is something.
    #[test]
    fn many_of_the_random_documents_are_of_the_plain_part() {
        let mut runner = TestRunner::deterministic();
        let mut plain = |texts: &BoxedStrategy<String>| {
            let mut text = || texts.new_tree(&mut runner).unwrap().current();
            (0..1000).filter(|_| parse(&text()).is_some()).count()
        };
        let lines = plain(&lines().boxed());
        let written = plain(&value().prop_map(|value| write(&value).unwrap()).boxed());
        assert!(lines > 30 && written > 100, "{lines} and {written} of 1000");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_what_the_whole_parser_reads(text in lines()) {
            if let Some(value) = parse(&text) {
                prop_assert_eq!(Ok(value), parse_whole(&text), "{}", text);
            }
        }

        #[test]
        fn what_is_written_is_read_alike(value in value()) {
            let text = write(&value).unwrap();
            if let Some(read) = parse(&text) {
                prop_assert_eq!(Ok(read), parse_whole(&text), "{}", text);
            }
        }
    }
}
