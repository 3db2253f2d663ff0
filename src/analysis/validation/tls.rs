//! TLS settings of clients and of servers.

use std::collections::BTreeSet;

use crate::api::networking::{
    ClientTLSSettings, ClientTLSmode, ServerTLSSettings, ServerTLSmode, TLSProtocol,
};

use super::report::Field;

/// Cipher suites that Envoy knows, in its names.
const CIPHER_SUITES: [&str; 22] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
    "DES-CBC3-SHA",
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
];

pub fn client(at: &Field<'_>, settings: &ClientTLSSettings) {
    let uses_files = matches!(settings.mode, ClientTLSmode::Simple | ClientTLSmode::Mutual);
    if settings.insecure_skip_verify == Some(true) && uses_files {
        let by_secret =
            settings.mode == ClientTLSmode::Simple && !settings.credential_name.is_empty();
        for (name, set) in [
            ("caCertificates", !settings.ca_certificates.is_empty()),
            ("credentialName", by_secret),
            ("subjectAltNames", !settings.subject_alt_names.is_empty()),
        ] {
            if set {
                at.member(name)
                    .invalid("has no use while insecureSkipVerify is true");
            }
        }
    }
    if uses_files && !settings.credential_name.is_empty() {
        for (name, text) in [
            ("clientCertificate", &settings.client_certificate),
            ("privateKey", &settings.private_key),
            ("caCertificates", &settings.ca_certificates),
            ("caCrl", &settings.ca_crl),
        ] {
            if !text.is_empty() {
                at.member(name)
                    .invalid("cannot stand beside credentialName, which holds it");
            }
        }
    } else if settings.mode == ClientTLSmode::Mutual {
        for (name, text) in [
            ("clientCertificate", &settings.client_certificate),
            ("privateKey", &settings.private_key),
        ] {
            if text.is_empty() {
                at.member(name)
                    .invalid("is needed for mode MUTUAL, unless credentialName holds it");
            }
        }
    }
}

pub fn server(at: &Field<'_>, settings: &ServerTLSSettings) {
    protocol_versions(at, settings);
    cipher_suites(&at.member("cipherSuites"), &settings.cipher_suites);
    match settings.mode {
        ServerTLSmode::Passthrough | ServerTLSmode::AutoPassthrough => passthrough(at, settings),
        ServerTLSmode::IstioMutual => istio_mutual(at, settings),
        ServerTLSmode::Simple | ServerTLSmode::Mutual | ServerTLSmode::OptionalMutual => {
            terminated(at, settings)
        }
    }
}

/// The members that hold a server's key and certificate, and whether each is set.
fn certificate_sources(settings: &ServerTLSSettings) -> [(&'static str, bool); 4] {
    [
        ("credentialName", !settings.credential_name.is_empty()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("serverCertificate", !settings.server_certificate.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
    ]
}

fn passthrough(at: &Field<'_>, settings: &ServerTLSSettings) {
    let others = [
        ("caCertificates", !settings.ca_certificates.is_empty()),
        (
            "caCertCredentialName",
            !settings.ca_cert_credential_name.is_empty(),
        ),
        ("caCrl", !settings.ca_crl.is_empty()),
        ("subjectAltNames", !settings.subject_alt_names.is_empty()),
    ];
    for (name, set) in certificate_sources(settings).into_iter().chain(others) {
        if set {
            at.member(name)
                .questionable("has no use where connections are passed through");
        }
    }
}

fn istio_mutual(at: &Field<'_>, settings: &ServerTLSSettings) {
    for (name, set) in [
        ("serverCertificate", !settings.server_certificate.is_empty()),
        ("privateKey", !settings.private_key.is_empty()),
        ("caCertificates", !settings.ca_certificates.is_empty()),
        ("caCrl", !settings.ca_crl.is_empty()),
        ("credentialName", !settings.credential_name.is_empty()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
    ] {
        if set {
            at.member(name).invalid(
                "cannot stand beside mode ISTIO_MUTUAL, which uses the certificates of the mesh",
            );
        }
    }
}

/// Modes in which the server has a certificate of its own.
fn terminated(at: &Field<'_>, settings: &ServerTLSSettings) {
    let sources: Vec<&str> = certificate_sources(settings)
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| name)
        .collect();
    if sources.len() > 1 {
        at.invalid(format!("only one of {} can be set", sources.join(", ")));
    }
    for (name, count) in [
        ("credentialNames", settings.credential_names.len()),
        ("tlsCertificates", settings.tls_certificates.len()),
    ] {
        if count > 2 {
            at.member(name)
                .invalid("has at most two entries, one for RSA and one for ECDSA");
        }
    }
    let by_secret = !settings.credential_name.is_empty() || !settings.credential_names.is_empty();
    if by_secret {
        return;
    }
    let verifies_clients = settings.mode != ServerTLSmode::Simple;
    if !verifies_clients && !settings.ca_crl.is_empty() {
        at.member("caCrl")
            .invalid("is about clients' certificates, which mode SIMPLE does not ask for");
    }
    if settings.tls_certificates.is_empty() {
        certificate(at, &settings.server_certificate, &settings.private_key);
    }
    at.each("tlsCertificates", &settings.tls_certificates, |at, pair| {
        certificate(at, &pair.server_certificate, &pair.private_key)
    });
    if verifies_clients
        && settings.ca_certificates.is_empty()
        && settings.ca_cert_credential_name.is_empty()
    {
        at.member("caCertificates")
            .invalid("is needed to verify clients' certificates, unless a Secret holds it");
    }
}

fn certificate(at: &Field<'_>, certificate: &str, key: &str) {
    for (name, text) in [("serverCertificate", certificate), ("privateKey", key)] {
        if text.is_empty() {
            at.member(name)
                .invalid("is needed, unless credentialName names a Secret that holds it");
        }
    }
}

fn protocol_versions(at: &Field<'_>, settings: &ServerTLSSettings) {
    let (least, most) = (settings.min_protocol_version, settings.max_protocol_version);
    if least != TLSProtocol::Auto && most != TLSProtocol::Auto && least > most {
        at.member("minProtocolVersion")
            .questionable("is newer than maxProtocolVersion");
    }
}

fn cipher_suites(at: &Field<'_>, suites: &[String]) {
    let mut seen = BTreeSet::new();
    for (index, suite) in suites.iter().enumerate() {
        let at = at.index(index);
        if !seen.insert(suite) {
            at.questionable(format!("{suite:?} is there twice"));
        } else if !CIPHER_SUITES.contains(&suite.as_str()) && suite != "ALL" {
            at.questionable(format!(
                "{suite:?} is not a cipher suite that Envoy knows; it is ignored"
            ));
        }
    }
}
