//! Manifests on disk: which files, which documents in them, which line a field stands on.

use std::cell::OnceCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::api::yaml;

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
    outline: OnceCell<Option<Node>>,
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
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input")?;
            documents.extend(split("-", &text));
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).with_context(|| name.clone())?;
            documents.extend(split(&name, &text));
        }
    }
    Ok(documents)
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

fn split(file: &str, text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    yaml::split(text)
        .into_iter()
        .map(|document| Document {
            file: file.to_owned(),
            line: document.line,
            text: document.text.to_owned(),
            outline: OnceCell::new(),
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

    /// The line of the file on which a field stands, or the nearest field around it that exists.
    pub fn line_of(&self, path: &str) -> usize {
        let outline = self.outline.get_or_init(|| {
            serde_saphyr::from_str_with_options(&self.text, yaml::options(&self.text)).ok()
        });
        match outline {
            Some(root) => self.line + root.find(path).line.max(1) - 1,
            None => self.line,
        }
    }
}

/// The shape of a document, and where each part of it stands.
#[derive(Debug)]
struct Node {
    line: usize,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    Items(Vec<Node>),
    Members(Vec<(String, Node)>),
}

impl Node {
    /// The node at a path such as `spec.http[0].route`, or the last on the way there.
    fn find(&self, path: &str) -> &Node {
        let path = path.strip_prefix('.').unwrap_or(path);
        let next = match &self.children {
            Children::None => None,
            Children::Items(items) => path
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest))),
            Children::Members(members) => members
                .iter()
                .filter_map(|(name, node)| {
                    let rest = path.strip_prefix(name.as_str())?;
                    (rest.is_empty() || rest.starts_with(['.', '['])).then_some((node, rest))
                })
                .min_by_key(|(_, rest)| rest.len()),
        };
        match next {
            Some((node, rest)) if !path.is_empty() => node.find(rest),
            _ => self,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Children>::deserialize(deserializer)?;
        Ok(Node {
            line: spanned.referenced.line() as usize,
            children: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Children {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChildrenVisitor)
    }
}

struct ChildrenVisitor;

impl<'de> Visitor<'de> for ChildrenVisitor {
    type Value = Children;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_unit<E>(self) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_none<E>(self) -> Result<Children, E> {
        Ok(Children::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Children, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Children::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Children, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(name)) = access.next_key()? {
            match name {
                Some(name) => members.push((name, access.next_value()?)),
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Children::Members(members))
    }
}

/// A member's name; `None` when it is no scalar.
struct Key(Option<String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Key(match Value::deserialize(deserializer)? {
            Value::String(name) => Some(name),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\nkind: A\nspec:\n  list:\n  - a: 1\n    b: 2\n---\nkind: B\nmetadata:\n  annotations:\n    example.com/x: y\n";

    #[test]
    fn a_file_is_taken_apart_at_its_separators() {
        let documents = split("f", TWO);
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
    fn the_line_of_a_field_is_that_in_the_file() {
        let documents = split("f", TWO);
        assert_eq!(documents[0].line_of("spec.list[0].b"), 6);
        assert_eq!(documents[0].line_of("spec.list[0].absent.deeper"), 5);
        assert_eq!(
            documents[1].line_of("metadata.annotations.example.com/x"),
            11
        );
        assert_eq!(documents[1].line_of(""), 8);
    }

    #[test]
    fn a_broken_document_tells_its_line_and_leaves_the_others_alone() {
        let documents = split("f", "a: 1\n---\na: [1\nb: }\n---\nc: 3\n");
        assert!(documents[0].parse().is_ok());
        assert!(documents[1].parse().unwrap_err().line >= 3);
        assert!(documents[2].parse().is_ok());
    }

    #[test]
    fn json_with_tabs_is_read() {
        let documents = split("f", "{\n\t\"kind\": \"A\"\n}\n");
        assert_eq!(documents[0].parse().unwrap()["kind"], "A");
    }
}
