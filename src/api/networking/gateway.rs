//! Gateway: ports and hosts that a proxy at the edge listens for.

use std::collections::BTreeMap;

use super::message::{Spec, messages};
use super::tls::ServerTLSSettings;
use crate::api::kind::Kind;

messages! {
    /// Ports and hosts that proxies at the edge listen for; VirtualServices are bound to them.
    pub struct GatewaySpec {
        /// The servers.
        pub servers: Vec<Server>,
        /// Labels of the pods that the servers run in, in any namespace unless the control plane is told otherwise.
        pub selector: BTreeMap<String, String>,
    }

    /// A port with its hosts and TLS settings.
    #[schemars(extend("required" = ["port", "hosts"]))]
    pub struct Server {
        /// The port.
        pub port: Option<Port>,
        /// Address or Unix domain socket to listen at; all addresses when empty.
        pub bind: String,
        /// Hosts, as `namespace/host`: the namespace (`*` for any, `.` for the Gateway's own; any when left out) is that
        /// of the VirtualServices that may bind to them.
        pub hosts: Vec<String>,
        /// TLS settings.
        pub tls: Option<ServerTLSSettings>,
        /// Reserved by Istio; has no effect.
        pub default_endpoint: String,
        /// Name of the server; unique among the Gateway's.
        pub name: String,
    }

    /// A port of a gateway's server.
    #[schemars(extend("required" = ["number", "protocol", "name"]))]
    pub struct Port {
        /// Its number.
        pub number: u32,
        /// `HTTP`, `HTTPS`, `HTTP2`, `GRPC`, `GRPC-WEB`, `MONGO`, `MYSQL`, `REDIS`, `TCP` or `TLS`.
        pub protocol: String,
        /// Its name.
        pub name: String,
        /// Deprecated by Istio; has no effect.
        pub target_port: u32,
    }
}

impl Spec for GatewaySpec {
    const KIND: Kind = Kind::Gateway;
}
