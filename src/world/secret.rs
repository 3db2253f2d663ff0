//! Secrets, as far as gateways serve TLS with them: a digest is all that is kept.
//!
//! A Secret is looked at once, where it is decoded. Fingerprints, dates, names and what is wrong stay; keys and
//! certificates do not, so that nothing behind this place can log or show them. What is read follows Istio's credentials
//! controller (`pilot/pkg/credentials/kube`): the keys `cert` and `key`, else `tls.crt` and `tls.key`; `cacert`, else
//! `ca.crt`. Of a chain the first certificate counts, as in Go's `tls.X509KeyPair`.

mod access;
mod certificate;
mod pair;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::Value;

use crate::api::networking::DecodeError;

pub use access::{Readable, SecretAccess};
pub use certificate::{Certificate, EXPIRES_SOON, Validity};

/// Types of Secrets that Istio leaves unread, because clusters are full of them.
const UNREAD_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "helm.sh/release.v1"];

/// The field selector of Secrets that can be credentials.
pub const SECRET_FIELDS: &str =
    "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1";

/// Pairs of keys that hold a certificate chain and its private key; the first one that is filled counts.
const PAIRS: [(&str, &str); 2] = [("cert", "key"), ("tls.crt", "tls.key")];

/// Keys that hold the authorities of clients' certificates, likewise.
const AUTHORITIES: [&str; 2] = ["cacert", "ca.crt"];

/// What a Secret is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// The certificate that a server shows.
    pub server: Result<Certificate, SecretProblem>,
    /// Whether its private key is there and fits; nothing more where there is no certificate to fit.
    pub private_key: Result<(), SecretProblem>,
    /// The authorities for clients' certificates.
    pub authorities: Result<Vec<Certificate>, SecretProblem>,
}

/// Why a Secret is not good for something. Reads as the end of a sentence that begins with the Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    /// No control plane reads Secrets of this type.
    #[error("is of type {0}, which is never read for gateways; use kubernetes.io/tls")]
    Type(String),
    /// The keys that are needed are not there.
    #[error("has no {wanted}; it has {}", listed(found))]
    KeysMissing {
        /// What is looked for.
        wanted: &'static str,
        /// The keys that are there.
        found: Vec<String>,
    },
    /// They are there without content.
    #[error("has the {0}, but empty")]
    KeysEmpty(&'static str),
    /// A value is not base64.
    #[error("has a key {0} that is not base64")]
    Encoding(String),
    /// There is no block of PEM that is a certificate.
    #[error(
        "has no certificate in its key {0}: that must be PEM, beginning with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate(&'static str),
    /// The certificate is damaged.
    #[error("has a certificate in its key {0} that cannot be read as X.509")]
    BadCertificate(&'static str),
    /// There is no block of PEM that is a private key.
    #[error(
        "has no private key in its key {0}: that must be PEM, beginning with -----BEGIN PRIVATE KEY----- or the like"
    )]
    NoPrivateKey(&'static str),
    /// The private key needs a password.
    #[error("has a private key in its key {0} that is encrypted; gateways have no password for it")]
    EncryptedPrivateKey(&'static str),
    /// The private key is damaged, or of an algorithm that TLS servers don't take.
    #[error("has a private key in its key {0} that cannot be read as RSA, ECDSA or Ed25519")]
    BadPrivateKey(&'static str),
    /// Certificate and private key are of different pairs.
    #[error(
        "has in its key {key} a private key that does not belong to the certificate in {certificate}"
    )]
    Mismatch {
        /// The key with the certificate.
        certificate: &'static str,
        /// The key with the private key.
        key: &'static str,
    },
}

fn listed(keys: &[String]) -> String {
    match keys {
        [] => "no keys at all".to_owned(),
        keys => crate::api::text::enumeration(keys),
    }
}

