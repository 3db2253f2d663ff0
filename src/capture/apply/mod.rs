//! Runs `iptables-restore`, `nft` and `ip`: the only part of capture that touches the machine.

mod clean;
mod error;
mod ip;
mod nft;
mod program;
mod xtables;

use tracing::warn;

pub use clean::{Cleaned, clean};
pub use error::{ApplyError, Cause, CleanError};
pub use program::ProgramError;
use xtables::Xtables;

use super::{
    Backend, Family, Host, Interception, Routing, RuleSet, Saved, Table, Variant, clean_script,
    guard_text, modules, restore_text, script,
};

/// What is to be applied, and how.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// What they need besides.
    pub routing: &'a [Routing],
    /// Where they apply.
    pub host: &'a Host,
    /// The pod has no IPv4 address: it starts where the kernel has no tables for IPv4.
    pub ipv6_only: bool,
    /// The tools.
    pub backend: Backend,
    /// Apply even what is in place.
    pub force: bool,
    /// Guard the pod while other rules are replaced, and take out what other backends hold.
    pub reconcile: bool,
    /// Run on the node, with the lock of the pod's network namespace.
    pub cni: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The program that did it.
    pub program: String,
    /// The families concerned.
    pub families: &'static [Family],
    /// What it was given; nothing where the rules were in place.
    pub text: Option<String>,
}

/// Applies the rules. Running it again gives the same result; what an earlier run with other settings left is
/// replaced, each table in one transaction. Each variant of iptables is tried until one takes a family's rules.
///
/// # Errors
/// What each variant said. What this run had applied before is then taken back.
pub fn apply(job: &Job<'_>) -> Result<Vec<Applied>, ApplyError> {
    let mut run = Run {
        job,
        done: Vec::new(),
        used: Vec::new(),
        held: Vec::new(),
        taken_back: Vec::new(),
        left: Vec::new(),
    };
    let applied = run.all().map_err(|cause| run.take_back(cause))?;
    for left in run.left {
        warn!("a variant of iptables that was tried and failed could not be put back: {left}");
    }
    Ok(applied)
}

/// A change that can be taken back.
enum Done {
    Tables(Xtables, Saved),
    Routing(Routing),
}

