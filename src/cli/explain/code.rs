//! `outrigger explain CODE`: what a diagnosis means.

use std::process::ExitCode;

use anyhow::bail;

use crate::analysis::{Aspect, Diagnosis, diagnoses};

pub(super) fn run(code: &str) -> anyhow::Result<ExitCode> {
    let known: Vec<&Diagnosis> = diagnoses::ALL
        .iter()
        .filter(|diagnosis| diagnosis.code.eq_ignore_ascii_case(code))
        .copied()
        .collect();
    let Some(first) = known.first() else {
        let mut codes: Vec<&str> = diagnoses::ALL.iter().map(|d| d.code).collect();
        codes.sort_unstable();
        codes.dedup();
        bail!(
            "{code:?} is no topic and no code of a diagnosis; topics are those of `outrigger explain --help`, codes: {}",
            codes.join(", ")
        );
    };
    println!("{} {}", first.code, first.name);
    for diagnosis in known {
        let condition = condition(diagnosis.aspect)
            .map(|condition| format!(", condition {condition}"))
            .unwrap_or_default();
        println!("  {}: {}{condition}", diagnosis.reason, diagnosis.level);
    }
    Ok(ExitCode::SUCCESS)
}

/// The condition of the object that a diagnosis turns, where it turns one.
fn condition(aspect: Aspect) -> Option<&'static str> {
    match aspect {
        Aspect::Readable | Aspect::Accepted => Some("Accepted=False"),
        Aspect::Conflicted => Some("Conflicted=True"),
        Aspect::ResolvedRefs => Some("ResolvedRefs=False"),
        Aspect::PortsExposed => Some("PortsExposed=False"),
        Aspect::Remark => None,
    }
}
