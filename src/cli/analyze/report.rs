//! For people: each message with the line that it is about, as compilers print theirs.

use std::collections::BTreeMap;

use annotate_snippets::{
    AnnotationKind, Element, Group, Level as Severity, Origin, Renderer, Snippet,
};

use super::finding::{Finding, Findings};
use crate::analysis::Level;

/// A longer line is no help to anyone: its place is told, but it is not shown.
const LONGEST_LINE: usize = 400;

/// The messages with their lines, what traffic does, and what to do.
pub(super) fn rendered(findings: &[Finding<'_>], colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    findings
        .iter()
        .map(|finding| format!("{}\n\n", renderer.render(&[group(finding)])))
        .collect()
}

fn group<'a>(finding: &'a Finding<'a>) -> Group<'a> {
    let severity = match finding.level {
        Level::Error => Severity::ERROR,
        Level::Warning => Severity::WARNING,
        Level::Info => Severity::INFO,
    };
    let mut group = severity
        .primary_title(&finding.text)
        .id(finding.code)
        .element(place(finding));
    if !finding.related.is_empty() {
        let others = format!("see also {}", finding.related.join(", "));
        group = group.element(Severity::NOTE.message(others));
    }
    group
        .element(Severity::NOTE.with_name("traffic").message(finding.effect))
        .element(Severity::HELP.with_name("cure").message(finding.cure))
}

fn place<'a>(finding: &'a Finding<'a>) -> Element<'a> {
    match &finding.place {
        Some((file, place)) if place.text.len() <= LONGEST_LINE => Snippet::source(place.text)
            .path(*file)
            .line_start(place.line)
            .annotation(
                AnnotationKind::Primary
                    .span(place.span.clone())
                    .label(finding.subject()),
            )
            .into(),
        Some((file, place)) => Origin::path(format!("{file} ({})", finding.subject()))
            .line(place.line)
            .char_column(place.column())
            .into(),
        None => Origin::path(finding.subject()).into(),
    }
}

/// How much was found, and what was suppressed: nothing vanishes unseen.
pub(super) fn summary(findings: &Findings<'_>) -> String {
    let count = |level: Level, one: &str, many: &str| {
        let number = findings.said.iter().filter(|it| it.level == level).count();
        (number > 0).then(|| format!("{number} {}", if number == 1 { one } else { many }))
    };
    let counts: Vec<String> = [
        count(Level::Error, "error", "errors"),
        count(Level::Warning, "warning", "warnings"),
        count(Level::Info, "remark", "remarks"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let found = if counts.is_empty() {
        "No problems found".to_owned()
    } else {
        counts.join(", ")
    };
    if findings.suppressed.is_empty() {
        return format!("{found}.");
    }
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &findings.suppressed {
        *codes.entry(finding.code).or_default() += 1;
    }
    let codes: Vec<String> = codes
        .into_iter()
        .map(|(code, number)| format!("{code} × {number}"))
        .collect();
    format!(
        "{found}; {} suppressed ({}).",
        findings.suppressed.len(),
        codes.join(", ")
    )
}
