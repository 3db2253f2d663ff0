//! Where the fields of a document stand.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::api::yaml;

/// The shape of a document.
#[derive(Debug)]
pub(super) struct Outline(Node);

/// A value: its bytes in the text, and what is in it.
#[derive(Debug)]
struct Node {
    span: Range<usize>,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    Items(Vec<Node>),
    Members(Vec<Member>),
}

#[derive(Debug)]
struct Member {
    name: String,
    /// The bytes of the name.
    span: Range<usize>,
    value: Node,
}

impl Outline {
    /// The outline of a text; `None` when it is not well-formed.
    pub(super) fn of(text: &str) -> Option<Outline> {
        serde_saphyr::from_str_with_options(text, yaml::options(text))
            .ok()
            .map(Outline)
    }

    /// The bytes of a field such as `spec.http[0].route`, or of the last one on the way there that exists: those of a
    /// value on one line, else those of its name. An object as a whole is told by its name. Empty for the whole line.
    pub(super) fn find(&self, path: &str) -> Range<usize> {
        let whole = path.is_empty();
        let found = self
            .0
            .find(if whole { "metadata.name" } else { path }, None);
        if whole && !found.entire {
            return self.0.span.start..self.0.span.start;
        }
        found.span
    }
}

/// How far a path leads.
struct Found {
    span: Range<usize>,
    /// Whether all of the path exists.
    entire: bool,
}

impl Node {
    /// Goes on from this node, whose name stands at `name`.
    fn find(&self, path: &str, name: Option<&Range<usize>>) -> Found {
        let path = path.strip_prefix('.').unwrap_or(path);
        let next = match &self.children {
            Children::None => None,
            Children::Items(items) => path
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)))
                .map(|(item, rest)| item.find(rest, None)),
            Children::Members(members) => members
                .iter()
                .filter_map(|member| {
                    let rest = path.strip_prefix(member.name.as_str())?;
                    (rest.is_empty() || rest.starts_with(['.', '['])).then_some((member, rest))
                })
                .min_by_key(|(_, rest)| rest.len())
                .map(|(member, rest)| member.value.find(rest, Some(&member.span))),
        };
        match next {
            Some(found) if !path.is_empty() => found,
            _ => Found {
                span: self.told(name),
                entire: path.is_empty(),
            },
        }
    }

    /// What stands for this node: a scalar itself, else its name; an item of a list has none, so its first line.
    fn told(&self, name: Option<&Range<usize>>) -> Range<usize> {
        match (&self.children, name) {
            (Children::None, _) => self.span.clone(),
            (_, Some(name)) => name.clone(),
            (_, None) => self.span.start..self.span.start,
        }
    }
}

fn bytes<T>(spanned: &Spanned<T>) -> Range<usize> {
    let span = spanned.referenced.span();
    let number = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());
    let start = number(span.byte_offset()).unwrap_or(0);
    start..start + number(span.byte_len()).unwrap_or(0)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Children>::deserialize(deserializer)?;
        Ok(Node {
            span: bytes(&spanned),
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
        while let Some(key) = access.next_key::<Spanned<Key>>()? {
            let span = bytes(&key);
            match key.value.0 {
                Some(name) => members.push(Member {
                    name,
                    span,
                    value: access.next_value()?,
                }),
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
