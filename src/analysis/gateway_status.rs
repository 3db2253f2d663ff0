//! What is known of a Gateway, server by server: for `outrigger gateway status`, and in a few words for its conditions.

use crate::api::networking::{GatewaySpec, Server};
use crate::api::text::enumeration;
use crate::gateway::Exposure;
use crate::world::ObjectKey;

use super::attachments::{self, Attached};
use super::credentials::{self, Credential};
use super::entrances::{self, Entrances};
use super::snapshot::Snapshot;
use super::view::View;

/// How many servers a condition names.
const NAMED: usize = 50;

/// A Gateway with everything that its servers need.
#[derive(Debug, Clone)]
pub struct GatewayStatus {
    /// The Gateway.
    pub key: ObjectKey,
    /// Where its Services are reached from outside.
    pub entrances: Entrances,
    /// Its servers, in their order.
    pub servers: Vec<ServerStatus>,
}

/// One server.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// What the Gateway says.
    pub server: Server,
    /// Where its port is reached.
    pub exposed: Vec<Exposure>,
    /// The Secrets that it needs.
    pub credentials: Vec<Credential>,
    /// The VirtualServices that are bound to it.
    pub attached: Attached,
}

impl GatewayStatus {
    /// Looks at a Gateway; `None` when it is not there or does not decode.
    pub fn of(snapshot: &Snapshot, key: &ObjectKey) -> Option<GatewayStatus> {
        let view = &snapshot.view();
        let spec = view.object::<GatewaySpec>(key)?.spec()?;
        let exposed = view.exposures(key);
        let credentials = credentials::of_gateway(view, key, spec);
        let attached = attachments::of_gateway(view, key, spec);
        let servers = spec.servers.iter().zip(attached).enumerate();
        let servers = servers.map(|(index, (server, attached))| {
            let number = server.port.as_ref().map_or(0, |port| port.number);
            let is_here = |at: &&Exposure| u32::from(at.port) == number;
            let is_its = |one: &&Credential| one.server == index;
            ServerStatus {
                server: server.clone(),
                exposed: exposed.iter().filter(is_here).cloned().collect(),
                credentials: credentials.iter().filter(is_its).cloned().collect(),
                attached,
            }
        });
        Some(GatewayStatus {
            key: key.clone(),
            entrances: Entrances::of(view, snapshot.world(), exposed),
            servers: servers.collect(),
        })
    }
}

/// What is known of a Gateway, for the message of a condition: the addresses, and what is bound to which server. The same
/// words for as long as that stays; `None` when it is not there or does not decode.
pub(super) fn summary(view: &View<'_>, key: &ObjectKey) -> Option<String> {
    let spec = view.object::<GatewaySpec>(key)?.spec()?;
    let mut sentences = entrances::sentences(view, view.exposures(key));
    let attached = attachments::of_gateway(view, key, spec);
    for (server, attached) in spec.servers.iter().zip(attached).take(NAMED) {
        sentences.push(format!("{}: {}.", title(server), attached.summary()));
    }
    match spec.servers.len().saturating_sub(NAMED) {
        0 => {}
        more => sentences.push(format!("And {more} more servers.")),
    }
    Some(sentences.join(" "))
}

/// The server's name, or its port's, with the port.
fn title(server: &Server) -> String {
    let number = server.port.as_ref().map_or(0, |port| port.number);
    format!("Server {} ({number})", name(server))
}

fn name(server: &Server) -> &str {
    let port_name = server.port.as_ref().map_or("", |port| &port.name);
    if server.name.is_empty() {
        port_name
    } else {
        &server.name
    }
}

impl ServerStatus {
    /// The server's name, or its port's.
    pub fn name(&self) -> &str {
        name(&self.server)
    }
}

impl Attached {
    /// `2 VirtualServices with 5 routes (shop/a, shop/b)`
    pub fn summary(&self) -> String {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            number => format!("{number} {what}s"),
        };
        if self.by.is_empty() {
            return "no VirtualService".to_owned();
        }
        format!(
            "{} with {} ({})",
            count(self.by.len(), "VirtualService"),
            count(self.routes(), "route"),
            enumeration(self.by.iter().map(|(key, _)| key.qualified_name()))
        )
    }
}
