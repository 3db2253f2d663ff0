//! Taking rules out again.

use std::fmt;

use super::error::CleanError;
use super::program::ProgramError;
use super::xtables::Xtables;
use super::{Applied, ip, nft, one, variants, xtables};
use crate::capture::saved::number;
use crate::capture::{Backend, Family, Routing, clean_script, clean_text};

/// Takes out what [`super::apply`] put in, with whatever settings it ran. `marks` are marks of TPROXY that it may have
/// used besides those that its rules name. Returns what was done, nothing where there was nothing.
///
/// # Errors
/// What tools said that hold rules of ours and keep them, or that may not look. The rest has been taken out.
pub fn clean(backend: Backend, cni: bool, marks: &[u32]) -> Result<Vec<Cleaned>, CleanError> {
    let mut run = Cleaning::default();
    for variant in variants(backend) {
        for family in Family::ALL {
            run.tables(&xtables(*variant, family, cni));
        }
    }
    if !matches!(backend, Backend::Iptables(_)) {
        run.nft();
    }
    let mut marks = marks.to_vec();
    marks.extend(run.held.iter().flat_map(|text| marks_in(text)));
    let mut done: Vec<Cleaned> = run.done.into_iter().map(Cleaned::Rules).collect();
    for routing in routing_left(&marks) {
        match ip::have_not(routing) {
            Ok(true) => done.push(Cleaned::Routing(routing)),
            Ok(false) => {}
            Err(error) => run.failed.push(error),
        }
    }
    // A variant or a family that isn't there holds nothing; one that may not be asked may hold anything.
    let unseen = run.unseen.into_iter();
    run.failed
        .extend(unseen.filter(|error| !run.looked || error.is_denied()));
    if run.failed.is_empty() {
        Ok(done)
    } else {
        let done = done.iter().map(ToString::to_string).collect();
        Err(CleanError {
            errors: run.failed,
            done,
        })
    }
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

/// Tool after tool; one that fails does not keep the others from being cleaned.
#[derive(Default)]
pub(super) struct Cleaning {
    pub(super) done: Vec<Applied>,
    /// The texts of what was taken out.
    held: Vec<String>,
    /// A tool could say what it holds.
    looked: bool,
    /// Tools that could not.
    unseen: Vec<ProgramError>,
    /// Tools that hold rules of ours and keep them.
    pub(super) failed: Vec<ProgramError>,
}

impl Cleaning {
    pub(super) fn tables(&mut self, tool: &Xtables) {
        let Some(before) = self.seen(tool.save()) else {
            return;
        };
        let leftovers = before.leftovers();
        if leftovers.is_empty() {
            return;
        }
        let text = clean_text(&leftovers);
        let held = leftovers.keys().map(|table| before.table_text(table));
        self.taken_out(tool.restore(&text), held.collect(), || Applied {
            program: tool.program("-restore"),
            families: one(tool.family),
            text: Some(text.clone()),
        });
    }

    pub(super) fn nft(&mut self) {
        let Some(held) = self.seen(nft::tables()).filter(|held| !held.is_empty()) else {
            return;
        };
        let text = clean_script();
        self.taken_out(nft::apply(&text), held, || Applied {
            program: nft::PROGRAM.to_owned(),
            families: &Family::ALL,
            text: Some(text.clone()),
        });
    }

    fn seen<T>(&mut self, looked: Result<T, ProgramError>) -> Option<T> {
        match looked {
            Ok(found) => {
                self.looked = true;
                Some(found)
            }
            Err(error) => {
                self.unseen.push(error);
                None
            }
        }
    }

    fn taken_out(
        &mut self,
        outcome: Result<(), ProgramError>,
        held: String,
        applied: impl FnOnce() -> Applied,
    ) {
        match outcome {
            Ok(()) => {
                self.held.push(held);
                self.done.push(applied());
            }
            Err(error) => self.failed.push(error),
        }
    }
}

/// Routing that serves packets with these marks, and the proxy's own address.
pub(super) fn routing_left(marks: &[u32]) -> Vec<Routing> {
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
pub(super) fn marks_in(text: &str) -> Vec<u32> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let given = words.windows(3).filter_map(|words| match words {
        ["--tproxy-mark", mark, _] | ["mark", "set", mark] => Some(*mark),
        _ => None,
    });
    given
        .filter_map(|mark| number(mark.split('/').next()?))
        .collect()
}
