//! A journey in words.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use super::{End, Journey, Leg, Origin, Sender, Step, Stop};
use crate::capture::lists::Owner;
use crate::capture::rules::{Chain, Direction, Match, OwnerKind, Table, Target};
use crate::capture::settings::Settings;
use crate::capture::{iptables, nftables};

/// The tool whose spelling of rules and chains is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printer {
    /// `iptables-save`, `ip6tables-save`.
    Iptables,
    /// `nft list ruleset`.
    Nftables,
}

/// The journey as text for a terminal: for each packet the rules that matched, which of them decided and why it is
/// there, and where the packet ended.
#[must_use]
pub fn write(settings: &Settings, journey: &Journey, printer: Printer) -> String {
    let mut writer = Writer {
        settings,
        printer,
        steps: 0,
        text: String::new(),
    };
    for (index, leg) in journey.legs.iter().enumerate() {
        writer.leg(leg, index > 0);
    }
    let stop = match journey.stop {
        None => "",
        Some(Stop::CapturePort) => {
            "The proxy ends it there: it was going to a port of capture itself, and would come back for ever.\n"
        }
        Some(Stop::Circle) => "And so on: with these settings the connection goes in circles.\n",
    };
    writer.text.push_str(stop);
    writer.text
}

struct Writer<'a> {
    settings: &'a Settings,
    printer: Printer,
    /// Numbered over all legs.
    steps: usize,
    text: String,
}

impl Writer<'_> {
    fn leg(&mut self, leg: &Leg, passed_on: bool) {
        if passed_on {
            self.text.push('\n');
        }
        let protocol = leg.protocol.as_str().to_uppercase();
        let from = match leg.source {
            Some(source) if passed_on || leg.sender.is_none() => format!(" from {source}"),
            _ => String::new(),
        };
        let who = who(leg, passed_on);
        self.line(format_args!(
            "{who}: {protocol}{from} to {}",
            leg.destination
        ));
        let deciding = leg.deciding();
        for (index, step) in leg.steps.iter().enumerate() {
            self.step(leg, step, deciding == Some(index));
        }
        if deciding.is_none() {
            self.line(format_args!("  no rule decides about it"));
        }
        for owner in &leg.unclear {
            self.line(format_args!(
                "  a rule names \"{owner}\": whether that is the sender is not known here, and taken to be no"
            ));
        }
        let end = self.end(leg);
        self.line(format_args!("  => {end}"));
    }

    fn step(&mut self, leg: &Leg, step: &Step, decides: bool) {
        self.steps += 1;
        let number = self.steps;
        let mark = if decides { "  <= decides" } else { "" };
        let matches = matches(&step.rule.matches);
        let target = self.target(step);
        self.line(format_args!(
            "{number:>3}. {} {}, rule {} ({matches}): {target}{mark}",
            step.table.as_str(),
            self.chain(step.chain),
            step.position
        ));
        let printed = self.printed(step);
        self.line(format_args!("       {printed}"));
        let purpose = purpose(self.settings, step, leg.origin == Origin::Proxy);
        if let Some(purpose) = purpose {
            self.line(format_args!("       {purpose}"));
        }
    }

    fn line(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{arguments}");
    }

    fn chain(&self, chain: Chain) -> String {
        match self.printer {
            Printer::Iptables => chain.as_str().to_owned(),
            Printer::Nftables => nftables::chain_name(chain),
        }
    }

    /// The rule as the tool prints it.
    fn printed(&self, step: &Step) -> String {
        let chain = self.chain(step.chain);
        match self.printer {
            Printer::Iptables => {
                format!("-A {chain}{}", iptables::fed_text(step.chain, &step.rule))
            }
            Printer::Nftables => nftables::rule_text(&step.rule).trim_start().to_owned(),
        }
    }

    fn target(&self, step: &Step) -> String {
        match step.rule.target {
            Target::Jump(chain) => format!("goes on in {}", self.chain(chain)),
            Target::Return => "is left alone".to_owned(),
            Target::Accept => "passes".to_owned(),
            Target::Drop => "is dropped".to_owned(),
            Target::Redirect(port) => format!("is redirected to port {port} of this pod"),
            Target::Tproxy { port, mark } => {
                format!("is handed to port {port} of this pod unchanged, marked {mark}")
            }
            Target::SetMark(mark) => format!("is marked {mark}"),
            Target::SaveMark => "its connection gets its mark".to_owned(),
            Target::RestoreMark => "gets its connection's mark".to_owned(),
            Target::Zone(zone) => format!("is tracked in zone {zone}"),
        }
    }

    fn end(&self, leg: &Leg) -> String {
        let goes = leg.destination;
        match leg.end {
            End::Outbound => format!(
                "ends at the proxy's listener for outbound connections, port {}, which learns that it was going to {goes}",
                self.settings.proxy_port
            ),
            End::Inbound { transparent: false } => format!(
                "ends at the proxy's listener for inbound connections, port {}, which learns that it was going to {goes}",
                self.settings.inbound_port
            ),
            End::Inbound { transparent: true } => format!(
                "ends at the proxy's listener for inbound connections, port {}, with both its addresses unchanged",
                self.settings.inbound_port
            ),
            End::Dns => "ends at the agent's DNS server".to_owned(),
            End::Local(address) => format!("arrives at whatever listens on {}", listener(address)),
            End::Leaves(address) => format!("leaves the pod, for {address}"),
            End::Dropped => "ends here: the kernel drops it".to_owned(),
        }
    }
}

