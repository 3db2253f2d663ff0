//! What keeps a Gateway's servers from being reached.

use std::sync::Arc;

use super::claims::Claim;
use super::node_ports;
use super::protocol::Protocol;
use crate::api::annotations::{ALLOW_GATEWAYS_FROM, MANAGE_PORTS};
use crate::api::text::enumeration;
use crate::world::{ObjectKey, PortTrouble, PortTroubleKind};

macro_rules! reasons {
    ($( $(#[$doc:meta])* $reason:ident; )*) => {
        /// Why a server is not reachable as it should be: the reason of the condition `PortsExposed`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $( $(#[$doc])* $reason, )*
        }

        impl Reason {
            /// In CamelCase, as conditions have it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Reason::$reason => stringify!($reason), )*
                }
            }
        }
    };
}

reasons! {
    /// The server's port or protocol is none.
    InvalidPort;
    /// The Gateway selects no pods on purpose: it has no selector, which stands for every gateway there is.
    NoSelector;
    /// Two protocols are asked for on one port.
    Conflict;
    /// The only port of the Service has no name, and then the API server refuses a second one.
    ServicePortUnnamed;
    /// The Service is in another namespace and doesn't allow it.
    NotAllowed;
    /// The Service opted out.
    NotManaged;
    /// The Service has no address of its own to add ports to.
    ServiceUnsupported;
    /// No Service selects the pods.
    NoService;
    /// No pod has the labels of the selector, so there is nothing to find a Service by.
    NoPods;
    /// The Gateway opted out.
    OptedOut;
    /// The annotation that asks for node ports can't be read, or names a port that no server has.
    NodePortInvalid;
    /// Gateways ask for different node ports for one port, or for one node port for different ports.
    NodePortConflict;
    /// The node port belongs to another port.
    NodePortTaken;
    /// The node port is not in the API server's range.
    NodePortOutOfRange;
    /// The port can't have the node port: its Service has none, or the port is somebody else's.
    NodePortUnsupported;
    /// The API server has no node port left.
    NodePortsExhausted;
    /// Somebody else owns a field of our port.
    FieldConflict;
    /// Somebody keeps removing our port.
    Overwritten;
    /// The control plane may not change the Service.
    Forbidden;
    /// The API server refuses the Service as it would be.
    Refused;
}

impl From<PortTroubleKind> for Reason {
    fn from(kind: PortTroubleKind) -> Self {
        match kind {
            PortTroubleKind::NodePortTaken => Reason::NodePortTaken,
            PortTroubleKind::NodePortOutOfRange => Reason::NodePortOutOfRange,
            PortTroubleKind::NodePortsExhausted => Reason::NodePortsExhausted,
            PortTroubleKind::FieldConflict => Reason::FieldConflict,
            PortTroubleKind::Overwritten => Reason::Overwritten,
            PortTroubleKind::Forbidden => Reason::Forbidden,
            PortTroubleKind::Refused => Reason::Refused,
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
    /// It stands for a name elsewhere.
    ExternalName,
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
                // A command is meant to be pasted: nothing but names of namespaces gets into it.
                let is_name = |item: &&str| {
                    let mut bytes = item.bytes();
                    !item.is_empty()
                        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                };
                let others = allowed.iter().flat_map(|list| list.split(','));
                let others = others.map(str::trim).filter(is_name);
                let list: Vec<&str> = others.chain([namespace]).collect();
                let list = list.join(",");
                let overwrite = if allowed.is_some() {
                    " --overwrite"
                } else {
                    ""
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
            Refusal::ExternalName => (
                Reason::ServiceUnsupported,
                format!(
                    "port {port} cannot be exposed by Service {name}, which is of type ExternalName: it is an alias of a name \
                     elsewhere, and no traffic for it reaches the pods"
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

/// What a Gateway is told of a trouble with its port; `None` where that is another Gateway's. `node_port` is the one
/// that this Gateway asks for.
pub(super) fn of_trouble(
    trouble: &PortTrouble,
    service: &ObjectKey,
    claim: &Claim,
    node_port: Option<u16>,
) -> Option<Finding> {
    let (port, name, why) = (claim.port, service.qualified_name(), &trouble.text);
    let mut path = claim.path.clone();
    let text = match trouble.kind {
        PortTroubleKind::NodePortTaken | PortTroubleKind::NodePortOutOfRange => {
            path = node_ports::path();
            format!(
                "port {port} is on Service {name}, but not on node port {}: {why}; ask for another one, or for none and take \
                 what the API server gives",
                node_port?
            )
        }
        PortTroubleKind::NodePortsExhausted => format!(
            "port {port} can't be added to Service {name}, because the API server has no node port left to give ({why}); free \
             some, widen its --service-node-port-range, or make the Service ClusterIP"
        ),
        PortTroubleKind::FieldConflict => format!(
            "port {port} of Service {name} is not as the Gateway needs it: {why}; let that be undone, or annotate the Service \
             with {MANAGE_PORTS}=false to leave its ports to people"
        ),
        PortTroubleKind::Overwritten => format!(
            "port {port} keeps disappearing from Service {name}: {why}; it is added again ever more rarely. Let that use \
             server-side apply, which touches only what its manifest has, or annotate the Service with \
             {MANAGE_PORTS}=false and put the port into the manifest"
        ),
        PortTroubleKind::Forbidden => format!(
            "port {port} can't be added to Service {name}, because the control plane may not change it: {why}"
        ),
        PortTroubleKind::Refused => {
            format!(
                "port {port} can't be added to Service {name}, because the API server refuses it: {why}"
            )
        }
    };
    Some(Finding {
        reason: trouble.kind.into(),
        path,
        text,
    })
}
