//! What a rule set needs besides tables of rules: addresses, routing rules and routes.

use super::Host;
use super::rules::Family;
use super::settings::{Interception, Ports, Settings};

/// Something that `ip` sets up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// The address from which the proxy calls the application over IPv6, on the loopback interface. For IPv4 all of
    /// 127.0.0.0/8 is there already.
    InboundSource,
    /// Packets with this mark take this routing table.
    Rule {
        /// The family.
        family: Family,
        /// The mark.
        mark: u32,
        /// The table.
        table: u32,
    },
    /// All addresses are local in this routing table, so that packets of TPROXY reach a listener here.
    LocalRoute {
        /// The family.
        family: Family,
        /// The table.
        table: u32,
    },
}

impl Routing {
    /// What `ip` is asked, to have it or to have it no more.
    #[must_use]
    pub fn arguments(self, wanted: bool) -> Vec<String> {
        let (family, what) = match self {
            Self::InboundSource => {
                let verb = if wanted { "replace" } else { "del" };
                (Family::V6, format!("addr {verb} ::6/128 dev lo"))
            }
            Self::Rule {
                family,
                mark,
                table,
            } => {
                let verb = if wanted { "add" } else { "del" };
                (family, format!("rule {verb} fwmark {mark} lookup {table}"))
            }
            Self::LocalRoute { family, table } => {
                let verb = if wanted { "replace" } else { "del" };
                (
                    family,
                    format!("route {verb} local default dev lo table {table}"),
                )
            }
        };
        let mut words = vec![family.ip_flag().to_owned()];
        words.extend(what.split(' ').map(str::to_owned));
        words
    }

    /// The same as one line, for people.
    #[must_use]
    pub fn command(self, wanted: bool) -> String {
        format!("ip {}", self.arguments(wanted).join(" "))
    }
}

/// Everything that these settings need besides rules, in the order in which it is set up.
#[must_use]
pub fn routing(settings: &Settings, host: &Host) -> Vec<Routing> {
    let mut wanted = Vec::new();
    if host.ipv6 {
        wanted.push(Routing::InboundSource);
    }
    if let Interception::Tproxy { mark, table } = settings.interception
        && settings.inbound != Ports::Only(Vec::new())
    {
        for family in host.families() {
            wanted.push(Routing::Rule {
                family: *family,
                mark,
                table,
            });
            wanted.push(Routing::LocalRoute {
                family: *family,
                table,
            });
        }
    }
    wanted
}
