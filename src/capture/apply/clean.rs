//! Taking rules out again.

use std::fmt;

use super::program::ProgramError;
use super::{Applied, ApplyError, Cause, ip, nft as nft_program, one, variants, xtables};
use crate::capture::{Backend, Family, Routing, Variant, clean_script, clean_text};

/// Takes out what [`apply`] put in, with whatever settings it ran. `marks` are marks of TPROXY that it may have used
/// besides those that its rules name. Returns what was done, nothing where there was nothing.
///
/// # Errors
/// What a tool that holds rules of ours said.
pub fn clean(backend: Backend, cni: bool, marks: &[u32]) -> Result<Vec<Cleaned>, ApplyError> {
    let mut done = Vec::new();
    let mut marks = marks.to_vec();
    for variant in variants(backend) {
        for (applied, held) in self::variant(*variant, cni).map_err(Cause::from)? {
            marks.extend(marks_in(&held));
            done.push(Cleaned::Rules(applied));
        }
    }
    if !matches!(backend, Backend::Iptables(_))
        && let Some((applied, held)) = nft().map_err(Cause::from)?
    {
        marks.extend(marks_in(&held));
        done.push(Cleaned::Rules(applied));
    }
    for routing in routing_left(&marks) {
        if ip::have_not(routing).map_err(Cause::from)? {
            done.push(Cleaned::Routing(routing));
        }
    }
    Ok(done)
}

/// Something that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// Rules.
    Rules(Applied),
    /// An address, a routing rule or a route.
    Routing(Routing),
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(applied) => f.write_str(&applied.program),
            Self::Routing(routing) => f.write_str(&routing.command(false)),
        }
    }
}

/// What was done, and the text of what was there.
type Held = (Applied, String);

/// A variant or a family that isn't there has nothing to clean.
pub(super) fn variant(variant: Variant, cni: bool) -> Result<Vec<Held>, ProgramError> {
    let mut done = Vec::new();
    for family in Family::ALL {
        let tool = xtables(variant, family, cni);
        let Ok(before) = tool.save() else { continue };
        let leftovers = before.leftovers();
        if !leftovers.is_empty() {
            let text = clean_text(&leftovers);
            tool.restore(&text)?;
            let held = leftovers.keys().map(|table| before.table_text(table));
            let applied = Applied {
                program: tool.program("-restore"),
                families: one(family),
                text: Some(text),
            };
            done.push((applied, held.collect()));
        }
    }
    Ok(done)
}

pub(super) fn nft() -> Result<Option<Held>, ProgramError> {
    let held = nft_program::tables().unwrap_or_default();
    if held.is_empty() {
        return Ok(None);
    }
    let text = clean_script();
    nft_program::apply(&text)?;
    let applied = Applied {
        program: nft_program::PROGRAM.to_owned(),
        families: &Family::ALL,
        text: Some(text),
    };
    Ok(Some((applied, held)))
}

/// Routing that serves packets with these marks, and the proxy's own address.
fn routing_left(marks: &[u32]) -> Vec<Routing> {
    let mut found = vec![Routing::InboundSource];
    for family in Family::ALL {
        for (mark, table) in ip::rules(family, marks).unwrap_or_default() {
            found.push(Routing::Rule {
                family,
                mark,
                table,
            });
            found.push(Routing::LocalRoute { family, table });
        }
    }
    found
}

/// The marks that rules of TPROXY give, in what iptables or nft print.
fn marks_in(text: &str) -> Vec<u32> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let given = words.windows(3).filter_map(|words| match words {
        ["--tproxy-mark", mark, _] | ["mark", "set", mark] => Some(*mark),
        _ => None,
    });
    given
        .filter_map(|mark| {
            let mark = mark.split('/').next()?;
            match mark.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => mark.parse().ok(),
            }
        })
        .collect()
}
