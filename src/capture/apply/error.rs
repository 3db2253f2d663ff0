//! Why rules are not in place, and in which state that leaves the machine.

use super::program::ProgramError;
use crate::capture::{Family, Modules};

/// Why rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A tool that there is no other for.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// No variant of iptables took one family's rules.
    #[error("{family}: {}", no_variant(.modules, .errors))]
    NoVariant {
        /// The family.
        family: Family,
        /// Modules that the rules need.
        modules: Modules,
        /// What each variant said.
        errors: Vec<ProgramError>,
    },
    /// `nft` did not take the rules.
    #[error(
        "nft does not take the rules; if the container is allowed NET_ADMIN, the kernel lacks one of the modules {}: \
         {error}",
        .modules.join(", ")
    )]
    Nft {
        /// Modules that the rules need.
        modules: Vec<&'static str>,
        /// What it said.
        error: ProgramError,
    },
}

fn no_variant(modules: &Modules, errors: &[ProgramError]) -> String {
    if errors.iter().all(ProgramError::is_missing) {
        return "no iptables is installed: neither the plain programs nor those of variants nft and legacy".to_owned();
    }
    format!(
        "no iptables on this machine takes the rules; if the container is allowed NET_ADMIN, the kernel lacks modules: \
         load {}, or {}: {}",
        modules.legacy.join(", "),
        modules.compat.join(", "),
        joined(errors)
    )
}

/// Why rules are not in place, and in which state that leaves the machine.
#[derive(Debug, thiserror::Error)]
#[error("{cause}{}", aftermath(.taken_back, .left))]
pub struct ApplyError {
    /// Why.
    pub cause: Box<Cause>,
    /// What this run had applied and has taken back.
    pub taken_back: Vec<String>,
    /// What it could not take back, and why.
    pub left: Vec<String>,
}

fn aftermath(taken_back: &[String], left: &[String]) -> String {
    let mut text = match taken_back {
        [] => "; nothing was changed".to_owned(),
        done => format!(
            "; what was applied before was taken back: {}",
            done.join(", ")
        ),
    };
    if !left.is_empty() {
        text = format!("{text}; could not be taken back: {}", left.join(", "));
    }
    text
}

impl From<Cause> for ApplyError {
    fn from(cause: Cause) -> Self {
        Self {
            cause: Box::new(cause),
            taken_back: Vec::new(),
            left: Vec::new(),
        }
    }
}

/// What was not taken out.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", joined(.errors), taken_out(.done))]
pub struct CleanError {
    /// Why, of each tool.
    pub errors: Vec<ProgramError>,
    /// What has been taken out all the same.
    pub done: Vec<String>,
}

fn joined(errors: &[ProgramError]) -> String {
    let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
    said.join("; ")
}

fn taken_out(done: &[String]) -> String {
    match done {
        [] => "; nothing was taken out".to_owned(),
        done => format!("; taken out: {}", done.join(", ")),
    }
}
