//! Certificates and private keys in PEM, and whether they belong together.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag};
use x509_parser::pem::Pem;
use x509_parser::prelude::{X509Certificate, parse_x509_certificate};

use super::{Certificate, Pair, SecretProblem};

// Object identifiers of the algorithms and curves of public keys (RFC 3279, RFC 5480, RFC 8410).
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// A named value: the key of the Secret, and what it holds.
type Named<'a> = (&'static str, &'a [u8]);

/// The first certificate of a chain, and whether a private key is its own.
pub(super) fn check(chain: Named<'_>, key: Named<'_>) -> Pair {
    let private_key = PrivateKey::of_pem(key);
    let (name, chain) = chain;
    let Some(der) = certificates(chain).next() else {
        let certificate = Err(no_certificate((name, chain)));
        return (certificate, private_key.map(|_| ()));
    };
    let Ok((_, certificate)) = parse_x509_certificate(&der) else {
        let certificate = Err(SecretProblem::BadCertificate(name));
        return (certificate, private_key.map(|_| ()));
    };
    let fits = private_key.and_then(|found| {
        let own = PrivateKey::read(&found).is_some_and(|key| key.belongs_to(&certificate));
        own.then_some(()).ok_or(SecretProblem::Mismatch {
            certificate: name,
            key: key.0,
        })
    });
    (Ok(Certificate::of(&der, &certificate)), fits)
}

/// All certificates of a bundle; at least one.
pub(super) fn authorities(
    key: &'static str,
    bundle: &[u8],
) -> Result<Vec<Certificate>, SecretProblem> {
    let found: Vec<Certificate> = certificates(bundle)
        .map(|der| match parse_x509_certificate(&der) {
            Ok((_, certificate)) => Ok(Certificate::of(&der, &certificate)),
            Err(_) => Err(SecretProblem::BadCertificate(key)),
        })
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(no_certificate((key, bundle)));
    }
    Ok(found)
}

/// What is wrong where no block of PEM is a certificate: none begins, or what begins cannot be decoded.
fn no_certificate((key, text): Named<'_>) -> SecretProblem {
    if begins(text, "CERTIFICATE") {
        SecretProblem::BadCertificate(key)
    } else {
        SecretProblem::NoCertificate(key)
    }
}

/// The same for a private key. Those that OpenSSL once encrypted say so in a header, which makes no base64.
fn no_private_key((key, text): Named<'_>) -> SecretProblem {
    let is_header = |line: &[u8]| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
    if lines(text).any(is_header) {
        SecretProblem::EncryptedPrivateKey(key)
    } else if begins(text, "PRIVATE KEY") {
        SecretProblem::BadPrivateKey(key)
    } else {
        SecretProblem::NoPrivateKey(key)
    }
}

/// Whether a block begins whose label ends like this.
fn begins(text: &[u8], label: &str) -> bool {
    let end = format!("{label}-----");
    lines(text).any(|line| line.starts_with(b"-----BEGIN ") && line.ends_with(end.as_bytes()))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// The blocks of PEM; what is damaged or stands between them is passed over, as Go does.
fn blocks(text: &[u8]) -> impl Iterator<Item = Pem> {
    Pem::iter_from_buffer(text).filter_map(Result::ok)
}

fn certificates(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    blocks(text)
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.contents)
}

