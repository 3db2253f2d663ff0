//! The model of packet rules that every printer starts from.

use std::net::IpAddr;

use super::lists::{Cidr, Interface, Owner};

/// A table of the packet filter; the order is that in which tables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Marks (TPROXY) and dropping of invalid packets.
    Mangle,
    /// Redirection.
    Nat,
    /// Connection-tracking zones of DNS.
    Raw,
}

impl Table {
    /// Every table that a rule set can hold.
    pub const ALL: [Self; 3] = [Self::Mangle, Self::Nat, Self::Raw];

    /// The name that the kernel and every tool know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Raw => "raw",
        }
    }
}

/// A chain: a hook of the kernel or one of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// Hook: packets that arrive.
    Prerouting,
    /// Hook: packets that local processes send.
    Output,
    /// Decides what becomes of a connection that arrives.
    Inbound,
    /// Sends a connection to the proxy's outbound port.
    Redirect,
    /// Sends a connection to the proxy's inbound port.
    InRedirect,
    /// Decides what becomes of a connection that a process in the pod opens.
    Outbound,
    /// Sends DNS queries to the agent.
    Dns,
    /// Drops packets that belong to no connection.
    Drop,
    /// TPROXY: a packet of a connection that the proxy already has.
    Divert,
    /// TPROXY: hands a new connection to the proxy.
    Tproxy,
}

impl Chain {
    /// The chains of our own, all of them: what a clean-up looks for.
    pub const OWN: [Self; 8] = [
        Self::Inbound,
        Self::Redirect,
        Self::InRedirect,
        Self::Outbound,
        Self::Dns,
        Self::Drop,
        Self::Divert,
        Self::Tproxy,
    ];

    /// Whether the kernel provides it, so that others may have rules in it too.
    #[must_use]
    pub fn is_hook(self) -> bool {
        matches!(self, Self::Prerouting | Self::Output)
    }

    /// The name in iptables; Istio's names, which people look for.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
            Self::Inbound => "ISTIO_INBOUND",
            Self::Redirect => "ISTIO_REDIRECT",
            Self::InRedirect => "ISTIO_IN_REDIRECT",
            Self::Outbound => "ISTIO_OUTPUT",
            Self::Dns => "ISTIO_OUTPUT_DNS",
            Self::Drop => "ISTIO_DROP",
            Self::Divert => "ISTIO_DIVERT",
            Self::Tproxy => "ISTIO_TPROXY",
        }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Every family, in the order in which they are applied.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The flag by which `ip` knows it.
    #[must_use]
    pub fn ip_flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The family of an address.
    #[must_use]
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name that every tool knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Which end of a packet a match looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// Whether an owner is a user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// A user id.
    User,
    /// A group id.
    Group,
}

/// A condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The transport protocol.
    Protocol(Protocol),
    /// It arrived on this interface.
    In(Interface),
    /// It leaves on this interface.
    Out(Interface),
    /// An address is within a network (or, negated, is not).
    Address(Direction, Cidr, bool),
    /// A port is one of these (or, negated, is not); a [`Match::Protocol`] must go before it.
    Port(Direction, Vec<u16>, bool),
    /// The sending process runs as this user or group (or, negated, does not).
    Owner(OwnerKind, Owner, bool),
    /// The packet's mark (or, negated, not that mark).
    Mark(u32, bool),
    /// The connection's mark.
    ConnectionMark(u32),
    /// The state that connection tracking sees.
    State(&'static [State]),
}

/// A state of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Belongs to no connection that could exist.
    Invalid,
    /// Belongs to another connection.
    Related,
    /// Belongs to a connection that is open.
    Established,
}

impl State {
    /// The name in lower case (nftables); iptables wants it in upper case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Related => "related",
            Self::Established => "established",
        }
    }
}

/// What happens to a packet that all matches of a rule accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Go on in that chain of our own.
    Jump(Chain),
    /// Back to the calling chain; from a hook: leave it alone.
    Return,
    /// Let it pass.
    Accept,
    /// Drop it.
    Drop,
    /// Send it to this local port.
    Redirect(u16),
    /// Hand it to the local listener on `port` unchanged, marked.
    Tproxy {
        /// The listener's port.
        port: u16,
        /// The packet's new mark.
        mark: u32,
    },
    /// Mark the packet.
    SetMark(u32),
    /// Copy the packet's mark to its connection.
    SaveMark,
    /// Copy the connection's mark to the packet.
    RestoreMark,
    /// Track it in this zone.
    Zone(u16),
}

/// One rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Only for this family; `None` for both.
    pub family: Option<Family>,
    /// All must hold; an empty list accepts every packet.
    pub matches: Vec<Match>,
    /// What then happens.
    pub target: Target,
}

/// All rules, chain by chain, each chain in its final order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    chains: Vec<((Table, Chain), Vec<Rule>)>,
}

impl RuleSet {
    /// Adds a rule at the end of a chain. The family follows from the addresses that the matches name.
    pub fn add(&mut self, table: Table, chain: Chain, matches: Vec<Match>, target: Target) {
        let family = matches.iter().find_map(|m| match m {
            Match::Address(_, cidr, _) => Some(Family::of(&cidr.address())),
            _ => None,
        });
        self.push(
            table,
            chain,
            Rule {
                family,
                matches,
                target,
            },
        );
    }

    /// Adds a rule for one family only, whatever its matches say.
    pub fn add_for(
        &mut self,
        family: Family,
        table: Table,
        chain: Chain,
        matches: Vec<Match>,
        target: Target,
    ) {
        self.push(
            table,
            chain,
            Rule {
                family: Some(family),
                matches,
                target,
            },
        );
    }

    fn push(&mut self, table: Table, chain: Chain, rule: Rule) {
        let key = (table, chain);
        match self.chains.iter_mut().find(|(k, _)| *k == key) {
            Some((_, rules)) => rules.push(rule),
            None => self.chains.push((key, vec![rule])),
        }
    }

    /// The chains of one table with the rules of `families`, in order of first use; chains without a rule left out.
    pub fn table<'a>(
        &'a self,
        table: Table,
        families: &'a [Family],
    ) -> impl Iterator<Item = (Chain, Vec<&'a Rule>)> {
        self.chains
            .iter()
            .filter(move |((t, _), _)| *t == table)
            .filter_map(move |((_, chain), rules)| {
                let rules: Vec<&Rule> = rules
                    .iter()
                    .filter(|r| r.family.is_none_or(|family| families.contains(&family)))
                    .collect();
                (!rules.is_empty()).then_some((*chain, rules))
            })
    }

    /// Whether it holds no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// How many rules of `families` each table holds; tables without one left out.
    #[must_use]
    pub fn counts(&self, families: &[Family]) -> Vec<(Table, usize)> {
        Table::ALL
            .into_iter()
            .map(|table| {
                (
                    table,
                    self.table(table, families)
                        .map(|(_, rules)| rules.len())
                        .sum(),
                )
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
