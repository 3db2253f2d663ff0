//! Sidecar: what the proxy of a workload reaches and accepts.

use super::connection_pool::ConnectionPoolSettings;
use super::message::{Spec, enums, messages};
use super::string_match::{Destination, WorkloadSelector};
use super::tls::ServerTLSSettings;
use crate::api::kind::Kind;

messages! {
    /// What the proxies of some workloads reach and accept.
    pub struct SidecarSpec {
        /// Workloads of this namespace that it is for; all when unset. In the mesh's root namespace it is the default for
        /// all namespaces.
        pub workload_selector: Option<WorkloadSelector>,
        /// What the proxy accepts; derived from the workload's services when empty.
        pub ingress: Vec<IstioIngressListener>,
        /// What the proxy reaches; all services of the mesh when empty.
        pub egress: Vec<IstioEgressListener>,
        /// Limits on connections to the workload.
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        /// What happens to traffic for destinations that no service names.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// A port that the proxy accepts connections at.
    #[schemars(extend("required" = ["port"]))]
    pub struct IstioIngressListener {
        /// The port.
        pub port: Option<SidecarPort>,
        /// Address that the proxy listens at; the workload's when empty.
        pub bind: String,
        /// How traffic gets to the proxy.
        pub capture_mode: CaptureMode,
        /// Where the traffic goes: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT`, `[::]:PORT` or `unix:///path`.
        pub default_endpoint: String,
        /// TLS settings.
        pub tls: Option<ServerTLSSettings>,
        /// Limits on connections to this port.
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// Services that the proxy reaches.
    #[schemars(extend("required" = ["hosts"]))]
    pub struct IstioEgressListener {
        /// The port that clients use; any when unset.
        pub port: Option<SidecarPort>,
        /// Address or Unix domain socket that the proxy listens at.
        pub bind: String,
        /// How traffic gets to the proxy.
        pub capture_mode: CaptureMode,
        /// Hosts as `namespace/host`, either may be `*`; namespace `.` is this one, `~` is none.
        pub hosts: Vec<String>,
    }

    /// What happens to traffic for destinations that no service names.
    pub struct OutboundTrafficPolicy {
        /// Dropped or passed on.
        pub mode: OutboundTrafficPolicyMode,
        /// Where it goes instead.
        pub egress_proxy: Option<Destination>,
    }

    /// A port of a sidecar's listener.
    pub struct SidecarPort {
        /// Its number; 0 at an egress listener that is a Unix domain socket.
        pub number: u32,
        /// Its protocol, as at a Gateway.
        pub protocol: String,
        /// Its name.
        pub name: String,
        /// Has no effect.
        pub target_port: u32,
    }
}

enums! {
    /// How traffic gets to a proxy's listener.
    pub enum CaptureMode {
        /// As the workload's environment says.
        #[default]
        Default,
        /// By redirection of connections.
        Iptables,
        /// Clients connect to the listener themselves.
        None,
    }

    /// What happens to traffic for unknown destinations.
    pub enum OutboundTrafficPolicyMode {
        /// Dropped.
        #[default]
        RegistryOnly,
        /// Passed on to where it was going.
        AllowAny,
    }
}

impl Spec for SidecarSpec {
    const KIND: Kind = Kind::Sidecar;
}
