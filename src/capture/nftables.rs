//! Rules → a script for `nft -f`.

use std::fmt::Write as _;

use super::lists::Owner;
use super::rules::{
    Chain, Direction, Family, Match, OwnerKind, Protocol, Rule, RuleSet, State, Table, Target,
};

/// The script that `nft -f` takes, both families in tables of family `inet`: one transaction. Tables are emptied
/// first; where tables of ours are there already, [`clean_script`] goes in front, so that nothing of theirs is left.
#[must_use]
pub fn script(rules: &RuleSet, ipv6: bool) -> String {
    let families: &[Family] = if ipv6 { &Family::ALL } else { &[Family::V4] };
    let mut lines = Vec::new();
    for table in TABLES {
        let chains: Vec<_> = rules.table(table, families).collect();
        if chains.is_empty() {
            continue;
        }
        let name = table_name(table);
        lines.push(format!("add table {name}"));
        lines.push(format!("flush table {name}"));
        lines.extend(chains.iter().map(|(chain, _)| {
            format!(
                "add chain {name} {}{}",
                chain_name(*chain),
                hook(table, *chain)
            )
        }));
        for (chain, rules) in &chains {
            lines.extend(
                rules.iter().map(|rule| {
                    format!("add rule {name} {}{}", chain_name(*chain), rule_text(rule))
                }),
            );
        }
    }
    text(&lines)
}

/// The script that takes out what [`script`] put in. A table that isn't there can't be deleted: it is made first.
/// The kernel takes milliseconds for it, which a pod that starts need not wait for.
#[must_use]
pub fn clean_script() -> String {
    let lines = TABLES.into_iter().flat_map(|table| {
        let name = table_name(table);
        [format!("add table {name}"), format!("delete table {name}")]
    });
    text(&lines.collect::<Vec<_>>())
}

const TABLES: [Table; 3] = [Table::Nat, Table::Mangle, Table::Raw];

fn text(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn table_name(table: Table) -> String {
    format!("inet {PREFIX}{}", table.as_str())
}

/// What the names of our tables begin with.
pub(super) const PREFIX: &str = "istio-proxy-";

/// The chain's name in nftables.
pub(super) fn chain_name(chain: Chain) -> String {
    chain.as_str().to_lowercase().replace('_', "-")
}

/// Where the kernel calls a chain. Output of mangle may change a mark and must then be routed anew.
fn hook(table: Table, chain: Chain) -> String {
    let hook = match chain {
        Chain::Prerouting => "prerouting",
        Chain::Output => "output",
        _ => return String::new(),
    };
    let (kind, priority) = match (table, chain) {
        (Table::Nat, _) => ("nat", -100),
        (Table::Mangle, Chain::Output) => ("route", -150),
        (Table::Mangle, _) => ("filter", -150),
        (Table::Raw, _) => ("filter", -300),
    };
    format!(" {{ type {kind} hook {hook} priority {priority} ; }}")
}

/// The rule without its chain, a blank in front.
pub(super) fn rule_text(rule: &Rule) -> String {
    // A port needs its protocol in front of it, which then says the protocol as well.
    let invalid = rule
        .matches
        .iter()
        .any(|m| matches!(m, Match::State(states) if states.contains(&State::Invalid)));
    let protocol = rule.matches.iter().find_map(|m| match m {
        Match::Protocol(protocol) => Some(*protocol),
        _ => None,
    });
    let has_port = rule.matches.iter().any(|m| matches!(m, Match::Port(..)));
    let mut text = String::new();
    // One chain sees both families here, and neighbour discovery is never tracked: only TCP is dropped, as in Istio.
    if invalid && protocol.is_none() {
        text.push_str(" meta l4proto tcp");
    }
    for m in &rule.matches {
        if !(has_port && matches!(m, Match::Protocol(_))) {
            let _ = write!(text, " {}", match_text(m, protocol));
        }
    }
    let _ = write!(text, " {}", target_text(rule));
    text
}

fn not(negated: bool) -> &'static str {
    if negated { "!= " } else { "" }
}

fn match_text(m: &Match, protocol: Option<Protocol>) -> String {
    match m {
        Match::Protocol(protocol) => format!("meta l4proto {}", protocol.as_str()),
        Match::In(name) => format!("iifname \"{name}\""),
        Match::Out(name) => format!("oifname \"{name}\""),
        Match::Address(direction, cidr, negated) => {
            let family = match Family::of(&cidr.address()) {
                Family::V4 => "ip",
                Family::V6 => "ip6",
            };
            let side = match direction {
                Direction::Source => "saddr",
                Direction::Destination => "daddr",
            };
            format!("{family} {side} {}{cidr}", not(*negated))
        }
        Match::Port(direction, ports, negated) => {
            let side = match direction {
                Direction::Source => "sport",
                Direction::Destination => "dport",
            };
            let protocol = protocol.map_or("th", Protocol::as_str);
            format!("{protocol} {side} {}{}", not(*negated), set(ports))
        }
        Match::Owner(OwnerKind::User, id, negated) => {
            format!("meta skuid {}{}", not(*negated), owner(id))
        }
        Match::Owner(OwnerKind::Group, id, negated) => {
            format!("meta skgid {}{}", not(*negated), owner(id))
        }
        Match::Mark(mark, negated) => format!("meta mark {}{mark}", not(*negated)),
        Match::ConnectionMark(mark) => format!("ct mark {mark}"),
        Match::State(states) => {
            let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            format!("ct state {}", states.join(","))
        }
    }
}

/// A name is quoted: without, `tcp` or `drop` would be words of nft's language.
fn owner(id: &Owner) -> String {
    if id.is_number() {
        id.to_string()
    } else {
        format!("\"{id}\"")
    }
}

fn set(ports: &[u16]) -> String {
    match ports {
        [port] => port.to_string(),
        _ => format!(
            "{{ {} }}",
            ports
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

fn target_text(rule: &Rule) -> String {
    match rule.target {
        Target::Jump(chain) => format!("counter jump {}", chain_name(chain)),
        Target::Return => "counter return".to_owned(),
        Target::Accept => "counter accept".to_owned(),
        Target::Drop => "counter drop".to_owned(),
        Target::Redirect(port) => format!("counter redirect to :{port}"),
        Target::Tproxy { port, mark } => {
            let family = if rule.family == Some(Family::V6) {
                "ip6"
            } else {
                "ip"
            };
            format!("tproxy {family} to :{port} meta mark set {mark} counter accept")
        }
        Target::SetMark(mark) => format!("counter meta mark set {mark}"),
        Target::SaveMark => "counter ct mark set mark".to_owned(),
        Target::RestoreMark => "counter meta mark set ct mark".to_owned(),
        Target::Zone(zone) => format!("counter ct zone set {zone}"),
    }
}
