//! A packet on its way, and whether a match accepts it.

use std::net::{IpAddr, SocketAddr};

use super::Sender;
use crate::capture::lists::{Interface, Owner};
use crate::capture::rules::{Direction, Match, OwnerKind, Protocol, State};

/// A packet, as the matches see it at one hook.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub protocol: Protocol,
    pub source: Option<IpAddr>,
    pub destination: SocketAddr,
    /// Only where it was sent from this pod, and only before it has left the process: at the output hook.
    pub sender: Option<Sender>,
    pub arrives_on: Option<Interface>,
    pub leaves_on: Option<Interface>,
    pub mark: u32,
    pub connection_mark: u32,
    pub invalid: bool,
}

impl Packet {
    /// Whether all matches of a rule accept it. Owners that can't be compared are noted, and taken to differ.
    pub(super) fn meets(&self, matches: &[Match], unclear: &mut Vec<Owner>) -> bool {
        matches.iter().all(|m| self.meets_one(m, unclear))
    }

    fn meets_one(&self, m: &Match, unclear: &mut Vec<Owner>) -> bool {
        match m {
            Match::Protocol(protocol) => self.protocol == *protocol,
            Match::In(name) => self.arrives_on.as_ref() == Some(name),
            Match::Out(name) => self.leaves_on.as_ref() == Some(name),
            Match::Address(direction, cidr, negated) => {
                let address = match direction {
                    Direction::Source => self.source,
                    Direction::Destination => Some(self.destination.ip()),
                };
                address.is_some_and(|address| cidr.contains(address)) != *negated
            }
            Match::Port(direction, ports, negated) => {
                // The source port is any; rules name one only to tell answers of DNS apart.
                let listed = match direction {
                    Direction::Source => false,
                    Direction::Destination => ports.contains(&self.destination.port()),
                };
                listed != *negated
            }
            // A packet without a socket has no owner, and neither form of the match accepts it.
            Match::Owner(kind, id, negated) => self.sender.as_ref().is_some_and(|sender| {
                let own = match kind {
                    OwnerKind::User => &sender.user,
                    OwnerKind::Group => &sender.group,
                };
                if own.is_number() != id.is_number() && !unclear.contains(id) {
                    unclear.push(id.clone());
                }
                (own == id) != *negated
            }),
            Match::Mark(mark, negated) => (self.mark == *mark) != *negated,
            Match::ConnectionMark(mark) => self.connection_mark == *mark,
            // It is the first of its connection.
            Match::State(states) => states.contains(&State::Invalid) && self.invalid,
        }
    }
}
