//! Rules → text for `iptables-restore` and `ip6tables-restore`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::rules::{
    Chain, Direction, Family, Match, OwnerKind, Protocol, Rule, RuleSet, Table, Target,
};
use super::saved::canonical;

/// The comment by which a rule of ours in a hook is known again that jumps to no chain of ours.
pub(super) const OURS: &str = "outrigger";

/// What an earlier run left in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Rules of ours in hooks, each as a chain's name and a rule.
    pub hooks: Vec<String>,
    /// Chains of ours.
    pub chains: Vec<String>,
}

impl Found {
    /// Whether there is nothing of ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.chains.is_empty()
    }
}

/// What an earlier run left, by the table's name; tables with nothing of ours left out.
pub type Leftovers = BTreeMap<String, Found>;

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
        let found = leftovers.get(table.as_str()).unwrap_or(&nothing);
        if !chains.is_empty() || !found.is_empty() {
            text.push_str(&table_text(table.as_str(), &chains, found));
        }
    }
    // Other tables hold something of ours only while a run is under way, or after one that was killed.
    for (name, found) in leftovers {
        if !Table::ALL.iter().any(|table| table.as_str() == name) {
            text.push_str(&table_text(name, &[], found));
        }
    }
    text
}

fn table_text(name: &str, chains: &[(Chain, Vec<&Rule>)], found: &Found) -> String {
    let own = own_chains(chains);
    let unused: Vec<&String> = found
        .chains
        .iter()
        .filter(|name| !own.iter().any(|chain| chain.as_str() == name.as_str()))
        .collect();
    let mut lines = vec![format!("*{name}")];
    lines.extend(
        own.iter()
            .map(|chain| format!(":{} - [0:0]", chain.as_str())),
    );
    lines.extend(found.hooks.iter().map(|rule| format!("-D {rule}")));
    lines.extend(unused.iter().map(|chain| format!("-F {chain}")));
    lines.extend(unused.iter().map(|chain| format!("-X {chain}")));
    for (chain, rules) in chains {
        lines.extend(
            rules
                .iter()
                .map(|rule| format!("-A {}{}", chain.as_str(), fed_text(*chain, rule))),
        );
    }
    lines.push("COMMIT\n".to_owned());
    lines.join("\n")
}

/// The text that takes out what earlier runs left.
#[must_use]
pub fn clean_text(leftovers: &Leftovers) -> String {
    restore_text(&RuleSet::default(), Family::V4, leftovers)
}

/// The hooks that a guard closes, in table `filter`.
const GUARDED: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];
const GUARD: &str = "ISTIO_GUARD";

/// The text that lets no TCP or UDP packet pass while several tables are replaced one after the other, and what it
/// puts into table `filter`, to be taken out by the text that comes next.
#[must_use]
pub fn guard_text(leftovers: &Leftovers) -> (String, Found) {
    let mut lines = vec![
        "*filter".to_owned(),
        format!(":{GUARD} - [0:0]"),
        format!("-A {GUARD} -j DROP"),
    ];
    if let Some(found) = leftovers.get("filter") {
        lines.extend(found.hooks.iter().map(|rule| format!("-D {rule}")));
    }
    let mut hooks = Vec::new();
    for hook in GUARDED {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let rule = format!("-p {} -j {GUARD}", protocol.as_str());
            lines.push(format!("-I {hook} 1 {rule}"));
            hooks.push(format!("{hook} {rule}"));
        }
    }
    lines.push("COMMIT\n".to_owned());
    let found = Found {
        hooks,
        chains: vec![GUARD.to_owned()],
    };
    (lines.join("\n"), found)
}

/// Whether a chain of that name is ours.
pub(super) fn is_own(name: &str) -> bool {
    name == GUARD || Chain::OWN.into_iter().any(|chain| chain.as_str() == name)
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

/// What a table should hold, each chain with its rules as [`super::saved`] compares them.
pub(super) fn wanted(
    rules: &RuleSet,
    family: Family,
    table: Table,
) -> BTreeMap<String, Vec<String>> {
    let families = [family];
    let chains: Vec<_> = rules.table(table, &families).collect();
    let mut wanted: BTreeMap<String, Vec<String>> = own_chains(&chains)
        .into_iter()
        .map(|chain| (chain.as_str().to_owned(), Vec::new()))
        .collect();
    for (chain, rules) in &chains {
        let texts = rules.iter().map(|rule| canonical(&rule_text(rule)));
        wanted.insert(chain.as_str().to_owned(), texts.collect());
    }
    wanted
}

/// The rule without its chain, a blank in front, as it is fed to the tools: in a hook it carries our comment unless its
/// target tells that it is ours.
pub(super) fn fed_text(chain: Chain, rule: &Rule) -> String {
    let comment = is_commented(chain, rule).then(|| format!("-m comment --comment {OURS}"));
    text_of(rule, comment)
}

/// Whether a rule carries our comment.
pub(super) fn is_commented(chain: Chain, rule: &Rule) -> bool {
    chain.is_hook() && !matches!(rule.target, Target::Jump(_))
}

/// The rule without its chain, a blank in front.
fn rule_text(rule: &Rule) -> String {
    text_of(rule, None)
}

fn text_of(rule: &Rule, comment: Option<String>) -> String {
    let mut text = String::new();
    let parts = rule.matches.iter().map(match_text).chain(comment);
    for part in parts.chain([target_text(rule.target)]) {
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
