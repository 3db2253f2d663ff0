//! Where a packet ends, and which rule decides that: a walk through the very rules that the printers print.
//!
//! The kernel's part is small and fixed: which tables a packet passes in which order at which hook, which route it
//! takes, and what each target does. It is written down here once (`walk`); the rest is reading rules.

mod packet;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::lists::{Interface, Owner};
use super::rules::{Chain, Family, Protocol, Rule, RuleSet, Table, Target};
use super::settings::{Interception, Settings};

pub use words::{Printer, write};

/// Who sends a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The user that the process runs as.
    pub user: Owner,
    /// Its group.
    pub group: Owner,
}

/// Where a packet comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A process of the application.
    Application(Sender),
    /// The proxy, or its agent.
    Proxy,
    /// Another pod, a node, a virtual machine: it arrives on [`Pod::interface`].
    Outside,
}

/// What is asked: the first packet of a connection (or of an exchange over UDP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who sends it.
    pub origin: Origin,
    /// Its protocol.
    pub protocol: Protocol,
    /// The address it comes from; `None` for the one that the kernel would choose.
    pub source: Option<IpAddr>,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Where the proxy sends a connection that the application opened: the endpoint behind a service's address.
    /// `None` for the same address.
    pub endpoint: Option<SocketAddr>,
    /// It belongs to no connection that could exist.
    pub invalid: bool,
}

/// What the walk has to know of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The interface of its network.
    pub interface: Interface,
    /// What the proxy runs as.
    pub proxy: Sender,
}

impl Pod {
    /// A pod as injection makes it: with TPROXY the proxy is root and known by its group alone.
    #[must_use]
    pub fn new(settings: &Settings, addresses: Vec<IpAddr>, interface: Interface) -> Self {
        let first = |ids: &[Owner]| ids.first().cloned().unwrap_or(Owner::from(1337));
        let user = match settings.interception {
            Interception::Redirect => first(&settings.proxy_users),
            Interception::Tproxy { .. } => Owner::from(0),
        };
        Self {
            addresses,
            interface,
            proxy: Sender {
                user,
                group: first(&settings.proxy_groups),
            },
        }
    }

    fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(|address| Family::of(address) == family)
    }
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule's table.
    pub table: Table,
    /// The rule's chain.
    pub chain: Chain,
    /// Its place in that chain, from 1, as `iptables -L --line-numbers` counts for the packet's family.
    pub position: usize,
    /// The rule.
    pub rule: Rule,
}

/// Where a packet ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the proxy's listener for connections that leave the pod.
    Outbound,
    /// At the proxy's listener for connections that enter the pod.
    Inbound {
        /// Its addresses are unchanged (TPROXY); else the listener asks the kernel for the original destination.
        transparent: bool,
    },
    /// At the agent's DNS server.
    Dns,
    /// At whatever listens there, in this pod.
    Local(SocketAddr),
    /// It leaves the pod for there.
    Leaves(SocketAddr),
    /// The kernel drops it.
    Dropped,
}

/// The way of one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Who sent it.
    pub origin: Origin,
    /// What it ran as; `None` for a packet from outside.
    pub sender: Option<Sender>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it came from, where that is known.
    pub source: Option<IpAddr>,
    /// Where it went.
    pub destination: SocketAddr,
    /// The mark that its sender put on it; 0 for none.
    pub mark: u32,
    /// The rules that matched, in order.
    pub steps: Vec<Step>,
    /// Owners of rules that could not be compared with the sender's, one being a name and the other a number.
    pub unclear: Vec<Owner>,
    /// Where it ended.
    pub end: End,
}

impl Leg {
    /// The rule that decided, as a place in [`Self::steps`]: the one that handed the packet over (or sent it to the
    /// chain whose only purpose that is), else the one that let it go. `None` where no rule said anything.
    #[must_use]
    pub fn deciding(&self) -> Option<usize> {
        let last = |wanted: &dyn Fn(&Step) -> bool| self.steps.iter().rposition(wanted);
        let took = last(&|step| {
            matches!(
                step.rule.target,
                Target::Redirect(_) | Target::Tproxy { .. } | Target::Drop
            )
        });
        let let_go = |step: &Step| step.rule.target == Target::Return;
        match took {
            Some(index) => {
                let hands_over = matches!(
                    self.steps[index].chain,
                    Chain::Redirect | Chain::InRedirect | Chain::Tproxy | Chain::Drop
                );
                Some(index.saturating_sub(usize::from(hands_over)))
            }
            // What loops is seen by mangle afterwards, which only repeats that it is not to be handed over.
            None => last(&|step| step.table == Table::Nat && let_go(step)).or(last(&let_go)),
        }
    }
}

