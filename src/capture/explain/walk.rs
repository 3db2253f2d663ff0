//! What the kernel does with one packet: hooks, tables, routes.

use std::net::{IpAddr, SocketAddr};

use super::packet::Packet;
use super::{End, Leg, Origin, Pod, Sent, Step, loopback};
use crate::capture::lists::{Interface, Owner};
use crate::capture::rules::{Chain, Family, Rule, RuleSet, Table, Target};
use crate::capture::settings::{Interception, Settings};

/// Jumps within jumps: far more than any plan has, far fewer than the stack.
const DEEPEST: usize = 16;

/// How a chain is left.
enum Left {
    /// At its end, or by a return: the calling chain goes on; at a hook the packet passes.
    Through,
    /// The packet passes this table.
    Accepted,
    Dropped,
    /// Its destination is now this local port.
    Redirected(u16),
    /// The proxy has it, unchanged.
    Handed,
}

struct Walk<'a> {
    settings: &'a Settings,
    rules: &'a RuleSet,
    pod: &'a Pod,
    family: Family,
    packet: Packet,
    steps: Vec<Step>,
    unclear: Vec<Owner>,
}

pub(super) fn walk(settings: &Settings, rules: &RuleSet, pod: &Pod, sent: &Sent) -> Leg {
    let sender = match &sent.origin {
        Origin::Application(sender) => Some(sender.clone()),
        Origin::Proxy => Some(pod.proxy.clone()),
        Origin::Outside => None,
    };
    let mut walk = Walk {
        settings,
        rules,
        pod,
        family: Family::of(&sent.destination.ip()),
        packet: Packet {
            protocol: sent.protocol,
            source: sent.source,
            destination: sent.destination,
            sender: sender.clone(),
            arrives_on: None,
            leaves_on: None,
            mark: sent.mark,
            connection_mark: 0,
            invalid: sent.invalid,
        },
        steps: Vec::new(),
        unclear: Vec::new(),
    };
    let end = match sent.origin {
        Origin::Outside => walk.arrives(),
        Origin::Application(_) | Origin::Proxy => walk.is_sent(),
    };
    // Where the kernel chooses the source, it does so by the destination.
    let source = walk.packet.source;
    Leg {
        origin: sent.origin.clone(),
        sender,
        protocol: sent.protocol,
        source,
        destination: sent.destination,
        mark: sent.mark,
        steps: walk.steps,
        unclear: walk.unclear,
        end,
    }
}

