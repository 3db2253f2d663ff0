//! What is kept of a certificate.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use x509_parser::prelude::{GeneralName, X509Certificate};

/// How long before its end a certificate is said to expire soon.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The public facts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER form, in hex.
    pub fingerprint: String,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The hosts that it is for: DNS names in lower case, then addresses.
    pub names: Vec<String>,
}

/// What a certificate's dates say at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It is not valid yet.
    NotYet,
    /// It is valid.
    Valid,
    /// It is valid, and ends within [`EXPIRES_SOON`].
    ExpiresSoon,
    /// It was valid.
    Expired,
}

impl Certificate {
    /// The facts of one that was parsed from `der`.
    pub(super) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Certificate {
        let mut fingerprint = String::new();
        for byte in digest(&SHA256, der).as_ref() {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let validity = certificate.validity();
        Certificate {
            fingerprint,
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            names: names(certificate),
        }
    }

    /// What its dates say at `now`.
    pub fn validity(&self, now: Timestamp) -> Validity {
        if now > self.not_after {
            Validity::Expired
        } else if now < self.not_before {
            Validity::NotYet
        } else if self.not_after.duration_since(now) < EXPIRES_SOON {
            Validity::ExpiresSoon
        } else {
            Validity::Valid
        }
    }

    /// Whole days until it ends; negative once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        const DAY: i64 = 24 * 3600;
        self.not_after.duration_since(now).as_secs().div_euclid(DAY)
    }

    /// Whether clients accept it for a host: a name of it is the host, or a wildcard for its first label. A wildcard
    /// host is covered by the same wildcard alone.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| {
            *name == host
                || name
                    .strip_prefix("*.")
                    .is_some_and(|covered| Some(covered) == parent && !host.starts_with("*."))
        })
    }
}

/// Years beyond 9999 are as good as the last one.
fn moment(seconds: i64) -> Timestamp {
    let limit = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(seconds).unwrap_or(limit)
}

/// The subject alternative names. The common name is none: clients have ignored it for years.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    let mut addresses: Vec<String> = Vec::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => {
                addresses.extend(address(bytes).map(|ip| ip.to_string()))
            }
            _ => {}
        }
    }
    names.append(&mut addresses);
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