/// What is needed of a private key to compare it with a certificate.
enum PrivateKey<'a> {
    /// The modulus.
    Rsa(&'a [u8]),
    /// The scalar, and the public point if it is beside it.
    Ec(&'a [u8], Option<&'a [u8]>),
    /// The seed.
    Ed25519(&'a [u8]),
}

impl<'a> PrivateKey<'a> {
    /// The DER form of the first private key in PEM, if it can be read.
    fn of_pem((name, text): Named<'_>) -> Result<Vec<u8>, SecretProblem> {
        let block = blocks(text)
            .find(|block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY"))
            .ok_or_else(|| no_private_key((name, text)))?;
        if block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(SecretProblem::EncryptedPrivateKey(name));
        }
        match PrivateKey::read(&block.contents) {
            Some(_) => Ok(block.contents),
            None => Err(SecretProblem::BadPrivateKey(name)),
        }
    }

    /// Reads PKCS#1, PKCS#8 or SEC 1, whichever it is: labels are not to be trusted.
    fn read(der: &'a [u8]) -> Option<Self> {
        let parts = sequence(der)?;
        match &*tags(&parts) {
            // RSAPrivateKey: version, modulus, publicExponent, privateExponent, …
            [Tag::Integer, Tag::Integer, Tag::Integer, Tag::Integer, ..] => {
                Some(Self::Rsa(parts[1].data))
            }
            // PrivateKeyInfo: version, algorithm, key.
            [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => {
                let algorithm = elements(parts[1].data)?;
                Self::of_algorithm(&oid(algorithm.first()?)?, parts[2].data)
            }
            // ECPrivateKey: version, privateKey, [0] parameters, [1] publicKey.
            [Tag::Integer, Tag::OctetString, ..] => Some(Self::Ec(parts[1].data, point(&parts))),
            _ => None,
        }
    }

    fn of_algorithm(algorithm: &str, key: &'a [u8]) -> Option<Self> {
        match algorithm {
            RSA | EC => Self::read(key),
            ED25519 => {
                let (_, seed) = Any::from_der(key).ok()?;
                (seed.header.tag() == Tag::OctetString).then_some(Self::Ed25519(seed.data))
            }
            _ => None,
        }
    }

    fn belongs_to(&self, certificate: &X509Certificate<'_>) -> bool {
        let public = certificate.public_key();
        let algorithm = public.algorithm.algorithm.to_id_string();
        let bits = public.subject_public_key.data.as_ref();
        match self {
            Self::Rsa(modulus) => {
                algorithm == RSA
                    && sequence(bits)
                        .and_then(|parts| Some(parts.first()?.data))
                        .is_some_and(|theirs| significant(theirs) == significant(modulus))
            }
            Self::Ec(scalar, point) => {
                let curve = public.algorithm.parameters.as_ref().and_then(oid);
                algorithm == EC && is_ec_pair(curve.as_deref(), scalar, *point, bits)
            }
            Self::Ed25519(seed) => {
                algorithm == ED25519 && Ed25519KeyPair::from_seed_and_public_key(seed, bits).is_ok()
            }
        }
    }
}

/// Whether a scalar is that of a public point. On curves that cannot be computed here, the point beside the scalar
/// must do, and without one nothing is known against the pair.
fn is_ec_pair(curve: Option<&str>, scalar: &[u8], beside: Option<&[u8]>, public: &[u8]) -> bool {
    let (algorithm, length) = match curve {
        Some(P256) => (&ECDSA_P256_SHA256_ASN1_SIGNING, 32),
        Some(P384) => (&ECDSA_P384_SHA384_ASN1_SIGNING, 48),
        _ => return beside.is_none_or(|point| point == public),
    };
    let digits = significant(scalar);
    if digits.len() > length {
        return false;
    }
    let mut padded = vec![0; length - digits.len()];
    padded.extend_from_slice(digits);
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &padded, public, &SystemRandom::new())
        .is_ok()
}

/// The public point of an ECPrivateKey: a bit string in the member with the context tag 1.
fn point<'a>(parts: &[Any<'a>]) -> Option<&'a [u8]> {
    let member = parts.iter().skip(2).find(|part| {
        part.header.class() == Class::ContextSpecific && part.header.tag() == Tag(1)
    })?;
    let (_, bits) = Any::from_der(member.data).ok()?;
    // The first byte counts unused bits.
    bits.data.get(1..)
}

/// The members of a SEQUENCE.
fn sequence(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (_, outer) = Any::from_der(der).ok()?;
    (outer.header.tag() == Tag::Sequence).then(|| elements(outer.data))?
}

fn elements(mut der: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut parts = Vec::new();
    while !der.is_empty() {
        let (rest, part) = Any::from_der(der).ok()?;
        parts.push(part);
        der = rest;
    }
    Some(parts)
}

fn tags(parts: &[Any<'_>]) -> Vec<Tag> {
    parts.iter().map(|part| part.header.tag()).collect()
}

fn oid(any: &Any<'_>) -> Option<String> {
    Oid::try_from(any).ok().map(|oid| oid.to_id_string())
}

/// A number without leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
