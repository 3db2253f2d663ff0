//! Traffic capture: which connections of a pod enter its proxy.
//!
//! Flags and environment become [`Settings`], checked before anything is touched; settings and what is known of the
//! host ([`Host`]) become one [`RuleSet`], a value; printers turn it into text for `iptables-restore`,
//! `ip6tables-restore` or `nft`, and read back what `iptables-save` says of it. All of that is pure. Only [`apply`]
//! runs programs.
//!
//! The flags, the order of the rules and the chains' names are those of Istio 1.32 (`istio-iptables`).

pub mod apply;
pub mod explain;
mod flags;
mod iptables;
mod lists;
mod modules;
mod nftables;
mod options;
mod plan;
mod reader;
mod routing;
mod rules;
mod saved;
mod settings;

pub use flags::{FLAGS, Flag, RUN_FLAGS};
pub use iptables::{Found, Leftovers, clean_text, guard_text, restore_text};
pub use lists::{Cidr, Interface, Owner};
pub use modules::{Modules, modules};
pub use nftables::{clean_script, script};
pub use options::{Backend, Options, Variant};
pub use plan::plan;
pub use routing::{Routing, routing};
pub use rules::{
    Chain, Direction, Family, Match, OwnerKind, Protocol, Rule, RuleSet, State, Table, Target,
};
pub use saved::{Saved, canonical};
pub use settings::{
    DnsCapture, Interception, OwnerGroups, Ports, Ranges, SettingError, Settings, SettingsError,
};

use std::net::{IpAddr, Ipv6Addr};

/// The address from which the proxy calls the application over IPv6.
const INBOUND_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// What a plan needs to know of the place where its rules will apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// IPv6 is captured too.
    pub ipv6: bool,
    /// The name servers of `/etc/resolv.conf`; only DNS capture reads them.
    pub nameservers: Vec<IpAddr>,
}

impl Host {
    /// The families that are captured.
    #[must_use]
    pub fn families(&self) -> &'static [Family] {
        if self.ipv6 {
            &Family::ALL
        } else {
            &[Family::V4]
        }
    }
}

/// Whether IPv6 is captured in a pod with these addresses; none where no address is usable. As in Istio the pod's
/// first address decides, which is an IPv4 address wherever it has one; with `dual_stack` any of them does.
#[must_use]
pub fn captures_ipv6(addresses: &[IpAddr], dual_stack: bool) -> Option<bool> {
    let usable = |address: &&IpAddr| match address {
        IpAddr::V4(a) => !a.is_loopback() && !a.is_link_local() && !a.is_unspecified(),
        IpAddr::V6(a) => !a.is_loopback() && !a.is_unicast_link_local() && *a != INBOUND_SOURCE_V6,
    };
    let usable: Vec<&IpAddr> = addresses.iter().filter(usable).collect();
    let has = |family| usable.iter().any(|address| Family::of(address) == family);
    if usable.is_empty() {
        None
    } else {
        Some(has(Family::V6) && (dual_stack || !has(Family::V4)))
    }
}

#[cfg(test)]
mod tests;
