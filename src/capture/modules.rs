//! Which modules of the kernel a rule set needs, to name them where it doesn't take the rules.

use super::rules::{Family, Match, Rule, RuleSet, Table, Target};

/// The modules that these rules need over the older interface, and over nf_tables (iptables' nft variant or `nft`).
#[must_use]
pub fn modules(rules: &RuleSet, families: &[Family]) -> [Vec<&'static str>; 2] {
    let mut legacy = Vec::new();
    let mut nft = vec!["nf_tables", "nft_compat"];
    let add = |modules: &mut Vec<&'static str>, name: &'static str| {
        if !modules.contains(&name) {
            modules.push(name);
        }
    };
    for (table, _) in rules.counts(families) {
        for family in families {
            add(&mut legacy, legacy_table(table, *family));
        }
        if table == Table::Nat {
            add(&mut nft, "nft_chain_nat");
        }
        for rule in rules.table(table, families).flat_map(|(_, rules)| rules) {
            for [of_legacy, of_nft] in needed(rule) {
                add(&mut legacy, of_legacy);
                add(&mut nft, of_nft);
            }
        }
    }
    [legacy, nft]
}

fn legacy_table(table: Table, family: Family) -> &'static str {
    match (family, table) {
        (Family::V4, Table::Mangle) => "iptable_mangle",
        (Family::V4, Table::Nat) => "iptable_nat",
        (Family::V4, Table::Raw) => "iptable_raw",
        (Family::V6, Table::Mangle) => "ip6table_mangle",
        (Family::V6, Table::Nat) => "ip6table_nat",
        (Family::V6, Table::Raw) => "ip6table_raw",
    }
}

/// Pairs: over the older interface, over nf_tables.
fn needed(rule: &Rule) -> Vec<[&'static str; 2]> {
    let of_match = |m: &Match| match m {
        Match::Owner(..) => Some(["xt_owner", "nft_meta"]),
        Match::Mark(..) => Some(["xt_mark", "nft_meta"]),
        Match::ConnectionMark(_) => Some(["xt_connmark", "nft_ct"]),
        Match::State(_) => Some(["xt_conntrack", "nft_ct"]),
        Match::Port(_, ports, _) if ports.len() > 1 => Some(["xt_multiport", "nf_tables"]),
        _ => None,
    };
    let of_target = match rule.target {
        Target::Redirect(_) => Some(["xt_REDIRECT", "nft_redir"]),
        Target::Tproxy { .. } => Some(["xt_TPROXY", "nft_tproxy"]),
        Target::SetMark(_) => Some(["xt_mark", "nft_meta"]),
        Target::SaveMark | Target::RestoreMark => Some(["xt_connmark", "nft_ct"]),
        Target::Zone(_) => Some(["xt_CT", "nft_ct"]),
        _ => None,
    };
    rule.matches
        .iter()
        .filter_map(of_match)
        .chain(of_target)
        .collect()
}
