//! `outrigger explain CODE`: what a diagnosis means, with an example and the cure; of all codes it makes
//! `docs/diagnostics.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::analysis::examples::example;
use crate::analysis::{Aspect, Diagnosis, diagnoses};
use crate::cli::{analyze, manifests};

/// Everything about one code, as text.
///
/// # Errors
/// There is no such code.
pub(super) fn text(code: &str) -> anyhow::Result<String> {
    let all = by_code();
    let code = code.to_uppercase();
    let Some(known) = all.get(code.as_str()) else {
        let codes: Vec<&str> = all.keys().copied().collect();
        anyhow::bail!(
            "{code:?} is no topic and no code of a diagnosis; topics are those of `outrigger explain --help`, codes: {}",
            codes.join(", ")
        );
    };
    let mut text = String::new();
    for (place, diagnosis) in known.iter().enumerate() {
        if place == 0 {
            writeln!(text, "{} {}", diagnosis.code, diagnosis.name)?;
        }
        writeln!(text, "\n{}", heading(diagnosis))?;
        writeln!(text, "  {}", diagnosis.means.trim())?;
        writeln!(text, "  Traffic: {}", diagnosis.effect)?;
        writeln!(text, "  Cure: {}", diagnosis.cure)?;
    }
    if let Some(example) = example(&code) {
        let (manifest, said) = shown(&code, example)?;
        writeln!(text, "\nExample:\n\n{manifest}\n{said}")?;
    }
    Ok(text)
}

/// A Markdown page about all codes.
///
/// # Errors
/// An example cannot be read.
pub(super) fn page() -> anyhow::Result<String> {
    let mut page = String::from(HEAD);
    for (code, known) in by_code() {
        let name = known.first().map_or("", |diagnosis| diagnosis.name);
        writeln!(page, "\n## {code} {name}")?;
        for diagnosis in known {
            writeln!(
                page,
                "\n**{}**. {}",
                heading(diagnosis),
                diagnosis.means.trim()
            )?;
            writeln!(page, "- Traffic: {}", diagnosis.effect)?;
            writeln!(page, "- Cure: {}", diagnosis.cure)?;
        }
        if let Some(example) = example(code) {
            let (manifest, said) = shown(code, example)?;
            write!(page, "\n```yaml\n{manifest}```\n\n```\n{said}```\n")?;
        }
    }
    Ok(page)
}

const HEAD: &str = "# Diagnostics

Everything that `outrigger analyze`, the conditions and events of the objects, and the warnings at admission can say.
Codes that begin with IST have the meaning that they have in Istio; those that begin with ORG are Outrigger's own.
What traffic does is told by the semantics of Istio's API, for proxies that are configured by it.

An object's annotation `galley.istio.io/analyze-suppress: CODE,CODE` (or `*`) keeps these codes from being said about it, wherever
they would be; that an object is invalid is always said.

This page is made by `outrigger explain --all`; `outrigger explain CODE` tells about one code.
";

fn by_code() -> BTreeMap<&'static str, Vec<&'static Diagnosis>> {
    let mut all: BTreeMap<&str, Vec<&Diagnosis>> = BTreeMap::new();
    for diagnosis in diagnoses::ALL {
        all.entry(diagnosis.code).or_default().push(diagnosis);
    }
    all
}

/// `HostNotFound (Error, condition ResolvedRefs=False)`
fn heading(diagnosis: &Diagnosis) -> String {
    let condition = match diagnosis.aspect {
        Aspect::Readable | Aspect::Accepted => ", condition Accepted=False",
        Aspect::Conflicted => ", condition Conflicted=True",
        Aspect::ResolvedRefs => ", condition ResolvedRefs=False",
        Aspect::PortsExposed => ", condition PortsExposed=False",
        Aspect::Unresolved => ", condition ResolvedRefs=Unknown",
        Aspect::Resolving => ", condition ResolvedRefs=True",
        Aspect::Remark => "",
    };
    format!("{} ({}{condition})", diagnosis.reason, diagnosis.level)
}

/// An example, and what the analysis says about it under its code.
fn shown<'e>(code: &str, example: &'e str) -> anyhow::Result<(&'e str, String)> {
    let said = analyze::example(&manifests::documents("example.yaml", example), code);
    anyhow::ensure!(!said.is_empty(), "the example of {code} does not yield it");
    Ok((example, said))
}
