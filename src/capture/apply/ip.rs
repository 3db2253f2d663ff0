//! `ip`: addresses, routing rules and routes.

use super::program::{ProgramError, run};
use crate::capture::saved::number;
use crate::capture::{Family, Routing};

const PROGRAM: &str = "ip";
/// An interface's line of `/proc/net/if_inet6` that has ::6.
const INBOUND_SOURCE: &str = "00000000000000000000000000000006 01 80 ";
/// Rules of one mark and table that are taken out at most: older kernels take the same rule twice.
const MOST_RULES: usize = 16;

/// Sets something up; false where it is there already.
pub(super) fn have(wanted: Routing) -> Result<bool, ProgramError> {
    if is_there(wanted)? {
        return Ok(false);
    }
    ask(wanted, true)?;
    Ok(true)
}

/// Takes something out; false where it isn't there.
pub(super) fn have_not(unwanted: Routing) -> Result<bool, ProgramError> {
    let mut times = 0;
    while times < MOST_RULES && is_there(unwanted)? {
        ask(unwanted, false)?;
        times += 1;
    }
    Ok(times > 0)
}

/// The routing tables of packets with one of these marks.
pub(super) fn rules(family: Family, marks: &[u32]) -> Result<Vec<(u32, u32)>, ProgramError> {
    let text = run(PROGRAM, &[family.ip_flag(), "rule", "show"], None, None)?;
    let mut rules: Vec<_> = text.lines().filter_map(rule).collect();
    rules.retain(|(mark, _)| marks.contains(mark));
    rules.sort_unstable();
    rules.dedup();
    Ok(rules)
}

fn ask(routing: Routing, wanted: bool) -> Result<(), ProgramError> {
    run(PROGRAM, &routing.arguments(wanted), None, None).map(drop)
}

fn is_there(routing: Routing) -> Result<bool, ProgramError> {
    Ok(match routing {
        Routing::InboundSource => std::fs::read_to_string("/proc/thread-self/net/if_inet6")
            .or_else(|_| std::fs::read_to_string("/proc/net/if_inet6"))
            .is_ok_and(|text| text.lines().any(|line| line.starts_with(INBOUND_SOURCE))),
        Routing::Rule {
            family,
            mark,
            table,
        } => rules(family, &[mark])?.contains(&(mark, table)),
        Routing::LocalRoute { family, table } => {
            let table = table.to_string();
            let words = [family.ip_flag(), "route", "show", "table", &table];
            // A table that nobody has used yet is an error.
            run(PROGRAM, &words, None, None).is_ok_and(|text| {
                text.lines()
                    .any(|line| line.starts_with("local default dev lo"))
            })
        }
    })
}

/// The mark and the table of a line of `ip rule show`.
fn rule(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "fwmark")?;
    let mark = number(words.next()?)?;
    words.find(|word| *word == "lookup")?;
    Some((mark, words.next()?.parse().ok()?))
}
