//! What is known of a Gateway, server by server: for `outrigger gateway status`, and in a few words for its conditions.

use crate::api::networking::{GatewaySpec, Server};
use crate::api::text::enumeration;
use crate::gateway::Exposure;
use crate::world::ObjectKey;

use super::attachments::{self, Attached};
use super::credentials::{self, Credential};
use super::entrances::Entrances;
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
        let view = View::new(snapshot.world(), snapshot.model(), snapshot.ports());
        Self::seen(&view, key)
    }

    pub(super) fn seen(view: &View<'_>, key: &ObjectKey) -> Option<GatewayStatus> {
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
            entrances: Entrances::of(view, exposed),
            servers: servers.collect(),
        })
    }

    /// For the message of a condition: the addresses, and what is bound to which server. The same words for as long as
    /// that stays.
    pub(super) fn summary(&self) -> String {
        let mut sentences = self.entrances.sentences();
        for server in self.servers.iter().take(NAMED) {
            sentences.push(format!(
                "{}: {}.",
                server.title(),
                server.attached.summary()
            ));
        }
        match self.servers.len().saturating_sub(NAMED) {
            0 => {}
            more => sentences.push(format!("And {more} more servers.")),
        }
        sentences.join(" ")
    }
}

impl ServerStatus {
    /// The server's name, or its port's, with the port.
    fn title(&self) -> String {
        let port = self.server.port.as_ref();
        let number = port.map_or(0, |port| port.number);
        format!("Server {} ({number})", self.name())
    }

    /// The server's name, or its port's.
    pub fn name(&self) -> &str {
        let port_name = self.server.port.as_ref().map_or("", |port| &port.name);
        if self.server.name.is_empty() {
            port_name
        } else {
            &self.server.name
        }
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
