//! Where the application of this pod is reached, past the capture of traffic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::client::Endpoint;

/// Connections from these addresses are not captured: they ask the application, not Envoy (Istio's
/// `UpstreamLocalAddress`).
const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6));

/// The application's addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Application {
    pod: Option<IpAddr>,
    /// Older versions probed the loopback address; where inbound traffic is sent there too, today's do.
    probed_on_loopback: bool,
}

impl Application {
    /// Reads `INSTANCE_IP` and `REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION` through `env`. Without a usable address,
    /// loopback is the only place to look.
    pub(super) fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            pod: env("INSTANCE_IP").and_then(|address| address.parse().ok()),
            probed_on_loopback: env("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION").as_deref()
                == Some("true"),
        }
    }

    /// Where probes go: where the kubelet would have sent them, the pod's address.
    pub(super) fn probed(self, port: u16) -> Endpoint {
        match self.pod {
            Some(_) if self.probed_on_loopback => self.on_loopback(port).from(self.source()),
            Some(pod) => Endpoint::new(pod.to_string(), port).from(self.source()),
            None => self.on_loopback(port),
        }
    }

    /// The loopback address of the pod's family.
    pub(super) fn on_loopback(self, port: u16) -> Endpoint {
        if self.is_ipv6() {
            Endpoint::new("::1", port)
        } else {
            Endpoint::local(port)
        }
    }

    fn source(self) -> IpAddr {
        if self.is_ipv6() { SOURCE_V6 } else { SOURCE_V4 }
    }

    fn is_ipv6(self) -> bool {
        self.pod.is_some_and(|pod| pod.is_ipv6())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(address: &str, legacy: bool) -> Application {
        Application::read(&|name| match name {
            "INSTANCE_IP" => Some(address.to_owned()),
            _ => legacy.then(|| "true".to_owned()),
        })
    }

    #[test]
    fn probes_go_to_the_pod_and_where_asked_to_its_loopback_address_of_the_same_family() {
        let place = |address, legacy| application(address, legacy).probed(80).to_string();
        assert_eq!(place("10.1.2.3", false), "10.1.2.3:80");
        assert_eq!(place("fd00::7", false), "[fd00::7]:80");
        assert_eq!(place("10.1.2.3", true), "127.0.0.1:80");
        assert_eq!(place("fd00::7", true), "[::1]:80");
        assert_eq!(place("no address", false), "127.0.0.1:80");
    }
}
