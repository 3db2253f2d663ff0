//! Manifests on disk: which files, which documents in them, where a field stands.

mod outline;

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context as _;
use serde_json::Value;

use crate::api::yaml;

use outline::Outline;

/// One YAML or JSON document of a file.
#[derive(Debug)]
pub struct Document {
    /// The file as it was named; `-` for standard input.
    pub file: String,
    /// The line of the file on which the document begins, from 1.
    pub line: usize,
    text: String,
    /// Where its fields stand, from the first question on: a list of a whole cluster's objects has many messages.
    /// `None` when that cannot be told.
    outline: OnceLock<Option<Outline>>,
}

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'d> {
    /// The line of the file, from 1.
    pub line: usize,
    /// The text of that line, without its end.
    pub text: &'d str,
    /// The bytes of the line's text that are meant.
    pub span: Range<usize>,
}

impl Place<'_> {
    /// The column of the line, in characters from 1.
    pub fn column(&self) -> usize {
        self.before(self.span.start)
    }

    /// The column after the last character that is meant.
    pub fn end_column(&self) -> usize {
        self.before(self.span.end)
    }

    fn before(&self, end: usize) -> usize {
        self.text.get(..end).map_or(0, |text| text.chars().count()) + 1
    }
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The line of the file.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// Reads all documents of files, of folders (every `.yaml`, `.yml` and `.json` in them, by name) and of `-`.
///
/// # Errors
/// A path cannot be read, or is not UTF-8 text.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input")?;
            all.extend(documents("-", &text));
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).with_context(|| name.clone())?;
            all.extend(documents(&name, &text));
        }
    }
    Ok(all)
}

/// The path itself, or the manifests under it.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let described = || path.display().to_string();
    if !std::fs::metadata(path).with_context(described)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(described)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(described)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_manifest = entry.extension().is_some_and(|extension| {
            extension == "yaml" || extension == "yml" || extension == "json"
        });
        if entry.is_dir() || is_manifest {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

/// The documents of a text, as those of a file of that name.
pub fn documents(file: &str, text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    yaml::split(text)
        .into_iter()
        .map(|document| Document {
            file: file.to_owned(),
            line: document.line,
            text: document.text.to_owned(),
            outline: OnceLock::new(),
        })
        .collect()
}

impl Document {
    /// What the document says; `null` when it is empty.
    ///
    /// # Errors
    /// It is not well-formed.
    pub fn parse(&self) -> Result<Value, Unreadable> {
        yaml::parse(&self.text).map_err(|error| Unreadable {
            line: self.line + error.line - 1,
            text: error.problem,
        })
    }

    /// Where a field stands, or the nearest field around it that exists. What spans several lines is told by its name.
    pub fn place_of(&self, path: &str) -> Place<'_> {
        let outline = self.outline.get_or_init(|| Outline::of(&self.text));
        let span = outline.as_ref().map_or(0..0, |outline| outline.find(path));
        self.place(span)
    }

    /// The place of a line of this document, from its first one on.
    pub fn place_of_line(&self, line: usize) -> Place<'_> {
        let before = line.saturating_sub(self.line);
        let start = self
            .text
            .split_inclusive('\n')
            .take(before)
            .map(str::len)
            .sum();
        self.place(start..start)
    }

    /// Some bytes of the text, as far as they are on one line; no bytes stand for the words of the line.
    fn place(&self, span: Range<usize>) -> Place<'_> {
        let before = self.text.get(..span.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let words = text.trim_end().len();
        let span = if span.is_empty() {
            text.len() - text.trim_start().len()..words
        } else {
            span.start - start..(span.end - start).min(words)
        };
        Place {
            line: self.line + before.matches('\n').count(),
            text,
            span: span.start.min(span.end)..span.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\nkind: A\nspec:\n  list:\n  - a: 1\n    b: 2\n---\nkind: B\nmetadata:\n  annotations:\n    example.com/x: y\n";

    #[test]
    fn a_file_is_taken_apart_at_its_separators() {
        let documents = documents("f", TWO);
        assert_eq!(
            documents
                .iter()
                .map(|document| document.line)
                .collect::<Vec<_>>(),
            [1, 7]
        );
        assert_eq!(documents[1].parse().unwrap()["kind"], "B");
    }

    #[test]
    fn the_place_of_a_field_is_that_in_the_file() {
        let documents = documents("f", TWO);
        let told = |document: usize, path| {
            let place = documents[document].place_of(path);
            (place.line, place.column(), &place.text[place.span.clone()])
        };
        assert_eq!(told(0, "spec.list[0].b"), (6, 8, "2"));
        assert_eq!(told(0, "spec.list[0].absent.deeper"), (5, 3, "- a: 1"));
        assert_eq!(told(0, "spec.list"), (4, 3, "list"));
        assert_eq!(told(0, "spec.absent"), (3, 1, "spec"));
        assert_eq!(told(1, "metadata.annotations.example.com/x"), (11, 20, "y"));
        assert_eq!(told(1, ""), (8, 1, "kind: B"));
    }

    #[test]
    fn places_in_flow_style_quotes_and_wide_characters_are_exact() {
        let text = "a: {b: \"ü\", c: [x, 'y z']}\nmetadata: {name: shop}\nlong: |\n  one\n  two\n";
        let documents = documents("f", text);
        let told = |path| {
            let place = documents[0].place_of(path);
            (place.line, place.column(), &place.text[place.span.clone()])
        };
        assert_eq!(told("a.b"), (1, 8, "\"ü\""));
        assert_eq!(told("a.c[1]"), (1, 20, "'y z'"));
        assert_eq!(told("long"), (4, 3, "one"));
        assert_eq!(told(""), (2, 18, "shop"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_places(text in "[-a-c:{}\\[\\]'\"|>&*#, \n\t\r\u{e4}\u{1f600}]{0,60}", path in "[a-c.\\[\\]0-2]{0,12}", line in 0_usize..9) {
            for document in documents("f", &text) {
                for place in [document.place_of(&path), document.place_of_line(line)] {
                    proptest::prop_assert!(place.text.get(place.span.clone()).is_some(), "{place:?}");
                    proptest::prop_assert!(place.column() <= place.end_column());
                }
            }
        }
    }

    #[test]
    fn a_broken_document_tells_its_line_and_leaves_the_others_alone() {
        let documents = documents("f", "a: 1\n---\na: [1\nb: }\n---\nc: 3\n");
        assert!(documents[0].parse().is_ok());
        assert!(documents[1].parse().unwrap_err().line >= 3);
        assert!(documents[2].parse().is_ok());
    }

    #[test]
    fn json_with_tabs_is_read() {
        let documents = documents("f", "{\n\t\"kind\": \"A\"\n}\n");
        assert_eq!(documents[0].parse().unwrap()["kind"], "A");
    }
}
