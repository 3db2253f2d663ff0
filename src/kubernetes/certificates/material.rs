//! What the Secret of the webhook's certificates holds, read and checked.

use std::{collections::BTreeMap, collections::BTreeSet, net::IpAddr, sync::Arc};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

/// Key of the serving certificate and what follows it in its chain, PEM.
pub const CERTIFICATE: &str = "tls.crt";
/// Key of the serving certificate's private key, PEM.
pub const KEY: &str = "tls.key";
/// Key of the roots that clients shall trust, newest first, PEM: what the webhook configurations' `caBundle` holds.
pub const ROOTS: &str = "ca.crt";
/// Key of the newest root's private key, PEM. Only in Secrets that Outrigger made.
pub const ROOT_KEY: &str = "ca.key";

/// Label of Secrets that Outrigger made and renews. A Secret without it is somebody else's and only read.
pub const MARKER: &str = "outrigger.dev/webhook-certs";
/// Value of [`MARKER`].
pub const MARKER_VALUE: &str = "generated";

/// What is wrong with the Secret.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A key is missing or empty.
    #[error("key {0} is missing")]
    Missing(&'static str),
    /// A key holds something else than it should.
    #[error("key {key}: {why}")]
    Unreadable {
        /// The Secret's key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

fn unreadable(key: &'static str, why: impl ToString) -> MaterialError {
    MaterialError::Unreadable {
        key,
        why: why.to_string(),
    }
}

/// The part of a certificate that decides when it is renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// First second of its validity, since 1970.
    pub from: i64,
    /// Last second of its validity, since 1970.
    pub until: i64,
    /// DNS names and IP addresses that it is for.
    pub names: BTreeSet<String>,
    /// Identifies its own key.
    pub key_id: Option<Vec<u8>>,
    /// Identifies the key that signed it.
    pub signer_id: Option<Vec<u8>>,
}

/// The Secret's content.
#[derive(Debug, Clone)]
pub struct Material {
    /// What is served.
    pub certified: Arc<CertifiedKey>,
    /// About the serving certificate.
    pub leaf: Facts,
    /// The roots to trust, newest first, PEM.
    pub bundle: String,
    /// About each root, in the bundle's order.
    pub roots: Vec<Facts>,
}

impl Material {
    /// Reads a Secret.
    ///
    /// # Errors
    /// When a key is missing or holds something else, or when certificate and key don't belong together.
    pub fn read(secret: &Secret) -> Result<Self, MaterialError> {
        let none = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&none);
        let chain = certificates(CERTIFICATE, get(data, CERTIFICATE)?)?;
        let key = PrivateKeyDer::from_pem_slice(get(data, KEY)?)
            .map_err(|error| unreadable(KEY, error))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|error| unreadable(KEY, error))?;
        let leaf = match chain.first() {
            Some(leaf) => facts(leaf).map_err(|why| unreadable(CERTIFICATE, why))?,
            None => return Err(unreadable(CERTIFICATE, "there is no certificate in it")),
        };
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(unreadable(KEY, "it is not the key of tls.crt")),
        }
        let bundle = get(data, ROOTS)?;
        let roots = certificates(ROOTS, bundle)?
            .iter()
            .map(facts)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| unreadable(ROOTS, why))?;
        if roots.is_empty() {
            return Err(unreadable(ROOTS, "there is no certificate in it"));
        }
        let bundle = std::str::from_utf8(bundle).map_err(|error| unreadable(ROOTS, error))?;
        Ok(Self {
            certified: Arc::new(certified),
            leaf,
            bundle: bundle.to_owned(),
            roots,
        })
    }
}

/// Whether Outrigger made this Secret, and so may change it.
pub fn is_generated(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.get(MARKER).is_some_and(|v| v == MARKER_VALUE))
}

fn get<'a>(
    data: &'a BTreeMap<String, ByteString>,
    key: &'static str,
) -> Result<&'a [u8], MaterialError> {
    match data.get(key) {
        Some(ByteString(bytes)) if !bytes.is_empty() => Ok(bytes),
        _ => Err(MaterialError::Missing(key)),
    }
}

/// The certificates in a PEM text.
fn certificates(
    key: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(key, error))
}

fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut facts = Facts {
        from: certificate.validity().not_before.timestamp(),
        until: certificate.validity().not_after.timestamp(),
        names: BTreeSet::new(),
        key_id: None,
        signer_id: None,
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                facts.names = names.general_names.iter().filter_map(name).collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => facts.key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.signer_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
