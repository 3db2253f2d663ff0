//! Settings and host → rules.
//!
//! Chain by chain and rule by rule in the order of Istio 1.32 (`tools/istio-iptables/pkg/capture/run.go`), so that
//! what people know of reading these chains holds. "Insert at the head" is done here: the rule set holds every chain
//! in its final order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Host;
use super::lists::{Cidr, Interface, Owner};
use super::rules::{
    Chain, Direction, Family, Match, OwnerKind, Protocol, RuleSet, State, Table, Target,
};
use super::settings::{DnsCapture, Interception, OwnerGroups, Ports, Ranges, Settings};

/// The agent's DNS server.
const DNS_PORT: u16 = 15053;
const TCP: Match = Match::Protocol(Protocol::Tcp);
const UDP: Match = Match::Protocol(Protocol::Udp);

/// The proxy binds its connections to the application to these addresses, which is how they are told apart.
const INBOUND_SOURCES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)),
    IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)),
];

/// All rules that these settings ask for on this host.
#[must_use]
pub fn plan(settings: &Settings, host: &Host) -> RuleSet {
    let mut plan = Plan {
        settings,
        host,
        rules: RuleSet::default(),
    };
    plan.virtual_machine_interfaces();
    plan.excluded_interfaces();
    plan.invalid_packets();
    plan.redirects();
    plan.tproxy_guards();
    plan.inbound();
    plan.outbound();
    plan.tproxy_marks();
    plan.rules
}

struct Plan<'a> {
    settings: &'a Settings,
    host: &'a Host,
    rules: RuleSet,
}

fn to_port(port: u16) -> Match {
    Match::Port(Direction::Destination, vec![port], false)
}

fn from_port(port: u16) -> Match {
    Match::Port(Direction::Source, vec![port], false)
}

fn to(cidr: Cidr) -> Match {
    Match::Address(Direction::Destination, cidr, false)
}

fn not_to(cidr: Cidr) -> Match {
    Match::Address(Direction::Destination, cidr, true)
}

fn from(address: IpAddr) -> Match {
    Match::Address(Direction::Source, Cidr::host(address), false)
}

fn on_loopback() -> Match {
    Match::Out(Interface::loopback())
}

