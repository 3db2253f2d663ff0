//! `nft`, without iptables in between.

use super::program::{ProgramError, run};
use crate::capture::nftables::PREFIX;

pub(super) const PROGRAM: &str = "nft";

/// Does what the script says, in one transaction.
pub(super) fn apply(script: &str) -> Result<(), ProgramError> {
    run(PROGRAM, &["-f", "-"], Some(script), None).map(drop)
}

/// The text of our tables; empty where there are none.
pub(super) fn tables() -> Result<String, ProgramError> {
    let all = run(PROGRAM, &["list", "tables", "inet"], None, None)?;
    let mut text = String::new();
    for name in all
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "))
    {
        if name.starts_with(PREFIX) {
            text.push_str(&run(PROGRAM, &["list", "table", "inet", name], None, None)?);
        }
    }
    Ok(text)
}
