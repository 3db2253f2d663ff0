//! Traffic capture: which connections of a pod enter its proxy.
//!
//! Flags and environment become [`Settings`], checked before anything is touched; settings and what is known of the
//! host ([`Host`]) become one [`RuleSet`], a value; printers turn it into text for `iptables-restore`,
//! `ip6tables-restore` or `nft`. All of that is pure. Only [`apply`] runs programs.
//!
//! The flags, the order of the rules and the chains' names are those of Istio 1.32 (`istio-iptables`).

pub mod apply;
pub mod explain;
mod flags;
mod iptables;
mod lists;
mod nftables;
mod plan;
mod rules;
mod settings;

pub use flags::{FLAGS, Flag};
pub use iptables::{Found, Leftovers, clean_text, plain_hook_rules, restore_text};
pub use lists::{Cidr, Interface, Owner};
pub use nftables::script;
pub use plan::plan;
pub use rules::{
    Chain, Direction, Family, Match, OwnerKind, Protocol, Rule, RuleSet, Table, Target,
};
pub use settings::{
    DnsCapture, Interception, OwnerGroups, Ports, Ranges, SettingError, Settings, SettingsError,
};

use std::net::IpAddr;

/// What a plan needs to know of the place where its rules will apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// IPv6 is captured too.
    pub ipv6: bool,
    /// The name servers of `/etc/resolv.conf`; only DNS capture reads them.
    pub nameservers: Vec<IpAddr>,
}

#[cfg(test)]
mod tests;
