//! What `iptables-save` prints, read back.

use std::collections::BTreeMap;

use super::iptables::{Found, Leftovers, OURS, is_own, wanted};
use super::lists::Cidr;
use super::rules::{Family, RuleSet, Table};

/// The state of one family's tables, as `iptables-save` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// The lines of each table between its first and its last.
    tables: BTreeMap<String, Vec<String>>,
}

impl Saved {
    /// Reads the output of `iptables-save` or `ip6tables-save`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current: Option<&mut Vec<String>> = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                current = Some(tables.entry(name.trim().to_owned()).or_default());
            } else if line == "COMMIT" {
                current = None;
            } else if let Some(lines) = current.as_mut().filter(|_| !line.starts_with('#')) {
                lines.push(line.to_owned());
            }
        }
        Self { tables }
    }

    /// The text that brings a table back to this state, for `iptables-restore` without `--noflush`.
    #[must_use]
    pub fn table_text(&self, table: &str) -> String {
        let mut text = format!("*{table}\n");
        for line in self.lines(table) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("COMMIT\n");
        text
    }

    /// The names of the tables in which this state and another differ in more than counters.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.tables.keys().chain(other.tables.keys());
        let mut different: Vec<String> = names
            .filter(|name| !uncounted(self.lines(name)).eq(uncounted(other.lines(name))))
            .cloned()
            .collect();
        different.sort_unstable();
        different.dedup();
        different
    }

    /// What earlier runs left, with whatever settings: our chains, rules in others that jump to them, and rules in
    /// others that carry our comment.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let found = self
            .tables
            .iter()
            .map(|(name, lines)| (name.clone(), found(lines)));
        found.filter(|(_, found)| !found.is_empty()).collect()
    }

    /// Whether everything of ours is exactly these rules in this order.
    #[must_use]
    pub fn holds(&self, rules: &RuleSet, family: Family) -> bool {
        let leftovers = self.leftovers();
        let ours = |name: &str| leftovers.contains_key(name);
        let other = leftovers
            .keys()
            .any(|name| !Table::ALL.iter().any(|table| table.as_str() == name));
        !other
            && Table::ALL.into_iter().all(|table| {
                let wanted = wanted(rules, family, table);
                if ours(table.as_str()) {
                    wanted == own_rules(self.lines(table.as_str()))
                } else {
                    wanted.is_empty()
                }
            })
    }

    /// The rules of one of our chains, each in its canonical form.
    #[must_use]
    pub fn chain(&self, table: Table, chain: &str) -> Vec<String> {
        own_rules(self.lines(table.as_str()))
            .remove(chain)
            .unwrap_or_default()
    }

    fn lines(&self, table: &str) -> &[String] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }
}

/// Lines without the counters of chains.
fn uncounted(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().map(|line| match line.strip_prefix(':') {
        Some(_) => line.split(" [").next().unwrap_or(line),
        None => line,
    })
}

/// A rule's line as a chain and the words of the rule.
fn split(line: &str) -> Option<(&str, &str)> {
    let rule = line.strip_prefix("-A ")?;
    Some(rule.split_once(' ').unwrap_or((rule, "")))
}

/// Whether a rule of a chain that is not ours is.
fn is_hook_rule(rule: &str) -> bool {
    words(rule).windows(2).any(|pair| match pair[0].as_str() {
        "-j" | "-g" => is_own(&pair[1]),
        "--comment" => pair[1] == OURS,
        _ => false,
    })
}

/// The words of a rule. The tools put comments of more than one word in quotes, with a backslash before what would end
/// them: what others write there is never taken for a part of the rule.
fn words(rule: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut escaped) = (None::<String>, false, false);
    for c in rule.chars() {
        match c {
            '\\' if quoted && !escaped => escaped = true,
            '"' if !escaped => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            _ if c.is_whitespace() && !quoted => words.extend(word.take()),
            _ => {
                word.get_or_insert_default().push(c);
                escaped = false;
            }
        }
    }
    words.extend(word);
    words
}

