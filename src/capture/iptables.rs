//! Rules → text for `iptables-restore` and `ip6tables-restore`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::rules::{Chain, Direction, Family, Match, OwnerKind, Rule, RuleSet, Table, Target};

/// What an earlier run left in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Rules of ours in hooks, each as a chain's name and a rule.
    pub hooks: Vec<String>,
    /// Chains of ours.
    pub chains: Vec<Chain>,
}

impl Found {
    /// Reads the output of `iptables-save` for one table: our chains, and rules in others that jump to them.
    #[must_use]
    pub fn read(saved: &str) -> Self {
        let own = |name: &str| Chain::OWN.into_iter().find(|chain| chain.as_str() == name);
        let mut found = Self::default();
        for line in saved.lines() {
            if let Some(declared) = line.strip_prefix(':') {
                found
                    .chains
                    .extend(declared.split_whitespace().next().and_then(own));
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let words: Vec<&str> = rule.split_whitespace().collect();
                let ours = words.first().copied().and_then(own).is_some();
                if !ours
                    && words
                        .windows(2)
                        .any(|pair| pair[0] == "-j" && own(pair[1]).is_some())
                {
                    found.hooks.push(rule.to_owned());
                }
            }
        }
        found
    }

    /// Whether there is nothing of ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.chains.is_empty()
    }
}

/// What an earlier run left, table by table.
pub type Leftovers = BTreeMap<Table, Found>;

/// The text that `iptables-restore --noflush` takes, for one family.
///
/// Every chain of our own is declared: it is made, or emptied where it exists; what an earlier run left in hooks is
/// taken out before ours is added. So a second run replaces the first, in one transaction a table.
#[must_use]
pub fn restore_text(rules: &RuleSet, family: Family, leftovers: &Leftovers) -> String {
    let nothing = Found::default();
    let families = [family];
    let mut text = String::new();
    for table in Table::ALL {
        let chains: Vec<_> = rules.table(table, &families).collect();
        let found = leftovers.get(&table).unwrap_or(&nothing);
        if chains.is_empty() && found.is_empty() {
            continue;
        }
        let own = own_chains(&chains);
        let unused: Vec<Chain> = found
            .chains
            .iter()
            .copied()
            .filter(|chain| !own.contains(chain))
            .collect();
        let mut lines = vec![format!("*{}", table.as_str())];
        lines.extend(
            own.iter()
                .map(|chain| format!(":{} - [0:0]", chain.as_str())),
        );
        lines.extend(found.hooks.iter().map(|rule| format!("-D {rule}")));
        lines.extend(unused.iter().map(|chain| format!("-F {}", chain.as_str())));
        lines.extend(unused.iter().map(|chain| format!("-X {}", chain.as_str())));
        for (chain, rules) in &chains {
            lines.extend(
                rules
                    .iter()
                    .map(|rule| format!("-A {}{}", chain.as_str(), rule_text(rule))),
            );
        }
        lines.push("COMMIT\n".to_owned());
        text.push_str(&lines.join("\n"));
    }
    text
}

/// The text that takes out what earlier runs left.
#[must_use]
pub fn clean_text(leftovers: &Leftovers) -> String {
    restore_text(&RuleSet::default(), Family::V4, leftovers)
}

/// Chains of our own that the rules fill or jump to.
fn own_chains(chains: &[(Chain, Vec<&Rule>)]) -> Vec<Chain> {
    let jumps = chains
        .iter()
        .flat_map(|(_, rules)| rules)
        .filter_map(|rule| match rule.target {
            Target::Jump(chain) => Some(chain),
            _ => None,
        });
    let mut own = Vec::new();
    for chain in chains.iter().map(|(chain, _)| *chain).chain(jumps) {
        if !chain.is_hook() && !own.contains(&chain) {
            own.push(chain);
        }
    }
    own
}

/// Our rules in a table's hooks that jump to no chain of ours, as a chain's name and a rule: [`Found::read`] cannot
/// tell them from others' rules, so that one has to ask for each whether it is there.
#[must_use]
pub fn plain_hook_rules(rules: &RuleSet, family: Family, table: Table) -> Vec<String> {
    let mut hooks = Vec::new();
    for (chain, rules) in rules
        .table(table, &[family])
        .filter(|(chain, _)| chain.is_hook())
    {
        let plain = rules
            .into_iter()
            .filter(|rule| !matches!(rule.target, Target::Jump(_)));
        hooks.extend(plain.map(|rule| format!("{}{}", chain.as_str(), rule_text(rule))));
    }
    hooks
}

/// The rule without its chain, a blank in front.
pub(super) fn rule_text(rule: &Rule) -> String {
    let mut text = String::new();
    for part in rule
        .matches
        .iter()
        .map(match_text)
        .chain([target_text(rule.target)])
    {
        text.push(' ');
        text.push_str(&part);
    }
    text
}

fn not(negated: bool) -> &'static str {
    if negated { "! " } else { "" }
}

fn match_text(m: &Match) -> String {
    match m {
        Match::Protocol(protocol) => format!("-p {}", protocol.as_str()),
        Match::In(name) => format!("-i {name}"),
        Match::Out(name) => format!("-o {name}"),
        Match::Address(Direction::Source, cidr, negated) => format!("{}-s {cidr}", not(*negated)),
        Match::Address(Direction::Destination, cidr, negated) => {
            format!("{}-d {cidr}", not(*negated))
        }
        Match::Port(direction, ports, negated) => port_text(*direction, ports, *negated),
        Match::Owner(OwnerKind::User, id, negated) => {
            format!("-m owner {}--uid-owner {id}", not(*negated))
        }
        Match::Owner(OwnerKind::Group, id, negated) => {
            format!("-m owner {}--gid-owner {id}", not(*negated))
        }
        Match::Mark(mark, negated) => format!("-m mark {}--mark {mark}", not(*negated)),
        Match::ConnectionMark(mark) => format!("-m connmark --mark {mark}"),
        Match::State(states) => {
            let states: Vec<String> = states
                .iter()
                .map(|state| state.as_str().to_uppercase())
                .collect();
            format!("-m conntrack --ctstate {}", states.join(","))
        }
    }
}

fn port_text(direction: Direction, ports: &[u16], negated: bool) -> String {
    let side = match direction {
        Direction::Source => "sport",
        Direction::Destination => "dport",
    };
    match ports {
        [port] => format!("{}--{side} {port}", not(negated)),
        _ => {
            let mut list = String::new();
            for port in ports {
                let _ = write!(list, "{}{port}", if list.is_empty() { "" } else { "," });
            }
            format!("-m multiport {}--{side}s {list}", not(negated))
        }
    }
}

fn target_text(target: Target) -> String {
    match target {
        Target::Jump(chain) => format!("-j {}", chain.as_str()),
        Target::Return => "-j RETURN".to_owned(),
        Target::Accept => "-j ACCEPT".to_owned(),
        Target::Drop => "-j DROP".to_owned(),
        Target::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Target::Tproxy { port, mark } => {
            format!("-j TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}")
        }
        Target::SetMark(mark) => format!("-j MARK --set-mark {mark}"),
        Target::SaveMark => "-j CONNMARK --save-mark".to_owned(),
        Target::RestoreMark => "-j CONNMARK --restore-mark".to_owned(),
        Target::Zone(zone) => format!("-j CT --zone {zone}"),
    }
}