fn listener(address: SocketAddr) -> String {
    if address.ip().is_loopback() {
        format!("{address} in this pod")
    } else {
        format!("{address}, an address of this pod")
    }
}

fn who(leg: &Leg, passed_on: bool) -> String {
    let ids = |sender: &Option<Sender>| match sender {
        Some(sender) => format!(" (user {}, group {})", sender.user, sender.group),
        None => String::new(),
    };
    match &leg.origin {
        Origin::Application(_) => format!("From the application{}", ids(&leg.sender)),
        Origin::Proxy if passed_on => format!("Passed on by the proxy{}", ids(&leg.sender)),
        Origin::Proxy => format!("From the proxy{}", ids(&leg.sender)),
        Origin::Outside => "From outside the pod".to_owned(),
    }
}

fn matches(matches: &[Match]) -> String {
    if matches.is_empty() {
        return "every packet".to_owned();
    }
    let words: Vec<String> = matches.iter().map(one_match).collect();
    words.join(", ")
}

fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}

fn one_match(m: &Match) -> String {
    match m {
        Match::Protocol(protocol) => protocol.as_str().to_uppercase(),
        Match::In(name) => format!("arrives on {name}"),
        Match::Out(name) => format!("leaves on {name}"),
        Match::Address(Direction::Source, cidr, negated) => {
            format!("{}from {cidr}", not(*negated))
        }
        Match::Address(Direction::Destination, cidr, negated) => {
            format!("{}to {cidr}", not(*negated))
        }
        Match::Port(direction, ports, negated) => {
            let side = match direction {
                Direction::Source => "from",
                Direction::Destination => "to",
            };
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("{}{side} port {}", not(*negated), ports.join(" or "))
        }
        Match::Owner(kind, id, negated) => {
            let kind = match kind {
                OwnerKind::User => "user",
                OwnerKind::Group => "group",
            };
            format!("{}sent by {kind} {id}", not(*negated))
        }
        Match::Mark(mark, negated) => format!("{}marked {mark}", not(*negated)),
        Match::ConnectionMark(mark) => format!("of a connection marked {mark}"),
        Match::State(states) => {
            let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            format!("of a connection that is {}", states.join(" or "))
        }
    }
}

/// Why a rule is there; `of_proxy` where the proxy sends the packet.
fn purpose(settings: &Settings, step: &Step, of_proxy: bool) -> Option<&'static str> {
    let matches = &step.rule.matches;
    match (step.table, step.chain, step.rule.target) {
        (Table::Raw, _, Target::Zone(_)) => Some(
            "Queries of the application and of the agent are tracked apart: they may share addresses and ports.",
        ),
        (Table::Raw, ..) => None,
        (_, Chain::Drop, _) => {
            Some("What belongs to no connection would be answered with a reset (--drop-invalid).")
        }
        (_, Chain::Prerouting | Chain::Output, Target::Return) => of_hook(matches),
        (Table::Nat, Chain::Prerouting, Target::Jump(Chain::Redirect)) => {
            Some("What a virtual machine sends counts as outbound (--kube-virt-interfaces).")
        }
        (_, Chain::Inbound, _) => of_inbound(settings, step),
        (Table::Nat, Chain::Outbound, _) => of_outbound(settings, step, of_proxy),
        (Table::Nat, Chain::Dns, _) => Some("DNS queries go to the agent (--redirect-dns)."),
        (Table::Mangle, Chain::Prerouting, Target::SaveMark) => {
            Some("Answers of the application find back to the proxy by this mark.")
        }
        (Table::Mangle, Chain::Output, Target::SetMark(_)) => {
            Some("By this mark the proxy's calls to its own pod are told from the application's.")
        }
        _ => None,
    }
}