struct Run<'a> {
    job: &'a Job<'a>,
    done: Vec<Done>,
    /// What holds the rules of each family.
    used: Vec<Xtables>,
    /// The texts of what an earlier run left.
    held: Vec<String>,
    taken_back: Vec<String>,
    left: Vec<String>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<Vec<Applied>, Cause> {
        for wanted in self.job.routing {
            if ip::have(*wanted)? {
                self.done.push(Done::Routing(*wanted));
            }
        }
        let mut applied = Vec::new();
        if self.job.backend == Backend::Nft {
            applied.push(self.nft()?);
        } else {
            for family in self.job.host.families() {
                match self.family(*family) {
                    Ok(done) => applied.push(done),
                    Err(cause) if *family == Family::V4 && self.job.ipv6_only => {
                        warn!(
                            "{cause}; this pod has no IPv4 address and goes on without IPv4 rules"
                        );
                    }
                    Err(cause) => return Err(cause),
                }
            }
        }
        if self.job.reconcile {
            applied.extend(self.other_backends());
            self.other_routing();
        }
        Ok(applied)
    }

    fn nft(&mut self) -> Result<Applied, Cause> {
        if self.job.reconcile {
            self.held.extend(nft::tables());
        }
        let refused = |error| Cause::Nft {
            modules: modules(self.job.rules, self.job.host.families()).native,
            error,
        };
        let mut text = script(self.job.rules, self.job.host.ipv6);
        if !nft::names().map_err(refused)?.is_empty() {
            text.insert_str(0, &clean_script());
        }
        nft::apply(&text).map_err(refused)?;
        Ok(Applied {
            program: nft::PROGRAM.to_owned(),
            families: self.job.host.families(),
            text: Some(text),
        })
    }

    fn family(&mut self, family: Family) -> Result<Applied, Cause> {
        let mut errors = Vec::new();
        for variant in variants(self.job.backend) {
            match self.with(&xtables(*variant, family, self.job.cni)) {
                Ok(applied) => return Ok(applied),
                Err(error) => errors.push(error),
            }
        }
        Err(Cause::NoVariant {
            family,
            modules: modules(self.job.rules, &[family]),
            errors,
        })
    }

    fn with(&mut self, tool: &Xtables) -> Result<Applied, ProgramError> {
        let before = tool.save()?;
        self.held.push(before.table_text(Table::Mangle.as_str()));
        let program = tool.program("-restore");
        let families = one(tool.family);
        if !self.job.force && before.holds(self.job.rules, tool.family) {
            self.used.push(tool.clone());
            return Ok(Applied {
                program,
                families,
                text: None,
            });
        }
        match self.replace(tool, &before) {
            Ok(text) => {
                self.used.push(tool.clone());
                self.done.push(Done::Tables(tool.clone(), before));
                Ok(Applied {
                    program,
                    families,
                    text: Some(text),
                })
            }
            Err(error) => {
                self.put_back(tool, &before);
                Err(error)
            }
        }
    }

    /// Replaces what an earlier run left by the rules. That takes a transaction for each table, between which a
    /// guard keeps packets off where that is asked for.
    fn replace(&self, tool: &Xtables, before: &Saved) -> Result<String, ProgramError> {
        let mut leftovers = before.leftovers();
        let tables = self
            .job
            .rules
            .counts(&[tool.family])
            .len()
            .max(leftovers.len());
        if self.job.reconcile && !leftovers.is_empty() && tables > 1 {
            let (guard, found) = guard_text(&leftovers);
            tool.restore(&guard)?;
            leftovers.insert("filter".to_owned(), found);
        }
        let text = restore_text(self.job.rules, tool.family, &leftovers);
        tool.restore(&text)?;
        Ok(text)
    }

    /// The rules are in place: what other backends still hold can only harm, and failing to take it out must not
    /// fail the pod. Each family has found its own backend.
    fn other_backends(&self) -> Vec<Applied> {
        let mut kept = Vec::new();
        for tool in &self.used {
            match tool.resolved() {
                Ok(variant) => kept.push((variant, tool.family)),
                Err(error) => {
                    warn!("rules of other backends are not looked for: {error}");
                    return Vec::new();
                }
            }
        }
        let mut others = clean::Cleaning::default();
        for variant in [Variant::Nft, Variant::Legacy] {
            for family in Family::ALL {
                if !kept.contains(&(variant, family)) {
                    others.tables(&xtables(variant, family, self.job.cni));
                }
            }
        }
        if self.job.backend != Backend::Nft {
            others.nft();
        }
        for error in others.failed {
            warn!("rules of another backend stay: {error}");
        }
        others.done
    }

    /// Routing of an earlier run with TPROXY that these settings don't ask for.
    fn other_routing(&self) {
        let mut marks = vec![Interception::USUAL_MARK];
        marks.extend(self.held.iter().flat_map(|text| clean::marks_in(text)));
        for routing in clean::routing_left(&marks) {
            if !self.job.routing.contains(&routing)
                && let Err(error) = ip::have_not(routing)
            {
                warn!("routing of an earlier run stays: {error}");
            }
        }
    }

    fn take_back(&mut self, cause: Cause) -> ApplyError {
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            match done {
                Done::Tables(tool, before) => self.put_back(&tool, &before),
                Done::Routing(routing) => {
                    let command = routing.command(true);
                    match ip::have_not(routing) {
                        Ok(_) => self.taken_back.push(command),
                        Err(error) => self.left.push(format!("{command} ({error})")),
                    }
                }
            }
        }
        ApplyError {
            cause: Box::new(cause),
            taken_back: std::mem::take(&mut self.taken_back),
            left: std::mem::take(&mut self.left),
        }
    }

    /// Makes each table that has changed what it was.
    fn put_back(&mut self, tool: &Xtables, before: &Saved) {
        let changed = match tool.save() {
            Ok(now) => now.differences(before),
            Err(error) => {
                self.left.push(format!("{} ({error})", tool.family));
                return;
            }
        };
        for table in changed {
            let name = format!("{} {table} ({})", tool.family, tool.program("-restore"));
            match tool.put_back(before, &table) {
                Ok(()) => self.taken_back.push(name),
                Err(error) => self.left.push(format!("{name} ({error})")),
            }
        }
    }
}

fn xtables(variant: Variant, family: Family, cni: bool) -> Xtables {
    Xtables {
        variant,
        family,
        lock: cni.then(xtables::namespace_lock),
    }
}

fn variants(backend: Backend) -> &'static [Variant] {
    match backend {
        Backend::Iptables(Variant::Legacy) => &[Variant::Legacy],
        Backend::Iptables(Variant::Nft) => &[Variant::Nft],
        Backend::Iptables(Variant::Default) => &[Variant::Default],
        Backend::AnyIptables | Backend::Nft => &Xtables::VARIANTS,
    }
}

fn one(family: Family) -> &'static [Family] {
    match family {
        Family::V4 => &[Family::V4],
        Family::V6 => &[Family::V6],
    }
}
