//! Makes roots and serving certificates. Pure but for the random numbers that keys are made of.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{
    material::{CERTIFICATE, KEY, MARKER, MARKER_VALUE, ROOT_KEY, ROOTS},
    plan::{BACKDATE, LEAF_LIFETIME, ROOT_LIFETIME},
};

/// A root, or a serving certificate, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// From the certificate library; names no secret.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The root's key or the root itself is missing from the Secret.
    #[error("key {0} of the Secret is missing or no text")]
    NoRoot(&'static str),
}

/// A serving certificate and a root of its own.
///
/// # Errors
/// When the names are no DNS names or addresses, or when no key can be made.
pub fn everything(
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<BTreeMap<String, ByteString>, IssueError> {
    let with_root = root(&BTreeMap::new(), "", now)?;
    leaf(&with_root, names, now)
}

/// `data` with a new root before those of `kept`, which stay trusted as long as they serve; the serving certificate
/// remains as it is.
///
/// # Errors
/// When no key can be made.
pub fn root(
    data: &BTreeMap<String, ByteString>,
    kept: &str,
    now: Timestamp,
) -> Result<BTreeMap<String, ByteString>, IssueError> {
    let mut params = params(Vec::new(), now, ROOT_LIFETIME)?;
    // The time in the name tells an old root from a new one, for people and for TLS libraries that match by name.
    let name = format!("Outrigger webhooks {}", now.strftime("%Y-%m-%dT%H:%M:%SZ"));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?;

    let mut data = data.clone();
    put(&mut data, ROOTS, root.pem() + kept);
    put(&mut data, ROOT_KEY, key.serialize_pem());
    Ok(data)
}

/// `data` with a serving certificate signed by its newest root.
///
/// # Errors
/// When `data` has no root with its key, when the names are no DNS names or addresses, or when no key can be made.
pub fn leaf(
    data: &BTreeMap<String, ByteString>,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<BTreeMap<String, ByteString>, IssueError> {
    let issuer = Issuer::from_ca_cert_pem(
        text(data, ROOTS)?,
        KeyPair::from_pem(text(data, ROOT_KEY)?)?,
    )?;
    let mut params = params(names.iter().cloned().collect(), now, LEAF_LIFETIME)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Outrigger webhooks");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, &issuer)?;

    let mut data = data.clone();
    put(&mut data, CERTIFICATE, leaf.pem());
    put(&mut data, KEY, key.serialize_pem());
    Ok(data)
}

/// A Secret of Outrigger's own with this content.
pub fn secret(namespace: &str, name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: kube::api::ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(
                MARKER.to_owned(),
                MARKER_VALUE.to_owned(),
            )])),
            ..Default::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Default::default()
    }
}

fn params(
    names: Vec<String>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(names)?;
    let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + (now + lifetime);
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

fn text<'a>(
    data: &'a BTreeMap<String, ByteString>,
    key: &'static str,
) -> Result<&'a str, IssueError> {
    data.get(key)
        .and_then(|ByteString(bytes)| std::str::from_utf8(bytes).ok())
        .ok_or(IssueError::NoRoot(key))
}

fn put(data: &mut BTreeMap<String, ByteString>, key: &str, text: String) {
    data.insert(key.to_owned(), ByteString(text.into_bytes()));
}
