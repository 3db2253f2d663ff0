//! `nft`, without iptables in between.

use super::program::{ProgramError, run};
use crate::capture::nftables::PREFIX;

pub(super) const PROGRAM: &str = "nft";

/// Does what the script says, in one transaction.
pub(super) fn apply(script: &str) -> Result<(), ProgramError> {
    run(PROGRAM, &["-f", "-"], Some(script), None).map(drop)
}

/// The names of our tables that are there.
pub(super) fn names() -> Result<Vec<String>, ProgramError> {
    let all = run(PROGRAM, &["list", "tables", "inet"], None, None)?;
    let names = all
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "));
    let ours = names.filter(|name| name.starts_with(PREFIX));
    Ok(ours.map(str::to_owned).collect())
}

/// The text of our tables; empty where there are none.
pub(super) fn tables() -> Result<String, ProgramError> {
    let mut text = String::new();
    for name in names()? {
        text.push_str(&run(
            PROGRAM,
            &["list", "table", "inet", &name],
            None,
            None,
        )?);
    }
    Ok(text)
}
