//! Protocols of ports.

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Http2,
    HttpProxy,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Udp,
    Mongo,
    Redis,
    Mysql,
    Hbone,
}

/// The protocols by their names.
const NAMES: [(&str, Protocol); 13] = [
    ("HTTP", Protocol::Http),
    ("HTTP2", Protocol::Http2),
    ("HTTP_PROXY", Protocol::HttpProxy),
    ("GRPC", Protocol::Grpc),
    ("GRPC-WEB", Protocol::GrpcWeb),
    ("HTTPS", Protocol::Https),
    ("TLS", Protocol::Tls),
    ("TCP", Protocol::Tcp),
    ("UDP", Protocol::Udp),
    ("MONGO", Protocol::Mongo),
    ("REDIS", Protocol::Redis),
    ("MYSQL", Protocol::Mysql),
    ("HBONE", Protocol::Hbone),
];

impl Protocol {
    /// The protocol of this name, whatever its case.
    pub fn parse(text: &str) -> Option<Protocol> {
        NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, protocol)| *protocol)
    }

    /// What to say of a name that is none.
    pub fn unknown(text: &str) -> String {
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not a protocol: {}", known.join(", "))
    }

    /// HTTP that the proxy can read.
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Protocol::Http
                | Protocol::Http2
                | Protocol::HttpProxy
                | Protocol::Grpc
                | Protocol::GrpcWeb
        )
    }

    /// TLS from the client on.
    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }
}
