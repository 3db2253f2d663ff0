//! SARIF 2.1.0, the OASIS format of static analysis results that code scanning services read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::finding::{Finding, Findings};
use crate::analysis::{Diagnosis, Level, diagnoses};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The whole log. What is suppressed is in it too, marked as the format has it.
pub(super) fn log(findings: &Findings<'_>) -> anyhow::Result<String> {
    let mut rules: BTreeMap<&str, Vec<&Diagnosis>> = BTreeMap::new();
    for diagnosis in diagnoses::ALL {
        rules.entry(diagnosis.code).or_default().push(diagnosis);
    }
    let place: BTreeMap<&str, usize> = rules
        .keys()
        .enumerate()
        .map(|(at, code)| (*code, at))
        .collect();
    let said = findings.said.iter().map(|it| result(it, &place, false));
    let suppressed = findings
        .suppressed
        .iter()
        .map(|it| result(it, &place, true));
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "outrigger",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.values().map(|of| rule(of)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": said.chain(suppressed).collect::<Vec<_>>(),
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

/// A code; there is at least one diagnosis with it.
fn rule(of: &[&Diagnosis]) -> Value {
    let Some(first) = of.first() else {
        return Value::Null;
    };
    let sentences = |text: fn(&Diagnosis) -> &'static str| {
        let all: Vec<&str> = of.iter().map(|it| text(it).trim()).collect();
        all.join(" ")
    };
    let mut rule = json!({
        "id": first.code,
        "name": first.name,
        "shortDescription": {"text": first.means.trim()},
        "fullDescription": {"text": sentences(|it| it.means)},
        "help": {"text": sentences(|it| it.cure)},
        "defaultConfiguration": {"level": level(first.level)},
    });
    if let Some(url) = first.documentation_url() {
        rule["helpUri"] = json!(url);
    }
    rule
}

fn result(finding: &Finding<'_>, rules: &BTreeMap<&str, usize>, suppressed: bool) -> Value {
    let mut location = json!({
        "logicalLocations": [{"fullyQualifiedName": finding.subject(), "kind": "resource"}],
    });
    if let Some((file, place)) = &finding.place {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(file)},
            "region": {
                "startLine": place.line,
                "startColumn": place.column(),
                "endColumn": place.end_column(),
            },
        });
    }
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": rules.get(finding.code),
        "level": level(finding.level),
        "message": {"text": format!("{}. {} {}", finding.text, finding.effect, finding.cure)},
        "locations": [location],
    });
    if suppressed {
        result["suppressions"] = json!([{"kind": "external"}]);
    }
    result
}

/// A file's name as a relative reference: what is not allowed in one is percent-encoded.
fn uri(file: &str) -> String {
    let mut text = String::new();
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