impl Plan<'_> {
    fn nat(&mut self, chain: Chain, matches: Vec<Match>, target: Target) {
        self.rules.add(Table::Nat, chain, matches, target);
    }

    fn mangle(&mut self, chain: Chain, matches: Vec<Match>, target: Target) {
        self.rules.add(Table::Mangle, chain, matches, target);
    }

    fn raw(&mut self, chain: Chain, matches: Vec<Match>, target: Target) {
        self.rules.add(Table::Raw, chain, matches, target);
    }

    /// What counts as loopback, in both families.
    fn loopbacks(&self) -> [Cidr; 2] {
        [self.settings.loopback, Cidr::LOOPBACK[1]]
    }

    fn proxies(&self) -> Vec<(OwnerKind, Owner)> {
        let users = self
            .settings
            .proxy_users
            .iter()
            .map(|id| (OwnerKind::User, id.clone()));
        let groups = self
            .settings
            .proxy_groups
            .iter()
            .map(|id| (OwnerKind::Group, id.clone()));
        users.chain(groups).collect()
    }

    /// Traffic of virtual machines arrives on interfaces of its own and counts as outbound. Istio inserts each of
    /// these at the head of the chain, so that the last one comes first: excluding rules last, redirecting ones first.
    fn virtual_machine_interfaces(&mut self) {
        let interfaces = &self.settings.reroute_interfaces;
        let mut inserted: Vec<(Option<Family>, Vec<Match>, Target)> = interfaces
            .iter()
            .map(|name| (None, vec![Match::In(name.clone())], Target::Return))
            .collect();
        for family in [Family::V4, Family::V6] {
            match &self.settings.outbound {
                Ranges::All => inserted.extend(interfaces.iter().map(|name| {
                    (
                        Some(family),
                        vec![Match::In(name.clone())],
                        Target::Jump(Chain::Redirect),
                    )
                })),
                Ranges::Only(cidrs) => {
                    for cidr in cidrs
                        .iter()
                        .filter(|cidr| Family::of(&cidr.address()) == family)
                    {
                        inserted.extend(interfaces.iter().map(|name| {
                            let matches = vec![Match::In(name.clone()), to(*cidr)];
                            (Some(family), matches, Target::Jump(Chain::Redirect))
                        }));
                    }
                }
            }
        }
        for (family, matches, target) in inserted.into_iter().rev() {
            match family {
                Some(family) => {
                    self.rules
                        .add_for(family, Table::Nat, Chain::Prerouting, matches, target)
                }
                None => self.nat(Chain::Prerouting, matches, target),
            }
        }
    }

    fn excluded_interfaces(&mut self) {
        let tables = match self.settings.interception {
            Interception::Redirect => vec![Table::Nat],
            Interception::Tproxy { .. } => vec![Table::Nat, Table::Mangle],
        };
        for table in tables {
            for name in &self.settings.exclude_interfaces {
                self.rules.add(
                    table,
                    Chain::Prerouting,
                    vec![Match::In(name.clone())],
                    Target::Return,
                );
                self.rules.add(
                    table,
                    Chain::Output,
                    vec![Match::Out(name.clone())],
                    Target::Return,
                );
            }
        }
    }

    fn invalid_packets(&mut self) {
        if self.settings.drop_invalid {
            self.mangle(
                Chain::Prerouting,
                vec![Match::State(&[State::Invalid])],
                Target::Jump(Chain::Drop),
            );
            self.mangle(Chain::Drop, vec![], Target::Drop);
        }
    }

    fn redirects(&mut self) {
        self.nat(
            Chain::Inbound,
            vec![TCP, to_port(self.settings.tunnel_port)],
            Target::Return,
        );
        self.nat(
            Chain::Redirect,
            vec![TCP],
            Target::Redirect(self.settings.proxy_port),
        );
        self.nat(
            Chain::InRedirect,
            vec![TCP],
            Target::Redirect(self.settings.inbound_port),
        );
    }

    /// What must not be handed over a second time goes first in the inbound chain.
    fn tproxy_guards(&mut self) {
        let Interception::Tproxy { mark, .. } = self.settings.interception else {
            return;
        };
        let arrives = || Match::In(Interface::loopback());
        self.mangle(
            Chain::Inbound,
            vec![TCP, Match::Mark(mark, false)],
            Target::Return,
        );
        for source in INBOUND_SOURCES {
            self.mangle(
                Chain::Inbound,
                vec![TCP, from(source), arrives()],
                Target::Return,
            );
        }
        let from_proxy = Match::Mark(mark.saturating_add(1), true);
        self.mangle(
            Chain::Inbound,
            vec![TCP, arrives(), from_proxy],
            Target::Return,
        );
    }

    fn inbound(&mut self) {
        if self.settings.inbound == Ports::Only(Vec::new()) {
            return;
        }
        let table = match self.settings.interception {
            Interception::Redirect => Table::Nat,
            Interception::Tproxy { mark, .. } => {
                self.mangle(Chain::Divert, vec![], Target::SetMark(mark));
                self.mangle(Chain::Divert, vec![], Target::Accept);
                let target = Target::Tproxy {
                    port: self.settings.inbound_port,
                    mark,
                };
                for loopback in self.loopbacks() {
                    self.mangle(Chain::Tproxy, vec![not_to(loopback), TCP], target);
                }
                Table::Mangle
            }
        };
        self.rules.add(
            table,
            Chain::Prerouting,
            vec![TCP],
            Target::Jump(Chain::Inbound),
        );
        match &self.settings.inbound {
            Ports::AllBut(excluded) => {
                for port in excluded {
                    self.rules.add(
                        table,
                        Chain::Inbound,
                        vec![TCP, to_port(*port)],
                        Target::Return,
                    );
                }
                self.capture_inbound(&[]);
            }
            Ports::Only(ports) => {
                for port in ports {
                    self.capture_inbound(&[to_port(*port)]);
                }
            }
        }
    }

    fn capture_inbound(&mut self, to_port: &[Match]) {
        let matches = || [&[TCP], to_port].concat();
        match self.settings.interception {
            Interception::Redirect => {
                self.nat(Chain::Inbound, matches(), Target::Jump(Chain::InRedirect))
            }
            Interception::Tproxy { .. } => {
                let mut known = matches();
                known.push(Match::State(&[State::Related, State::Established]));
                self.mangle(Chain::Inbound, known, Target::Jump(Chain::Divert));
                self.mangle(Chain::Inbound, matches(), Target::Jump(Chain::Tproxy));
            }
        }
    }

    fn outbound(&mut self) {
        self.nat(Chain::Output, vec![], Target::Jump(Chain::Outbound));
        for port in &self.settings.outbound_ports_exclude {
            for protocol in [TCP, UDP] {
                self.rules.add(
                    Table::Nat,
                    Chain::Outbound,
                    vec![protocol, to_port(*port)],
                    Target::Return,
                );
            }
        }
        for source in INBOUND_SOURCES {
            self.nat(
                Chain::Outbound,
                vec![on_loopback(), from(source)],
                Target::Return,
            );
        }
        for (kind, id) in self.proxies() {
            self.proxy_itself(kind, &id);
        }
        self.owner_groups();
        self.dns();
        for loopback in self.loopbacks() {
            self.nat(Chain::Outbound, vec![to(loopback)], Target::Return);
        }
        for cidr in &self.settings.outbound_exclude {
            self.rules
                .add(Table::Nat, Chain::Outbound, vec![to(*cidr)], Target::Return);
        }
        for port in &self.settings.outbound_ports {
            let matches = vec![TCP, to_port(*port)];
            self.rules.add(
                Table::Nat,
                Chain::Outbound,
                matches,
                Target::Jump(Chain::Redirect),
            );
        }
        let target = Target::Jump(Chain::Redirect);
        for family in [Family::V4, Family::V6] {
            match &self.settings.outbound {
                Ranges::All => {
                    self.rules
                        .add_for(family, Table::Nat, Chain::Outbound, vec![], target)
                }
                Ranges::Only(cidrs) => {
                    for cidr in cidrs
                        .iter()
                        .filter(|cidr| Family::of(&cidr.address()) == family)
                    {
                        self.rules
                            .add(Table::Nat, Chain::Outbound, vec![to(*cidr)], target);
                    }
                }
            }
        }
    }

    /// The proxy's own connections leave as they are; but where the application calls its own service and the proxy
    /// picks this very pod, the connection enters the proxy again as an inbound one.
    fn proxy_itself(&mut self, kind: OwnerKind, id: &Owner) {
        let dns = !self.dns_destinations().is_empty();
        let proxy = |negated| Match::Owner(kind, id.clone(), negated);
        // As in Istio, DNS is left out of this rule for users and not for groups.
        let mut not_captured = vec![self.settings.tunnel_port];
        if dns && kind == OwnerKind::User {
            not_captured.insert(0, 53);
        }
        for loopback in self.loopbacks() {
            let ports = Match::Port(Direction::Destination, not_captured.clone(), true);
            let matches = vec![on_loopback(), not_to(loopback), TCP, ports, proxy(false)];
            self.nat(Chain::Outbound, matches, Target::Jump(Chain::InRedirect));
        }
        let loopback_wanted = match &self.settings.outbound {
            Ranges::All => false,
            Ranges::Only(cidrs) => cidrs.iter().any(Cidr::is_loopback),
        };
        if !loopback_wanted {
            let mut matches = vec![on_loopback()];
            if dns {
                matches.extend([TCP, Match::Port(Direction::Destination, vec![53], true)]);
            }
            matches.push(proxy(true));
            self.nat(Chain::Outbound, matches, Target::Return);
        }
        self.nat(Chain::Outbound, vec![proxy(false)], Target::Return);
    }

    fn owner_groups(&mut self) {
        let owner = |id: &Owner, negated| Match::Owner(OwnerKind::Group, id.clone(), negated);
        match &self.settings.owner_groups {
            OwnerGroups::AllBut(groups) => {
                for id in groups {
                    self.rules.add(
                        Table::Nat,
                        Chain::Outbound,
                        vec![owner(id, false)],
                        Target::Return,
                    );
                }
            }
            OwnerGroups::Only(groups) => {
                let none_of_them = groups.iter().map(|id| owner(id, true)).collect();
                self.nat(Chain::Outbound, none_of_them, Target::Return);
            }
        }
    }

    /// Where captured DNS queries go, as matches; none where DNS is not captured or no name server is known.
    fn dns_destinations(&self) -> Vec<Vec<Match>> {
        match self.settings.dns {
            DnsCapture::Off => Vec::new(),
            DnsCapture::All => vec![Vec::new()],
            DnsCapture::NameServers => self
                .host
                .nameservers
                .iter()
                .map(|ip| vec![to(Cidr::host(*ip))])
                .collect(),
        }
    }

    /// Queries go to the agent. Its own queries and the application's are tracked in different zones: they may share
    /// addresses and ports, and would be taken for one connection.
    fn dns(&mut self) {
        let servers = self.dns_destinations();
        if servers.is_empty() {
            return;
        }
        self.nat(Chain::Outbound, vec![], Target::Jump(Chain::Dns));
        for protocol in [TCP, UDP] {
            for server in &servers {
                let matches = [&[protocol.clone(), to_port(53)], server.as_slice()].concat();
                self.nat(Chain::Dns, matches, Target::Redirect(DNS_PORT));
            }
        }
        self.raw(Chain::Output, vec![], Target::Jump(Chain::Dns));
        for (kind, id) in self.proxies() {
            let owner = || Match::Owner(kind, id.clone(), false);
            self.raw(Chain::Dns, vec![UDP, to_port(53), owner()], Target::Zone(1));
            self.raw(
                Chain::Dns,
                vec![UDP, from_port(DNS_PORT), owner()],
                Target::Zone(2),
            );
        }
        self.raw(Chain::Prerouting, vec![], Target::Jump(Chain::Inbound));
        for server in &servers {
            let answers: Vec<Match> = server
                .iter()
                .map(|m| match m {
                    Match::Address(_, cidr, negated) => {
                        Match::Address(Direction::Source, *cidr, *negated)
                    }
                    other => other.clone(),
                })
                .collect();
            self.raw(
                Chain::Dns,
                [&[UDP, to_port(53)], server.as_slice()].concat(),
                Target::Zone(2),
            );
            self.raw(
                Chain::Inbound,
                [&[UDP, from_port(53)], answers.as_slice()].concat(),
                Target::Zone(1),
            );
        }
    }

    /// Marks travel from packet to connection and back, so that answers find their way to the proxy.
    fn tproxy_marks(&mut self) {
        let Interception::Tproxy { mark, .. } = self.settings.interception else {
            return;
        };
        let marked = || Match::Mark(mark, false);
        self.mangle(Chain::Prerouting, vec![TCP, marked()], Target::SaveMark);
        self.mangle(
            Chain::Output,
            vec![TCP, on_loopback(), marked()],
            Target::Return,
        );
        for (kind, id) in self.proxies() {
            for loopback in Cidr::LOOPBACK {
                let owner = Match::Owner(kind, id.clone(), false);
                let matches = vec![not_to(loopback), TCP, on_loopback(), owner];
                self.mangle(
                    Chain::Output,
                    matches,
                    Target::SetMark(mark.saturating_add(1)),
                );
            }
        }
        self.mangle(
            Chain::Output,
            vec![TCP, Match::ConnectionMark(mark)],
            Target::RestoreMark,
        );
    }
}
