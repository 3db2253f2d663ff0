//! Annotations of a change under review: workflow commands of GitHub, as its reference
//! "Workflow commands for GitHub Actions" describes them.

use std::fmt::Write as _;

use super::finding::Finding;
use crate::analysis::Level;

/// A line for each message.
pub(super) fn annotations(findings: &[Finding<'_>]) -> String {
    let mut text = String::new();
    for finding in findings {
        let command = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "notice",
        };
        let mut properties = Vec::new();
        if let Some((file, place)) = &finding.place {
            properties.push(format!("file={}", property(file)));
            properties.push(format!("line={}", place.line));
            properties.push(format!("col={}", place.column()));
            properties.push(format!("endColumn={}", place.end_column()));
        }
        let title = format!("{} {}", finding.code, finding.name);
        properties.push(format!("title={}", property(&title)));
        let message = [
            &finding.subject(),
            &finding.text,
            finding.effect,
            finding.cure,
        ]
        .join("\n");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "::{command} {}::{}",
            properties.join(","),
            data(&message)
        );
    }
    text
}

/// What stands after `::` must be one line.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Properties are separated by commas and end at a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