fn of_hook(matches: &[Match]) -> Option<&'static str> {
    let loopback = crate::capture::Interface::loopback();
    match matches {
        [Match::In(_)] => Some(
            "What arrives on this interface is not captured (--istio-exclude-interfaces, --kube-virt-interfaces).",
        ),
        [Match::Out(_)] => {
            Some("What leaves on this interface is not captured (--istio-exclude-interfaces).")
        }
        matches if matches.contains(&Match::Out(loopback)) => {
            Some("The proxy has had this connection already, and hands it to the application.")
        }
        _ => None,
    }
}

fn of_inbound(settings: &Settings, step: &Step) -> Option<&'static str> {
    let matches = &step.rule.matches;
    let any = |wanted: fn(&Match) -> bool| matches.iter().any(wanted);
    match step.rule.target {
        Target::Return => {
            if any(|m| matches!(m, Match::Port(..))) {
                Some(if ports(matches).contains(&settings.tunnel_port) {
                    "Tunnels between proxies have a listener of their own (--inbound-tunnel-port)."
                } else {
                    "This port is excluded from capture (--istio-local-exclude-ports)."
                })
            } else if any(|m| matches!(m, Match::Mark(_, true))) {
                Some(
                    "Within the pod only the proxy's calls to its own pod are inbound connections.",
                )
            } else if any(|m| matches!(m, Match::Mark(..))) {
                Some("The proxy has had this connection already.")
            } else {
                Some("The proxy calls the application from this address.")
            }
        }
        Target::Jump(Chain::InRedirect | Chain::Tproxy) => {
            Some("Connections that enter the pod go through the proxy (--istio-inbound-ports).")
        }
        _ => None,
    }
}

fn of_outbound(settings: &Settings, step: &Step, of_proxy: bool) -> Option<&'static str> {
    let matches = &step.rule.matches;
    let any = |wanted: fn(&Match) -> bool| matches.iter().any(wanted);
    let owner = matches.iter().find_map(|m| match m {
        Match::Owner(kind, id, negated) => Some((*kind, id, *negated)),
        _ => None,
    });
    match step.rule.target {
        Target::Jump(Chain::InRedirect) => Some(
            "The proxy calls its own pod: the application called a service that this pod is part of. It enters as any \
             other client's connection.",
        ),
        Target::Jump(Chain::Redirect) => Some(if any(|m| matches!(m, Match::Port(..))) {
            "Connections to this port are captured whatever the address (--istio-outbound-ports)."
        } else if any(|m| matches!(m, Match::Address(..))) {
            "Connections to this network are captured (--istio-service-cidr)."
        } else {
            "Every connection that no rule before has let go is captured (--istio-service-cidr)."
        }),
        Target::Return => Some(match owner {
            Some((_, _, true)) if any(|m| matches!(m, Match::Out(_))) && of_proxy => {
                "It is not redirected: with TPROXY the proxy runs as root, and marks tell its connections."
            }
            Some((_, _, true)) if any(|m| matches!(m, Match::Out(_))) => {
                "What the application sends within its pod is not captured."
            }
            Some((_, _, true)) => "Only certain groups are captured (ISTIO_OUTBOUND_OWNER_GROUPS).",
            Some((kind, id, false)) if is_proxy(settings, kind, id) => {
                "The proxy's own connections leave as they are (--proxy-uid, --proxy-gid)."
            }
            Some(_) => "This group is not captured (ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE).",
            None if any(|m| matches!(m, Match::Address(Direction::Source, ..))) => {
                "The proxy calls the application from this address; captured, it would come back for ever."
            }
            None if any(|m| matches!(m, Match::Port(..))) => {
                "This port is excluded from capture (--istio-local-outbound-ports-exclude)."
            }
            None if any(|m| matches!(m, Match::Address(_, cidr, _) if cidr.is_loopback())) => {
                "Loopback is not captured."
            }
            None => "This network is excluded from capture (--istio-service-exclude-cidr).",
        }),
        _ => None,
    }
}

fn is_proxy(settings: &Settings, kind: OwnerKind, id: &Owner) -> bool {
    match kind {
        OwnerKind::User => settings.proxy_users.contains(id),
        OwnerKind::Group => settings.proxy_groups.contains(id),
    }
}

fn ports(matches: &[Match]) -> Vec<u16> {
    matches
        .iter()
        .filter_map(|m| match m {
            Match::Port(_, ports, _) => Some(ports.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}
