//! Which modules of the kernel a rule set needs, to name them where it doesn't take the rules.

use super::iptables::is_commented;
use super::rules::{Family, Match, Rule, RuleSet, Table, Target};

/// The modules that rules need, by the tool that programs them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modules {
    /// Of iptables over the older interface.
    pub legacy: Vec<&'static str>,
    /// Of iptables over nf_tables, which goes on to use the matches and targets of the older interface.
    pub compat: Vec<&'static str>,
    /// Of `nft`.
    pub native: Vec<&'static str>,
}

/// The modules that these rules need.
#[must_use]
pub fn modules(rules: &RuleSet, families: &[Family]) -> Modules {
    let mut modules = Modules {
        legacy: Vec::new(),
        compat: vec!["nf_tables", "nft_compat"],
        native: vec!["nf_tables"],
    };
    for (table, _) in rules.counts(families) {
        for family in families {
            add(&mut modules.legacy, legacy_table(table, *family));
        }
        if table == Table::Nat {
            add(&mut modules.compat, "nft_chain_nat");
            add(&mut modules.native, "nft_chain_nat");
        }
        for (chain, rules) in rules.table(table, families) {
            for rule in rules {
                let comment = is_commented(chain, rule).then_some(["xt_comment", "nf_tables"]);
                for [older, native] in needed(rule).into_iter().chain(comment) {
                    add(&mut modules.legacy, older);
                    add(&mut modules.compat, older);
                    add(&mut modules.native, native);
                }
            }
        }
    }
    modules
}

fn add(modules: &mut Vec<&'static str>, name: &'static str) {
    if !modules.contains(&name) {
        modules.push(name);
    }
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

/// Pairs: of iptables, whatever it works over, and of `nft`.
fn needed(rule: &Rule) -> Vec<[&'static str; 2]> {
    let of_match = |m: &Match| match m {
        Match::Owner(..) => Some(["xt_owner", "nft_meta"]),
        Match::Mark(..) => Some(["xt_mark", "nft_meta"]),
        Match::ConnectionMark(_) => Some(["xt_connmark", "nft_ct"]),
        Match::State(_) => Some(["xt_conntrack", "nft_ct"]),
        Match::Port(_, ports, _) if ports.len() > 1 => Some(["xt_multiport", "nf_tables"]),
        Match::Port(..) => Some(["xt_tcpudp", "nf_tables"]),
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
