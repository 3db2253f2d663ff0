//! The certificates of a cluster, in files: one authority, short-lived as the cluster itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority that writes what it signs as `NAME.crt` and `NAME.key` into its directory.
#[derive(Debug)]
pub(super) struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority; its certificate and key are `ca.crt` and `ca.key`.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "outrigger-e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        write(directory, "ca.crt", &certificate.pem())?;
        write(directory, "ca.key", &key.serialize_pem())?;
        Ok(Self {
            directory: directory.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// A serving certificate for these DNS names and IP addresses.
    pub fn server(&self, name: &str, subjects: &[&str]) -> Result<()> {
        let subjects = subjects
            .iter()
            .map(|&subject| subject.to_owned())
            .collect::<Vec<_>>();
        let mut params = CertificateParams::new(subjects)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, params)
    }

    /// A client certificate for a Kubernetes user, in at most one group.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)
    }

    /// A pair of keys without a certificate: `NAME.key` and `NAME.pub`.
    pub fn key_pair(&self, name: &str) -> Result<()> {
        let key = KeyPair::generate()?;
        write(
            &self.directory,
            &format!("{name}.key"),
            &key.serialize_pem(),
        )?;
        write(
            &self.directory,
            &format!("{name}.pub"),
            &key.public_key_pem(),
        )
    }

    fn sign(&self, name: &str, params: CertificateParams) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&self.directory, &format!("{name}.crt"), &certificate.pem())?;
        write(
            &self.directory,
            &format!("{name}.key"),
            &key.serialize_pem(),
        )
    }
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}
