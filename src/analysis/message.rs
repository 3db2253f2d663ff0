//! What a diagnosis says.

use std::fmt;

use crate::world::ObjectKey;

/// Most other objects that a message names.
const MOST_RELATED: usize = 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Traffic does not do what the object says.
    Error,
    /// It may do something else than meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Level {
    /// As Istio's command line prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Info => "Info",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which condition of the object a message turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// `Accepted`, and nothing else can be told: the object cannot even be read.
    Readable,
    /// `Accepted`: the object in itself.
    Accepted,
    /// `Conflicted`: another object says otherwise, and wins.
    Conflicted,
    /// `ResolvedRefs`: what it names does not exist.
    ResolvedRefs,
    /// `ResolvedRefs`, as unknown: what it names may not be looked at.
    Unresolved,
    /// `ResolvedRefs`, which stays true: what it names exists, but not for long.
    Resolving,
    /// `PortsExposed`: no Service exposes a Gateway's port.
    PortsExposed,
    /// None: a remark.
    Remark,
}

/// What can be said: one entry for each code and reason, all of them in [`super::diagnoses`].
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Istio's code where the meaning is Istio's (`IST0101`), else one of our own (`ORG0001`).
    pub code: &'static str,
    /// The code's name (`ReferencedResourceNotFound`).
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The reason in conditions and events: CamelCase, stable.
    pub reason: &'static str,
    /// The condition that it turns.
    pub aspect: Aspect,
    /// What it means, in a sentence or two.
    pub means: &'static str,
    /// What traffic does while it stands, in one sentence: by the semantics of Istio's API.
    pub effect: &'static str,
    /// What to do, in one sentence.
    pub cure: &'static str,
}

fn documentation_url(code: &str) -> Option<String> {
    let page = code.starts_with("IST").then(|| code.to_lowercase())?;
    Some(format!(
        "https://istio.io/latest/docs/reference/config/analysis/{page}/"
    ))
}

impl Diagnosis {
    /// Where the code is explained: Istio's page for Istio's codes, `None` for our own.
    pub fn documentation_url(&self) -> Option<String> {
        documentation_url(self.code)
    }

    /// This diagnosis of one object.
    pub fn message(
        &self,
        object: &ObjectKey,
        path: impl Into<String>,
        text: impl Into<String>,
    ) -> Message {
        Message {
            code: self.code,
            name: self.name,
            level: self.level,
            reason: self.reason,
            aspect: self.aspect,
            object: object.clone(),
            path: path.into(),
            text: text.into(),
            related: Vec::new(),
            effect: self.effect,
            cure: self.cure,
        }
    }
}

/// One diagnosis of one object. Orders by level (errors first), code, object, field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// See [`Diagnosis::code`].
    pub code: &'static str,
    /// See [`Diagnosis::name`].
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// See [`Diagnosis::reason`].
    pub reason: &'static str,
    /// The condition that it turns.
    pub aspect: Aspect,
    /// The object that it is about.
    pub object: ObjectKey,
    /// The field, as in `spec.http[0].route[0].destination.subset`; empty when it is about the object as a whole.
    pub path: String,
    /// What was wanted and what exists instead, without the path.
    pub text: String,
    /// The other objects concerned.
    pub related: Vec<ObjectKey>,
    /// See [`Diagnosis::effect`].
    pub effect: &'static str,
    /// See [`Diagnosis::cure`].
    pub cure: &'static str,
}

impl Message {
    /// Adds another object that the message is about; the same one counts once, and what comes after the first twenty not
    /// at all: a message is to be read, and each of ten thousand rivals would name all the others.
    pub fn concerning(&mut self, other: &ObjectKey) -> &mut Message {
        if self.related.len() < MOST_RELATED && !self.related.contains(other) {
            self.related.push(other.clone());
        }
        self
    }

    /// The field and what is wrong with it, in one line.
    pub fn line(&self) -> String {
        if self.path.is_empty() {
            self.text.clone()
        } else {
            format!("{}: {}", self.path, self.text)
        }
    }

    /// See [`Diagnosis::documentation_url`].
    pub fn documentation_url(&self) -> Option<String> {
        documentation_url(self.code)
    }
}

impl PartialOrd for Message {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Message {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.level
            .cmp(&other.level)
            .then_with(|| self.code.cmp(other.code))
            .then_with(|| self.object.cmp(&other.object))
            .then_with(|| steps(&self.path).cmp(steps(&other.path)))
            .then_with(|| self.text.cmp(&other.text))
    }
}

/// `Error [IST0101] (VirtualService default/reviews) spec.hosts[0]: …`
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} [{}] ({}) {}",
            self.level,
            self.code,
            self.object,
            self.line()
        )
    }
}

/// A part of a field path; numbers order as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step<'a> {
    Index(u64),
    Name(&'a str),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[', ']'])
        .filter(|step| !step.is_empty())
        .map(|step| step.parse().map_or(Step::Name(step), Step::Index))
}
