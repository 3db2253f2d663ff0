//! Where validators put what they find: problems with their field paths.

use std::cell::RefCell;
use std::fmt;

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// The object is invalid.
    Invalid,
    /// The object is valid, but a field of it is not what it seems.
    Questionable,
    /// A route that nothing reaches.
    UnreachableRoute,
    /// A match that adds nothing to an earlier one.
    IneffectiveMatch,
    /// A route whose requests other routes take before.
    ShadowedRoute,
}

/// One problem of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is.
    pub finding: Finding,
    /// The field: `spec.http[0].timeout`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// The problems of one object.
#[derive(Debug, Default)]
pub struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// The field that all paths begin with.
    pub fn spec(&self) -> Field<'_> {
        Field {
            report: self,
            parent: None,
            step: Step::Member("spec"),
        }
    }

    /// All problems, in the order in which they were found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A place in an object. The path is put together only when there is something to say.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    report: &'a Report,
    parent: Option<&'a Field<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Field<'a> {
    /// A field of the object's metadata.
    pub fn metadata(&self) -> Field<'a> {
        Field {
            report: self.report,
            parent: None,
            step: Step::Member("metadata"),
        }
    }

    /// A member of this message.
    pub fn member<'b>(&'b self, name: &'b str) -> Field<'b> {
        self.step(Step::Member(name))
    }

    /// An item of this list.
    pub fn index(&self, index: usize) -> Field<'_> {
        self.step(Step::Index(index))
    }

    /// The value of a key of this map.
    pub fn key<'b>(&'b self, key: &'b str) -> Field<'b> {
        self.step(Step::Key(key))
    }

    fn step<'b>(&'b self, step: Step<'b>) -> Field<'b> {
        Field {
            report: self.report,
            parent: Some(self),
            step,
        }
    }

    /// Checks each item of the list that a member holds.
    pub fn each<T>(&self, name: &str, items: &[T], check: impl Fn(&Field<'_>, &T)) {
        let list = self.member(name);
        for (index, item) in items.iter().enumerate() {
            check(&list.index(index), item);
        }
    }

    /// Checks what a member holds, if it holds something.
    pub fn within<T>(&self, name: &str, value: &Option<T>, check: impl Fn(&Field<'_>, &T)) {
        if let Some(value) = value {
            check(&self.member(name), value);
        }
    }

    /// As [`Field::within`], of a member that is kept apart because it is large and rare.
    pub fn within_box<T>(
        &self,
        name: &str,
        value: &Option<Box<T>>,
        check: impl Fn(&Field<'_>, &T),
    ) {
        self.within(name, value, |at, value| check(at, value));
    }

    /// The field makes the object invalid.
    pub fn invalid(&self, text: impl fmt::Display) {
        self.report(Finding::Invalid, text);
    }

    /// As [`Field::invalid`], where a parser says so.
    pub fn check<E: fmt::Display>(&self, result: Result<(), E>) {
        if let Err(error) = result {
            self.invalid(error);
        }
    }

    /// The field is not what it seems.
    pub fn questionable(&self, text: impl fmt::Display) {
        self.report(Finding::Questionable, text);
    }

    /// Puts down a problem of this field.
    pub fn report(&self, finding: Finding, text: impl fmt::Display) {
        let problem = Problem {
            finding,
            path: self.to_string(),
            text: text.to_string(),
        };
        self.report.problems.borrow_mut().push(problem);
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Member(name) if self.parent.is_none() => f.write_str(name),
            Step::Member(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_carry_the_path_of_their_field() {
        let report = Report::default();
        report.spec().each("http", &["a", "b"], |field, route| {
            field
                .member("match")
                .index(2)
                .member("headers")
                .key("x-user")
                .invalid(route);
        });
        report
            .spec()
            .within("host", &Some(()), |field, ()| field.questionable("odd"));
        let problems = report.into_problems();
        let paths: Vec<&str> = problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "spec.http[0].match[2].headers[x-user]",
                "spec.http[1].match[2].headers[x-user]",
                "spec.host"
            ]
        );
        assert_eq!(problems[2].finding, Finding::Questionable);
    }
}
