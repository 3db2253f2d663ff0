//! Flags and environment → settings, all of them checked, all problems reported at once.

use std::fmt;

use super::flags;
use super::lists::{Cidr, Interface, Owner};
use super::reader::{Lookup, Reader};
use super::rules::OwnerKind;

/// How inbound connections reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interception {
    /// Address translation to the proxy's inbound port.
    Redirect,
    /// Handed over unchanged; marked packets take a routing table of their own.
    Tproxy {
        /// The mark of such packets.
        mark: u32,
        /// The routing table.
        table: u32,
    },
}

impl Interception {
    /// The mark of TPROXY where nothing else is said.
    pub const USUAL_MARK: u32 = 1337;
}

/// Which inbound ports are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// All but these.
    AllBut(Vec<u16>),
    /// These alone; an empty list captures nothing.
    Only(Vec<u16>),
}

/// Connections to which addresses are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// To all.
    All,
    /// To these networks alone; an empty list captures nothing.
    Only(Vec<Cidr>),
}

/// Connections of which groups are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerGroups {
    /// Of all groups but these.
    AllBut(Vec<Owner>),
    /// Of these groups alone.
    Only(Vec<Owner>),
}

/// Which DNS queries go to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsCapture {
    /// None.
    Off,
    /// Those to the name servers of `/etc/resolv.conf`.
    NameServers,
    /// All to port 53.
    All,
}

/// What to capture. Every value has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The proxy's port for outbound connections.
    pub proxy_port: u16,
    /// The proxy's port for inbound connections.
    pub inbound_port: u16,
    /// The port of tunnels between proxies.
    pub tunnel_port: u16,
    /// Users that are the proxy.
    pub proxy_users: Vec<Owner>,
    /// Groups that are the proxy.
    pub proxy_groups: Vec<Owner>,
    /// How inbound connections are captured.
    pub interception: Interception,
    /// Inbound ports to capture.
    pub inbound: Ports,
    /// Networks to which outbound connections are captured.
    pub outbound: Ranges,
    /// Networks to which they are not.
    pub outbound_exclude: Vec<Cidr>,
    /// Ports to which they are, whatever the address.
    pub outbound_ports: Vec<u16>,
    /// Ports to which they are not, TCP and UDP.
    pub outbound_ports_exclude: Vec<u16>,
    /// Interfaces on which nothing is captured.
    pub exclude_interfaces: Vec<Interface>,
    /// Interfaces whose inbound traffic counts as outbound.
    pub reroute_interfaces: Vec<Interface>,
    /// Groups whose outbound connections are captured.
    pub owner_groups: OwnerGroups,
    /// DNS queries to capture.
    pub dns: DnsCapture,
    /// Drop packets that belong to no connection.
    pub drop_invalid: bool,
    /// The pod has addresses of both families.
    pub dual_stack: bool,
    /// What counts as the pod's own loopback network (IPv4).
    pub loopback: Cidr,
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// Where the value was given: the flag in both spellings, or the environment variable.
    pub origin: String,
    /// The whole value.
    pub value: String,
    /// For a list: which item is wrong (from 1), and that item.
    pub item: Option<(usize, String)>,
    /// What would be right.
    pub allowed: &'static str,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: ", self.origin, self.value)?;
        if let Some((position, item)) = &self.item {
            write!(f, "item {position}, {item:?}, cannot be used; ")?;
        }
        write!(f, "allowed: {}", self.allowed)
    }
}

/// All settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<SettingError>);

const PORTS: &str = "ports from 0 to 65535, separated by commas";
const PORTS_OR_ALL: &str = "\"*\", or ports from 0 to 65535, separated by commas";
const RANGES: &str = "networks such as 10.0.0.0/8 or 2001:db8::/32, separated by commas";
const RANGES_OR_ALL: &str =
    "\"*\", or networks such as 10.0.0.0/8 or 2001:db8::/32, separated by commas";
const OWNERS: &str = "user or group ids or names, separated by commas";
const INTERFACES: &str =
    "interface names (a letter, then letters, digits, \"_\", \".\", \"-\"; at most 15 characters)";
/// The kernel's limit is not the reason: Istio allows as many.
const MOST_OWNER_GROUPS: usize = 64;

