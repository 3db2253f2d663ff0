//! TLS at a server's port, and TLS of a client.

use serde::{Deserialize, Serialize};

use super::message::{enums, messages};

messages! {
    /// TLS at a server's port.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "!(has(self.credentialName) && has(self.credentialNames))", "message": "only one of credentialName, credentialNames can be set"},
        {"rule": "!(has(self.credentialName) && has(self.tlsCertificates))", "message": "only one of credentialName, tlsCertificates can be set"},
        {"rule": "!(has(self.credentialNames) && has(self.tlsCertificates))", "message": "only one of credentialNames, tlsCertificates can be set"}
    ]))]
    pub struct ServerTLSSettings {
        /// Whether plain HTTP requests are answered with a redirect to HTTPS.
        pub https_redirect: bool,
        /// How TLS is done.
        pub mode: ServerTLSmode,
        /// File of the certificate chain.
        pub server_certificate: String,
        /// File of the private key.
        pub private_key: String,
        /// File of the CA certificates for clients' certificates.
        pub ca_certificates: String,
        /// File of the revocation list.
        pub ca_crl: String,
        /// Name of the Secret that holds key and certificate.
        pub credential_name: String,
        /// Names of the Secrets that hold key and certificate, one of RSA and one of ECDSA.
        #[schemars(length(min = 1, max = 2))]
        pub credential_names: Vec<String>,
        /// Name of the Secret or ConfigMap that holds the CA certificates for clients' certificates.
        pub ca_cert_credential_name: String,
        /// Files of keys and certificates, one of RSA and one of ECDSA.
        #[schemars(length(min = 1, max = 2))]
        pub tls_certificates: Vec<TLSCertificate>,
        /// Names of which a client's certificate must have one.
        pub subject_alt_names: Vec<String>,
        /// SHA-256 hashes of the public keys that clients may have, in base64.
        pub verify_certificate_spki: Vec<String>,
        /// SHA-256 hashes of the certificates that clients may have, in hex.
        pub verify_certificate_hash: Vec<String>,
        /// Oldest protocol version; TLS 1.2 when unset.
        pub min_protocol_version: TLSProtocol,
        /// Newest protocol version.
        pub max_protocol_version: TLSProtocol,
        /// Cipher suites in Envoy's names; Envoy's defaults when empty.
        pub cipher_suites: Vec<String>,
        /// Elliptic curves in Envoy's names; Envoy's defaults when empty.
        pub ecdh_curves: Vec<String>,
        /// Whether clients' certificates go unverified.
        #[schemars(extend("nullable" = true))]
        pub insecure_skip_verify: Option<bool>,
    }

    /// Files of one key and its certificate.
    pub struct TLSCertificate {
        /// File of the certificate chain.
        pub server_certificate: String,
        /// File of the private key.
        pub private_key: String,
        /// Reserved by Istio; has no effect.
        pub ca_certificates: String,
    }

    /// TLS of a client.
    pub struct ClientTLSSettings {
        /// How TLS is done.
        pub mode: ClientTLSmode,
        /// File of the client's certificate chain.
        pub client_certificate: String,
        /// File of the client's private key.
        pub private_key: String,
        /// File of the CA certificates for the server's certificate; when unset, it goes unverified.
        pub ca_certificates: String,
        /// File of the revocation list.
        pub ca_crl: String,
        /// Name of the Secret that holds all of these; read at gateways, and where a workload selector is set.
        pub credential_name: String,
        /// Names of which the server's certificate must have one.
        pub subject_alt_names: Vec<String>,
        /// Server name that the client sends (SNI).
        pub sni: String,
        /// Whether the server's certificate goes unverified.
        #[schemars(extend("nullable" = true))]
        pub insecure_skip_verify: Option<bool>,
    }
}

enums! {
    /// How TLS is done at a server's port.
    pub enum ServerTLSmode {
        /// Connections are passed through, chosen by SNI with the VirtualServices' `tls` routes.
        #[default]
        Passthrough,
        /// The server has a certificate.
        Simple,
        /// Server and client have certificates.
        Mutual,
        /// Connections are passed through to the service that the SNI names (between networks of one mesh).
        AutoPassthrough,
        /// As `MUTUAL`, with the certificates of the mesh.
        IstioMutual,
        /// As `MUTUAL`, but the client may come without a certificate.
        OptionalMutual,
    }

    /// How TLS is done by a client.
    pub enum ClientTLSmode {
        /// No TLS.
        #[default]
        Disable,
        /// The server has a certificate.
        Simple,
        /// Server and client have certificates.
        Mutual,
        /// As `MUTUAL`, with the certificates of the mesh.
        IstioMutual,
    }
}

/// Versions of TLS, in order.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub enum TLSProtocol {
    /// Envoy's choice.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// TLS 1.1
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// TLS 1.2
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
