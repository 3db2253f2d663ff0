//! For programs: JSON and YAML.

use serde_json::{Value, json};

use super::finding::Finding;
use crate::api::yaml;

/// An array of messages: the members of `istioctl analyze -o json`, and ours.
fn list(findings: &[Finding<'_>]) -> Value {
    findings
        .iter()
        .map(|finding| {
            let mut message = json!({
                "code": finding.code,
                "level": finding.level.as_str(),
                "message": finding.text,
                "origin": finding.origin,
                "path": finding.path,
                "reference": finding.reference(),
                "reason": finding.reason,
                "related": finding.related,
                "effect": finding.effect,
                "cure": finding.cure,
            });
            if let Some((_, place)) = &finding.place {
                message["column"] = json!(place.column());
            }
            if let Some(url) = &finding.documentation_url {
                message["documentationUrl"] = json!(url);
            }
            message
        })
        .collect()
}

pub(super) fn json(findings: &[Finding<'_>]) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&list(findings))? + "\n")
}

pub(super) fn yaml(findings: &[Finding<'_>]) -> anyhow::Result<String> {
    Ok(yaml::write(&list(findings))?)
}