/// Why a connection goes no further although the proxy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was going to a port of capture itself; passed on, it would come back for ever.
    CapturePort,
    /// It would go on in circles.
    Circle,
}

/// The way of a connection: a packet to the proxy, and those that the proxy then sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// One for each time that a packet is sent.
    pub legs: Vec<Leg>,
    /// Where the proxy ends it.
    pub stop: Option<Stop>,
}

impl Journey {
    /// Where each of the packets ended.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        self.legs.iter().map(|leg| leg.end).collect()
    }
}

/// The mark that the proxy puts on what it sends with a client's address (Envoy's original source filter, as Istio
/// configures it).
const ORIGINAL_SOURCE_MARK: u32 = 1337;
/// From outside to the own service through both listeners takes four; more is a circle.
const MOST_LEGS: usize = 6;

/// Follows a connection through the rules and, where it enters the proxy, out of it again.
///
/// `rules` are those of [`super::plan`] for `settings`; none where nothing was applied. The proxy is taken to pass
/// every connection on to where it was going ([`Question::endpoint`] for those of the application).
#[must_use]
pub fn explain(settings: &Settings, rules: &RuleSet, pod: &Pod, question: &Question) -> Journey {
    let mut journey = Journey {
        legs: Vec::new(),
        stop: None,
    };
    let mut next = Some(Sent::by(question, pod));
    while let Some(sent) = next {
        let leg = walk::walk(settings, rules, pod, &sent);
        next = passed_on(settings, question, &leg, sent.protocol);
        journey.legs.push(leg);
        let circle = journey.legs.len() == MOST_LEGS;
        journey.stop = match &next {
            Some(next) if is_capture_port(settings, next.destination.port()) => {
                Some(Stop::CapturePort)
            }
            Some(_) if circle => Some(Stop::Circle),
            _ => None,
        };
        if journey.stop.is_some() {
            break;
        }
    }
    journey
}

/// A packet as it is sent.
#[derive(Debug, Clone)]
struct Sent {
    origin: Origin,
    protocol: Protocol,
    source: Option<IpAddr>,
    destination: SocketAddr,
    mark: u32,
    invalid: bool,
}

impl Sent {
    fn by(question: &Question, pod: &Pod) -> Self {
        let destination = question.destination;
        let chosen = match (&question.origin, destination.ip().is_loopback()) {
            (Origin::Outside, _) => None,
            (_, true) => Some(loopback(destination.ip())),
            (_, false) => pod.address(Family::of(&destination.ip())),
        };
        Self {
            origin: question.origin.clone(),
            protocol: question.protocol,
            source: question.source.or(chosen),
            destination,
            mark: 0,
            invalid: question.invalid,
        }
    }
}

/// What the proxy sends for a connection that it got.
fn passed_on(
    settings: &Settings,
    question: &Question,
    leg: &Leg,
    protocol: Protocol,
) -> Option<Sent> {
    let sent = |source, destination, mark| Sent {
        origin: Origin::Proxy,
        protocol,
        source,
        destination,
        mark,
        invalid: false,
    };
    match leg.end {
        End::Outbound => {
            let destination = question.endpoint.unwrap_or(leg.destination);
            Some(sent(None, destination, 0))
        }
        End::Inbound { transparent: true } => {
            Some(sent(leg.source, leg.destination, ORIGINAL_SOURCE_MARK))
        }
        End::Inbound { transparent: false } => {
            // With TPROXY the proxy keeps a client's address, however the connection came to it.
            match settings.interception {
                Interception::Redirect => {
                    let source = inbound_source(leg.destination.ip());
                    Some(sent(Some(source), leg.destination, 0))
                }
                Interception::Tproxy { .. } => {
                    Some(sent(leg.source, leg.destination, ORIGINAL_SOURCE_MARK))
                }
            }
        }
        End::Dns | End::Local(_) | End::Leaves(_) | End::Dropped => None,
    }
}

fn is_capture_port(settings: &Settings, port: u16) -> bool {
    [settings.proxy_port, settings.inbound_port].contains(&port)
}

fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The address from which the proxy calls the application.
fn inbound_source(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::new(127, 0, 0, 6).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into(),
    }
}