/// A mark as the tools print it, decimal or hexadecimal.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn found(lines: &[String]) -> Found {
    let mut found = Found::default();
    for line in lines {
        let declared = line
            .strip_prefix(':')
            .and_then(|l| l.split_whitespace().next());
        if let Some(chain) = declared.filter(|chain| is_own(chain)) {
            found.chains.push(chain.to_owned());
        } else if let Some((chain, rule)) = split(line)
            && !is_own(chain)
            && is_hook_rule(rule)
        {
            found.hooks.push(format!("{chain} {rule}"));
        }
    }
    found
}

/// Our chains with all their rules, and our rules in other chains.
fn own_rules(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let declared = line
            .strip_prefix(':')
            .and_then(|l| l.split_whitespace().next());
        if let Some(chain) = declared.filter(|chain| is_own(chain)) {
            chains.entry(chain.to_owned()).or_default();
        } else if let Some((chain, rule)) = split(line)
            && (is_own(chain) || is_hook_rule(rule))
        {
            chains
                .entry(chain.to_owned())
                .or_default()
                .push(canonical(rule));
        }
    }
    chains
}

/// A rule in a form in which what we feed to `iptables-restore` and what `iptables-save` makes of it are one text:
/// matches sorted, modules and comments left out, numbers decimal, full masks and networks of everything left out.
#[must_use]
pub fn canonical(rule: &str) -> String {
    let words = words(rule);
    let mut words = words.iter().map(String::as_str).peekable();
    let (mut negated, mut module) = (false, "");
    let (mut matches, mut target) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let value = words
            .next_if(|next| *next != "!" && !next.starts_with('-'))
            .unwrap_or_default();
        match word {
            "-m" => module = value,
            "-j" | "-g" => target.push(format!("{word} {value}")),
            _ => {
                if let Some(part) = part(word, value, module, negated) {
                    let not = if negated { "! " } else { "" };
                    if target.is_empty() {
                        matches.push(format!("{not}{part}"));
                    } else {
                        target.push(part);
                    }
                }
            }
        }
        negated = false;
    }
    matches.sort_unstable();
    target.get_mut(1..).unwrap_or_default().sort_unstable();
    matches.append(&mut target);
    matches.join(" ")
}

/// One option with its value; none where it says nothing.
fn part(option: &str, value: &str, module: &str, negated: bool) -> Option<String> {
    Some(match option {
        "-s" | "-d" => {
            let network = network(value);
            if network.ends_with("/0") && !negated {
                return None;
            }
            format!("{option} {network}")
        }
        "-p" => match value {
            "6" => "-p tcp".to_owned(),
            "17" => "-p udp".to_owned(),
            _ => format!("-p {value}"),
        },
        "--comment" => return None,
        "--mark" => format!("{module} --mark {}", mark(value)),
        "--set-xmark" | "--set-mark" => format!("--set-mark {}", mark(value)),
        "--tproxy-mark" => format!("{option} {}", mark(value)),
        "--nfmask" | "--ctmask" if mark(value) == u32::MAX.to_string() => return None,
        "--on-ip" if matches!(value, "0.0.0.0" | "::") => return None,
        "--ctstate" => {
            let mut states: Vec<&str> = value.split(',').collect();
            states.sort_unstable();
            format!("{option} {}", states.join(","))
        }
        _ if value.is_empty() => option.to_owned(),
        _ => format!("{option} {value}"),
    })
}

fn network(value: &str) -> String {
    let cidr = value
        .parse::<Cidr>()
        .or_else(|()| value.parse().map(Cidr::host));
    cidr.map_or_else(|_| value.to_owned(), |cidr| cidr.network().to_string())
}

/// A mark in decimal, without a mask of all bits.
fn mark(value: &str) -> String {
    let decimal =
        |text: &str| number(text).map_or_else(|| text.to_owned(), |number| number.to_string());
    match value.split_once('/') {
        Some((mark, mask)) if number(mask) == Some(u32::MAX) => decimal(mark),
        Some((mark, mask)) => format!("{}/{}", decimal(mark), decimal(mask)),
        None => decimal(value),
    }
}
