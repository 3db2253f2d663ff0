//! How an explanation reads.

use std::fmt;

use super::{Explanation, Seen, Verdict};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Injected { revision, reason } => {
                write!(f, "injected by revision {revision}: {reason}")
            }
            Self::Refused { revision, why } => write!(
                f,
                "refused: revision {revision} should inject it and cannot: {why}"
            ),
            Self::LeftAlone { revision, reason } => {
                write!(f, "not injected: revision {revision} is asked, and {reason}")
            }
            Self::NotAsked => f.write_str("not injected: no webhook is called"),
            Self::SomebodyElse { revision } => write!(
                f,
                "left to revision {revision}, whose settings are not known here"
            ),
            Self::Several => f.write_str(
                "several webhooks are called: it would be injected more than once; remove one of the configurations",
            ),
        }
    }
}

/// A table of what was seen, then the webhook, the rules and the changes.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict)?;
        if let Some(done) = &self.done {
            writeln!(f, "it was injected when it was made: {done}")?;
        }
        writeln!(f, "\nseen")?;
        for Seen { place, name, value } in &self.seen {
            let value = value.as_deref().unwrap_or("(not set)");
            let shown: String = value.chars().take(60).collect();
            writeln!(f, "  {place:<15}  {name:<24}  {shown}")?;
        }
        if let Some(contradiction) = &self.contradiction {
            writeln!(f, "  {contradiction}")?;
        }
        writeln!(f, "\nwebhook")?;
        for call in &self.calls {
            writeln!(f, "  {} (revision {})", call.webhook, call.revision)?;
        }
        if self.calls.is_empty() {
            writeln!(f, "  none matches these labels")?;
        }
        if !self.rules.is_empty() {
            writeln!(f, "\nrules of the webhook, the first that applies decides")?;
        }
        for ruling in &self.rules {
            let mark = match (ruling.applies, ruling.injects) {
                (false, _) => "does not apply",
                (true, true) => "inject",
                (true, false) => "do not inject",
            };
            writeln!(f, "  {:<22}  {mark}", ruling.reason.as_str())?;
        }
        if !self.changes.is_empty() {
            writeln!(f, "\nwhat would change it")?;
        }
        for change in &self.changes {
            writeln!(f, "  {}\n    → {}", change.what, change.then)?;
        }
        Ok(())
    }
}
