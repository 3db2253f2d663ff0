//! The protocols that a Gateway's server may speak.

use std::fmt;

/// Protocols that one listener can serve side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// HTTP without TLS, of any version.
    Http,
    /// TLS, told apart by SNI.
    Tls,
    /// A protocol that tells nothing before the server speaks or routing is decided: only with itself.
    Opaque,
}

/// A row of the table of protocols.
#[derive(Debug)]
struct Row {
    /// As `spec.servers[].port.protocol` spells it (in any case).
    istio: &'static str,
    /// As names and `appProtocol` of Service ports spell it.
    service: &'static str,
    family: Family,
}

/// Istio's protocols for servers (`Port.protocol`). In a family, the first one stands for all of them.
const PROTOCOLS: [Row; 10] = [
    Row::new("HTTP", "http", Family::Http),
    Row::new("HTTP2", "http2", Family::Http),
    Row::new("GRPC", "grpc", Family::Http),
    Row::new("GRPC-WEB", "grpc-web", Family::Http),
    Row::new("TLS", "tls", Family::Tls),
    Row::new("HTTPS", "https", Family::Tls),
    Row::new("TCP", "tcp", Family::Opaque),
    Row::new("MONGO", "mongo", Family::Opaque),
    Row::new("MYSQL", "mysql", Family::Opaque),
    Row::new("REDIS", "redis", Family::Opaque),
];

impl Row {
    const fn new(istio: &'static str, service: &'static str, family: Family) -> Row {
        Row {
            istio,
            service,
            family,
        }
    }
}

/// A protocol of a server; orders as in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Protocol(usize);

impl Protocol {
    /// Reads `spec.servers[].port.protocol`.
    pub(super) fn parse(text: &str) -> Option<Protocol> {
        PROTOCOLS
            .iter()
            .position(|row| row.istio.eq_ignore_ascii_case(text))
            .map(Protocol)
    }

    /// All that [`Protocol::parse`] knows, for messages.
    pub(super) fn all() -> String {
        PROTOCOLS.map(|row| row.istio).join(", ")
    }

    fn row(self) -> &'static Row {
        &PROTOCOLS[self.0]
    }

    /// In names and `appProtocol` of Service ports.
    pub(super) fn service_name(self) -> &'static str {
        self.row().service
    }

    /// Whether one listener can serve both.
    pub(super) fn fits(self, other: Protocol) -> bool {
        self == other
            || (self.row().family == other.row().family && self.row().family != Family::Opaque)
    }
}

/// As a Gateway spells it.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().istio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_share_a_port_within_their_family_only() {
        let protocol = |text| Protocol::parse(text).unwrap();
        assert!(protocol("HTTP").fits(protocol("grpc-web")));
        assert!(protocol("HTTPS").fits(protocol("TLS")));
        assert!(protocol("TCP").fits(protocol("tcp")));
        assert!(!protocol("HTTP").fits(protocol("HTTPS")));
        assert!(!protocol("TCP").fits(protocol("MONGO")));
        assert_eq!(Protocol::parse("UDP"), None);
        assert_eq!(Protocol::parse(""), None);
    }
}