impl Walk<'_> {
    /// From the network: raw, mangle, then address translation, then the route. What mangle has handed over is
    /// translated all the same where a rule says so, which changes what the listener sees and not which one it is.
    fn arrives(&mut self) -> End {
        let mut handed = false;
        self.packet.arrives_on = Some(self.pod.interface.clone());
        for table in [Table::Raw, Table::Mangle, Table::Nat] {
            // What belongs to no connection is not translated.
            if table == Table::Nat && self.packet.invalid {
                continue;
            }
            match self.hook(table, Chain::Prerouting) {
                Some(End::Inbound { transparent: true }) => handed = true,
                Some(End::Outbound | End::Dns | End::Inbound { .. }) if handed => {
                    return End::Inbound { transparent: false };
                }
                Some(end) => return end,
                None => {}
            }
        }
        if handed {
            End::Inbound { transparent: true }
        } else {
            self.delivered_or_forwarded()
        }
    }

    /// From a process: routed, raw, mangle (routed again if its mark changed), address translation (routed again if
    /// its destination did). What is routed to the own pod then arrives on loopback.
    fn is_sent(&mut self) -> End {
        let original = self.packet.destination;
        self.route();
        for table in [Table::Raw, Table::Mangle, Table::Nat] {
            if let Some(end) = self.hook(table, Chain::Output) {
                match end {
                    End::Dropped => return end,
                    _ => return self.after_redirect(end, original),
                }
            }
            self.route();
        }
        if self.packet.leaves_on != Some(Interface::loopback()) {
            return End::Leaves(self.packet.destination);
        }
        self.loops().unwrap_or(End::Local(self.packet.destination))
    }

    /// On loopback a packet passes the hook of arriving packets as well. Its connection is known by then, so that
    /// zones and address translation are settled; mangle sees it.
    fn loops(&mut self) -> Option<End> {
        self.packet.arrives_on = self.packet.leaves_on.take();
        self.packet.sender = None;
        self.hook(Table::Mangle, Chain::Prerouting)
    }

    fn after_redirect(&mut self, end: End, original: SocketAddr) -> End {
        self.packet.destination = SocketAddr::new(loopback(original.ip()), original.port());
        self.route();
        self.loops().unwrap_or(end)
    }

    fn delivered_or_forwarded(&self) -> End {
        let destination = self.packet.destination;
        if self.is_local(destination.ip()) {
            End::Local(destination)
        } else {
            End::Leaves(destination)
        }
    }

    fn route(&mut self) {
        let local = self.is_local(self.packet.destination.ip());
        self.packet.leaves_on = Some(if local {
            Interface::loopback()
        } else {
            self.pod.interface.clone()
        });
    }

    /// The pod's own addresses and, with TPROXY, whatever carries the mark (the routing table that goes with it).
    fn is_local(&self, address: IpAddr) -> bool {
        let marked = match self.settings.interception {
            Interception::Tproxy { mark, .. } => self.packet.mark == mark && !self.rules.is_empty(),
            Interception::Redirect => false,
        };
        marked || self.pod.owns(address)
    }

    /// The end, where a table decides it.
    fn hook(&mut self, table: Table, hook: Chain) -> Option<End> {
        match self.chain(table, hook, 0) {
            Left::Through | Left::Accepted => None,
            Left::Dropped => Some(End::Dropped),
            Left::Handed => Some(End::Inbound { transparent: true }),
            Left::Redirected(port) if port == self.settings.proxy_port => Some(End::Outbound),
            Left::Redirected(port) if port == self.settings.inbound_port => {
                Some(End::Inbound { transparent: false })
            }
            Left::Redirected(_) => Some(End::Dns),
        }
    }

    fn chain(&mut self, table: Table, chain: Chain, depth: usize) -> Left {
        let rules = self.rules;
        let families = [self.family];
        let Some((_, found)) = rules.table(table, &families).find(|(c, _)| *c == chain) else {
            return Left::Through;
        };
        for (index, rule) in found.into_iter().enumerate() {
            if !self.packet.meets(&rule.matches, &mut self.unclear) {
                continue;
            }
            self.steps.push(Step {
                table,
                chain,
                position: index + 1,
                rule: rule.clone(),
            });
            if let Some(left) = self.obey(table, rule, depth) {
                return left;
            }
        }
        Left::Through
    }

    /// Does what a rule's target says; `None` where the next rule is looked at.
    fn obey(&mut self, table: Table, rule: &Rule, depth: usize) -> Option<Left> {
        match rule.target {
            Target::Jump(chain) if depth < DEEPEST => match self.chain(table, chain, depth + 1) {
                Left::Through => None,
                left => Some(left),
            },
            Target::Jump(_) => None,
            Target::Return => Some(Left::Through),
            Target::Accept => Some(Left::Accepted),
            Target::Drop => Some(Left::Dropped),
            Target::Redirect(port) => Some(Left::Redirected(port)),
            Target::Tproxy { mark, .. } => {
                self.packet.mark = mark;
                Some(Left::Handed)
            }
            Target::SetMark(mark) => {
                self.packet.mark = mark;
                None
            }
            Target::SaveMark => {
                self.packet.connection_mark = self.packet.mark;
                None
            }
            Target::RestoreMark => {
                self.packet.mark = self.packet.connection_mark;
                None
            }
            // Zones keep apart what shares addresses; they change no packet's way.
            Target::Zone(_) => None,
        }
    }
}
