//! iptables and ip6tables, in each of their variants.

use std::ffi::{OsStr, OsString};

use tracing::warn;

use super::program::{ProgramError, run};
use crate::capture::{Family, Saved, Variant};

/// How long, in seconds, another run of the same tool is waited for.
const WAIT: &str = "5";
/// A lock that every process of a network namespace has in common, and that no file system can refuse.
const NAMESPACE_LOCK: &str = "/proc/self/ns/net";

/// One family's tables, by one variant of the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Xtables {
    pub(super) variant: Variant,
    pub(super) family: Family,
    /// The lock file; none for the tools' own.
    pub(super) lock: Option<OsString>,
}

impl Xtables {
    /// The variants that are tried, in this order.
    pub(super) const VARIANTS: [Variant; 3] = [Variant::Default, Variant::Nft, Variant::Legacy];

    /// The name of the program itself, of its `-save` or of its `-restore`.
    pub(super) fn program(&self, suffix: &str) -> String {
        let family = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let variant = match self.variant {
            Variant::Default => "",
            Variant::Nft => "-nft",
            Variant::Legacy => "-legacy",
        };
        format!("{family}{variant}{suffix}")
    }

    /// The state of all tables.
    pub(super) fn save(&self) -> Result<Saved, ProgramError> {
        let text = run::<&str>(&self.program("-save"), &[], None, self.lock())?;
        Ok(Saved::read(&text))
    }

    /// Adds what the text says, each table in one transaction.
    pub(super) fn restore(&self, text: &str) -> Result<(), ProgramError> {
        self.feed(&["-w", WAIT, "--noflush"], text)
    }

    /// Makes one table what it was.
    pub(super) fn put_back(&self, before: &Saved, table: &str) -> Result<(), ProgramError> {
        self.feed(&["-w", WAIT], &before.table_text(table))
    }

    /// The variant that the plain name stands for.
    pub(super) fn resolved(&self) -> Result<Variant, ProgramError> {
        if self.variant != Variant::Default {
            return Ok(self.variant);
        }
        let version = run(&self.program(""), &["--version"], None, self.lock())?;
        Ok(if version.contains("nf_tables") {
            Variant::Nft
        } else {
            Variant::Legacy
        })
    }

    fn lock(&self) -> Option<&OsStr> {
        self.lock.as_deref()
    }

    /// The older variant wants a lock file. Where that can't be had, as on a read-only file system, processes of
    /// this network namespace still keep clear of each other.
    fn feed(&self, arguments: &[&str], text: &str) -> Result<(), ProgramError> {
        let program = self.program("-restore");
        match run(&program, arguments, Some(text), self.lock()) {
            Err(error) if self.lock.is_none() && error.output().contains("lock file") => {
                warn!("{}; {NAMESPACE_LOCK} is the lock instead", error.output());
                run(
                    &program,
                    arguments,
                    Some(text),
                    Some(NAMESPACE_LOCK.as_ref()),
                )
                .map(drop)
            }
            result => result.map(drop),
        }
    }
}

/// The lock for a run on the node: the pod's, not the node's.
pub(super) fn namespace_lock() -> OsString {
    NAMESPACE_LOCK.into()
}