impl Settings {
    /// Reads the settings.
    ///
    /// `arg` looks up a flag by its long name, `env` an environment variable. `proxy_user` is the id of the user
    /// `istio-proxy` (or `$ENVOY_USER`) where there is one; 1337 otherwise. An unusable number or switch from the
    /// environment is ignored, as Istio does, and told in the second value.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn read(
        arg: Lookup<'_>,
        env: Lookup<'_>,
        proxy_user: Option<u32>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        let mut read = Reader::new(arg, env);
        let proxy_port = read.port(&flags::PROXY_PORT);
        let inbound_port = read.port(&flags::INBOUND_PORT);
        let tunnel_port = read.port(&flags::TUNNEL_PORT);
        let mut proxy_users: Vec<Owner> = read.list(&flags::PROXY_UID, OWNERS);
        if proxy_users.is_empty() {
            proxy_users.push(Owner::from(proxy_user.unwrap_or(1337)));
        }
        let mut proxy_groups: Vec<Owner> = read.list(&flags::PROXY_GID, OWNERS);
        if proxy_groups.is_empty() {
            proxy_groups.clone_from(&proxy_users);
        }
        let interception = read.interception();
        let inbound_exclude = read.list(&flags::INBOUND_EXCLUDE, PORTS);
        let inbound = match read.list_or_all(&flags::INBOUND, PORTS_OR_ALL) {
            None => Ports::AllBut(inbound_exclude),
            Some(ports) => Ports::Only(ports),
        };
        let settings = Self {
            proxy_port,
            inbound_port,
            tunnel_port,
            proxy_users,
            proxy_groups,
            interception,
            inbound,
            outbound: read
                .list_or_all(&flags::OUTBOUND, RANGES_OR_ALL)
                .map_or(Ranges::All, Ranges::Only),
            outbound_exclude: read.list(&flags::OUTBOUND_EXCLUDE, RANGES),
            outbound_ports: read.list(&flags::OUTBOUND_PORTS, PORTS),
            outbound_ports_exclude: read.list(&flags::OUTBOUND_PORTS_EXCLUDE, PORTS),
            exclude_interfaces: read.list(&flags::EXCLUDE_INTERFACES, INTERFACES),
            reroute_interfaces: read.list(&flags::REROUTE_INTERFACES, INTERFACES),
            owner_groups: read.owner_groups(),
            dns: match (
                read.switch(&flags::REDIRECT_DNS),
                read.switch(&flags::ALL_DNS),
            ) {
                (false, _) => DnsCapture::Off,
                (true, false) => DnsCapture::NameServers,
                (true, true) => DnsCapture::All,
            },
            drop_invalid: read.switch(&flags::DROP_INVALID),
            dual_stack: read.switch(&flags::DUAL_STACK),
            loopback: read.loopback(),
        };
        read.finish(settings)
    }
}

impl Settings {
    /// Every list of users or groups, with the setting that it came from.
    #[must_use]
    pub fn owners(&self) -> Vec<(&'static str, OwnerKind, &[Owner])> {
        let (groups_from, groups) = match &self.owner_groups {
            OwnerGroups::AllBut(groups) => (flags::OWNER_GROUPS_EXCLUDE.env[0], groups),
            OwnerGroups::Only(groups) => (flags::OWNER_GROUPS.env[0], groups),
        };
        vec![
            ("--proxy-uid (-u)", OwnerKind::User, &self.proxy_users),
            ("--proxy-gid (-g)", OwnerKind::Group, &self.proxy_groups),
            (groups_from, OwnerKind::Group, groups),
        ]
    }
}

impl Reader<'_> {
    fn interception(&mut self) -> Interception {
        let (mark, table) = (
            self.number(&flags::TPROXY_MARK),
            self.routing_table(&flags::TPROXY_TABLE),
        );
        let value = self.value(&flags::MODE);
        match value.text.as_str() {
            "" | "REDIRECT" => Interception::Redirect,
            "TPROXY" => Interception::Tproxy { mark, table },
            _ => {
                self.refuse(&value, None, "REDIRECT or TPROXY");
                Interception::Redirect
            }
        }
    }

    fn owner_groups(&mut self) -> OwnerGroups {
        let exclude: Vec<Owner> = self.list(&flags::OWNER_GROUPS_EXCLUDE, OWNERS);
        let include: Option<Vec<Owner>> = self.list_or_all(&flags::OWNER_GROUPS, OWNERS);
        let (from, groups) = match &include {
            Some(groups) => (&flags::OWNER_GROUPS, groups),
            None => (&flags::OWNER_GROUPS_EXCLUDE, &exclude),
        };
        if groups.len() > MOST_OWNER_GROUPS {
            let value = self.value(from);
            self.refuse(&value, None, "at most 64 groups");
        }
        include.map_or(OwnerGroups::AllBut(exclude), OwnerGroups::Only)
    }

    fn loopback(&mut self) -> Cidr {
        const ALLOWED: &str =
            "a loopback network, such as 127.0.0.1/32, with a prefix from 8 to 32";
        let value = self.value(&flags::LOOPBACK);
        let cidr = value.text.trim().parse::<Cidr>().ok();
        match cidr
            .filter(|cidr| cidr.address().is_ipv4() && cidr.is_loopback() && cidr.prefix() >= 8)
        {
            Some(cidr) => cidr,
            None => {
                self.refuse(&value, None, ALLOWED);
                Cidr::LOOPBACK[0]
            }
        }
    }
}
