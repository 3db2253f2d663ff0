//! What keeps a Gateway's servers from being reached.

use std::sync::Arc;

use super::protocol::Protocol;
use crate::api::annotations::{ALLOW_GATEWAYS_FROM, MANAGE_PORTS};
use crate::api::text::enumeration;
use crate::world::ObjectKey;

/// Why a server is not reachable: the reason of the condition `PortsExposed=False`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The server's port or protocol is none.
    InvalidPort,
    /// The Gateway selects no pods on purpose: it has no selector, which stands for every gateway there is.
    NoSelector,
    /// Two protocols are asked for on one port.
    Conflict,
    /// The only port of the Service has no name, and then the API server refuses a second one.
    ServicePortUnnamed,
    /// The Service is in another namespace and doesn't allow it.
    NotAllowed,
    /// The Service opted out.
    NotManaged,
    /// The Service has no address of its own to add ports to.
    ServiceUnsupported,
    /// No Service selects the pods.
    NoService,
    /// No pod has the labels of the selector, so there is nothing to find a Service by.
    NoPods,
}

impl Reason {
    /// In CamelCase, as conditions have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidPort => "InvalidPort",
            Reason::NoSelector => "NoSelector",
            Reason::Conflict => "Conflict",
            Reason::ServicePortUnnamed => "ServicePortUnnamed",
            Reason::NotAllowed => "NotAllowed",
            Reason::NotManaged => "NotManaged",
            Reason::ServiceUnsupported => "ServiceUnsupported",
            Reason::NoService => "NoService",
            Reason::NoPods => "NoPods",
        }
    }
}

/// One thing that keeps a server from being reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Why.
    pub reason: Reason,
    /// The field of the Gateway that asks for it.
    pub path: String,
    /// What is wrong and what would be right, for people.
    pub text: String,
}

/// A server of a Gateway as conflicts name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asker {
    pub gateway: ObjectKey,
    pub port: u16,
    pub protocol: Protocol,
}

/// What one Service has against a server port, the most telling first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// These ask for the same target port with protocols that don't fit; the first ones show it.
    Conflict { target: u16, askers: Arc<[Asker]> },
    /// See [`Reason::ServicePortUnnamed`]: the number of the unnamed port.
    ServicePortUnnamed { port: u16 },
    /// See [`Reason::NotAllowed`]: what the Service's annotation says now.
    NotAllowed { allowed: Option<String> },
    /// See [`Reason::NotManaged`].
    NotManaged,
    /// It is headless.
    Headless,
}

impl Refusal {
    /// The finding about `port` of a Gateway in `namespace`, at `path`.
    pub(super) fn finding(
        &self,
        service: &ObjectKey,
        namespace: &str,
        port: u16,
        path: String,
    ) -> Finding {
        let name = service.qualified_name();
        let (reason, text) = match self {
            Refusal::Conflict { target, askers } => (
                Reason::Conflict,
                format!(
                    "port {port} (pods listen on {target}) is asked for with protocols that no listener can serve together: {}; \
                     Service {name} was left as it is",
                    enumeration(askers.iter().map(|asker| format!(
                        "{} {} by Gateway {}",
                        asker.protocol,
                        asker.port,
                        asker.gateway.qualified_name()
                    )))
                ),
            ),
            Refusal::ServicePortUnnamed { port: unnamed } => (
                Reason::ServicePortUnnamed,
                format!(
                    "port {port} cannot be added to Service {name}, because its port {unnamed} has no name; name it: \
                     kubectl -n {} patch service {} --type=json \
                     -p '[{{\"op\":\"add\",\"path\":\"/spec/ports/0/name\",\"value\":\"port-{unnamed}\"}}]'",
                    service.namespace, service.name
                ),
            ),
            Refusal::NotAllowed { allowed } => {
                let (list, overwrite) = match allowed.as_deref().map(str::trim) {
                    None => (namespace.to_owned(), ""),
                    Some("") => (namespace.to_owned(), " --overwrite"),
                    Some(others) => (format!("{others},{namespace}"), " --overwrite"),
                };
                (
                    Reason::NotAllowed,
                    format!(
                        "port {port} is not on Service {name}, which is in another namespace and does not allow Gateways of \
                         {namespace} to add ports; its owner can allow it: kubectl -n {} annotate service {} \
                         {ALLOW_GATEWAYS_FROM}='{list}'{overwrite}",
                        service.namespace, service.name
                    ),
                )
            }
            Refusal::NotManaged => (
                Reason::NotManaged,
                format!(
                    "port {port} is not on Service {name}, whose annotation {MANAGE_PORTS} says that its ports are managed \
                     by hand"
                ),
            ),
            Refusal::Headless => (
                Reason::ServiceUnsupported,
                format!(
                    "port {port} cannot be exposed by Service {name}, which is headless: its clients reach the pods' own ports"
                ),
            ),
        };
        Finding { reason, path, text }
    }
}
