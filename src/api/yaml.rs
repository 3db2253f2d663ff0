//! YAML text: its documents, values read within bounds, values written so that they read back.

mod plain;

use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Options};

/// What separates documents, at the start of a line.
pub const MARKER: &str = "---";

/// One document of a text, with its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'t> {
    /// The text; those of all documents together are the whole text.
    pub text: &'t str,
    /// The line on which it begins, from 1.
    pub line: usize,
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Unreadable {
    /// The line of the document, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Takes a text apart at its markers, so that one broken document leaves the others readable.
pub fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix(MARKER)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && at > start {
            documents.push(Document {
                text: &text[start..at],
                line: first_line,
            });
            (start, first_line) = (at, index + 1);
        }
        at += line.len();
    }
    if at > start {
        documents.push(Document {
            text: &text[start..],
            line: first_line,
        });
    }
    documents
}

/// Reads one document; an empty one is `null`.
///
/// # Errors
/// It is not well-formed, or larger or deeper than any object.
pub fn parse(text: &str) -> Result<Value, Unreadable> {
    let text = text.trim_start_matches('\u{feff}');
    if is_blank(text) {
        return Ok(Value::Null);
    }
    // JSON is YAML but for its tabs, and much faster to read as what it is.
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    match plain::parse(text) {
        Some(value) => Ok(value),
        None => parse_whole(text),
    }
}

/// As [`parse`], for all of YAML.
fn parse_whole(text: &str) -> Result<Value, Unreadable> {
    serde_saphyr::from_str_with_options(text, options(text)).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |location| location.line());
        Unreadable {
            line: usize::try_from(line).unwrap_or(1).max(1),
            problem: without_place(&error.to_string()).to_owned(),
        }
    })
}

/// A problem without the place that ends it: lines of a document are not those of its file.
fn without_place(problem: &str) -> &str {
    match problem.rsplit_once(" at line ") {
        Some((what, place)) if place.split(", column ").all(|it| it.parse::<u64>().is_ok()) => what,
        _ => problem,
    }
}

/// Reads a document that must be a map; an empty one is an empty map.
///
/// # Errors
/// Where it is not well-formed, or what it is instead.
pub fn parse_map(text: &str) -> Result<Map<String, Value>, String> {
    match parse(text).map_err(|error| error.to_string())? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err("must be a YAML map".to_owned()),
    }
}

/// Limits for one document: wide enough for the largest object that an API server takes and for long lists, bounded
/// by the size of the text that is already in memory. Repeated keys: the last one counts, as for the API server.
pub fn options(text: &str) -> Options {
    let size = text.len();
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 200,
            max_documents: 1,
            max_nodes: size + 16,
            max_events: 2 * size + 16,
            max_total_scalar_bytes: size + 16,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

/// Nothing but markers, comments and blanks.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.strip_prefix(MARKER).unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#') || line == "..."
    })
}

/// Writes a value as one document without a marker. Long lines stay whole: folded ones are hard to compare.
///
/// # Errors
/// The value has no form in YAML.
pub fn write(value: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let mut text = serde_saphyr::to_string_with_options(value, options)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pieces_of_a_split_are_the_text() {
        let text = "# head\n---\na: 1\n--- # two\nb: |\n  x\n  --- y\n---\n";
        let pieces: Vec<_> = split(text).iter().map(|piece| piece.text).collect();
        assert_eq!(
            pieces,
            [
                "# head\n",
                "---\na: 1\n",
                "--- # two\nb: |\n  x\n  --- y\n",
                "---\n"
            ]
        );
    }

    #[test]
    fn texts_that_look_like_other_types_stay_texts() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "true",
            "null",
            "~",
            "1",
            "1.0",
            "1e3",
            "0x1f",
            "012",
            "1:30",
            "2001-01-01",
            "",
            " a",
            "a ",
            "- a",
            "a: b",
            "a #b",
            "*",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "\t",
            "a\tb",
            "a\nb",
            "a\n",
            "\n",
            "a\r\nb",
            "\u{0}",
            "\u{85}",
            "é",
            "'",
            "\"",
            "\\",
            "?",
            "-",
            "=",
            "<<",
            ".inf",
            ".nan",
            "0o7",
            "1_000",
            "|",
            ">",
            "#",
            "{{ x }}",
            "...",
            "---",
            "a\n\n\n",
            "  a\nb",
            "\n a",
        ] {
            let value = json!({ "key": text, "list": [text], text: 1 });
            let yaml = write(&value).unwrap();
            assert_eq!(parse(&yaml), Ok(value), "{yaml}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in any::<String>(), number in any::<i64>()) {
            let value = json!({ "a": [{ "b": text, "c": number, "d": [] }], "e": {} });
            let yaml = write(&value).unwrap();
            prop_assert_eq!(parse(&yaml), Ok(value), "{}", yaml);
        }
    }
}