impl SecretSpec {
    /// What the dates of all its certificates say at `now`; nothing without a moment.
    pub fn validity(&self, now: Option<Timestamp>) -> Vec<Validity> {
        let server = self.server.iter();
        let authorities = self.authorities.iter().flatten();
        now.into_iter()
            .flat_map(|now| {
                server
                    .clone()
                    .chain(authorities.clone())
                    .map(move |one| one.validity(now))
            })
            .collect()
    }

    /// Makes the digest.
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let secret_type = object["type"].as_str().unwrap_or_default();
        if UNREAD_TYPES.contains(&secret_type) {
            let problem = SecretProblem::Type(secret_type.to_owned());
            return Ok(SecretSpec {
                server: Err(problem.clone()),
                private_key: Ok(()),
                authorities: Err(problem),
            });
        }
        let data = Data::of(object);
        let (server, private_key) = server(&data).unwrap_or_else(|problem| (Err(problem), Ok(())));
        Ok(SecretSpec {
            server,
            private_key,
            authorities: authorities(&data),
        })
    }
}

/// The values of a Secret; lives only while the digest is made, and has no `Debug`.
struct Data {
    values: BTreeMap<String, Option<Vec<u8>>>,
}

impl Data {
    /// `data`, and `stringData` over it, which files may have. `None` stands for what is not base64.
    fn of(object: &Value) -> Data {
        let members = |name: &str| object[name].as_object().into_iter().flatten();
        let encoded = members("data").map(|(key, value)| {
            let bytes = serde_json::from_value::<Option<ByteString>>(value.clone()).ok();
            (
                key.clone(),
                bytes.map(|bytes| bytes.map_or_else(Vec::new, |bytes| bytes.0)),
            )
        });
        let plain = members("stringData").map(|(key, value)| {
            (
                key.clone(),
                value.as_str().map(|text| text.as_bytes().to_vec()),
            )
        });
        Data {
            values: encoded.chain(plain).collect(),
        }
    }

    /// The content of all of `keys`: `None` when one is absent or empty.
    fn filled<const N: usize>(&self, keys: [&str; N]) -> Result<Option<[&[u8]; N]>, SecretProblem> {
        let mut contents = [&[][..]; N];
        for (content, key) in contents.iter_mut().zip(keys) {
            match self.values.get(key) {
                Some(Some(value)) if !value.is_empty() => *content = value,
                Some(None) => return Err(SecretProblem::Encoding(key.to_owned())),
                _ => return Ok(None),
            }
        }
        Ok(Some(contents))
    }

    fn has<const N: usize>(&self, keys: [&str; N]) -> bool {
        keys.iter().all(|key| self.values.contains_key(*key))
    }

    fn missing(&self, wanted: &'static str, empty: bool) -> SecretProblem {
        if empty {
            return SecretProblem::KeysEmpty(wanted);
        }
        SecretProblem::KeysMissing {
            wanted,
            found: self.values.keys().cloned().collect(),
        }
    }
}

/// A certificate, and whether its private key fits.
type Pair = (
    Result<Certificate, SecretProblem>,
    Result<(), SecretProblem>,
);

fn server(data: &Data) -> Result<Pair, SecretProblem> {
    for (certificate_key, private_key) in PAIRS {
        if let Some([chain, key]) = data.filled([certificate_key, private_key])? {
            return Ok(pair::check((certificate_key, chain), (private_key, key)));
        }
    }
    let empty = PAIRS.iter().any(|(chain, key)| data.has([chain, key]));
    Err(data.missing("keys tls.crt and tls.key (or cert and key)", empty))
}

fn authorities(data: &Data) -> Result<Vec<Certificate>, SecretProblem> {
    for key in AUTHORITIES {
        if let Some([bundle]) = data.filled([key])? {
            return pair::authorities(key, bundle);
        }
    }
    let empty = AUTHORITIES.iter().any(|key| data.has([key]));
    Err(data.missing("key ca.crt (or cacert)", empty))
}

#[cfg(test)]
mod tests;
