use jiff::SignedDuration;
use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::*;
use crate::api::kind::Kind;
use crate::world::{ObjectKey, World};

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("testdata/", $name))
    };
}

/// A Secret as the API server gives it.
fn secret(data: &[(&str, &str)]) -> Value {
    let data: Map<String, Value> = data
        .iter()
        .map(|(key, text)| {
            let bytes = ByteString(text.as_bytes().to_vec());
            ((*key).to_owned(), serde_json::to_value(bytes).unwrap())
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
           "metadata": {"namespace": "edge", "name": "shop"}, "data": data})
}

fn digest(object: &Value) -> SecretSpec {
    SecretSpec::read(object).unwrap()
}

fn pair(certificate: &str, key: &str) -> Result<Certificate, SecretProblem> {
    let digest = digest(&secret(&[("tls.crt", certificate), ("tls.key", key)]));
    digest.private_key.and(digest.server)
}

#[test]
fn a_pair_is_accepted_in_every_form_that_a_private_key_has() {
    for (certificate, key) in [
        (pem!("rsa.crt"), pem!("rsa.key")),
        (pem!("rsa.crt"), pem!("rsa-pkcs1.key")),
        (pem!("ec.crt"), pem!("ec.key")),
        (pem!("ec.crt"), pem!("ec-sec1.key")),
        (pem!("ec.crt"), pem!("ec-nopublic.key")),
        (pem!("p521.crt"), pem!("p521.key")),
        (pem!("ed.crt"), pem!("ed.key")),
    ] {
        let certificate = pair(certificate, key).unwrap();
        assert_eq!(
            certificate.names,
            ["shop.example.com", "*.shop.example.com", "203.0.113.7"]
        );
        assert_eq!(certificate.fingerprint.len(), 64);
    }
}

#[test]
fn a_key_of_another_pair_is_refused_whatever_the_two_are() {
    let pairs = [
        (pem!("rsa.crt"), pem!("rsa.key")),
        (pem!("ec.crt"), pem!("ec.key")),
        (pem!("p521.crt"), pem!("p521.key")),
        (pem!("ed.crt"), pem!("ed.key")),
    ];
    let mismatch = Err(SecretProblem::Mismatch {
        certificate: "tls.crt",
        key: "tls.key",
    });
    for (i, (certificate, _)) in pairs.iter().enumerate() {
        for (j, (_, key)) in pairs.iter().enumerate() {
            assert_eq!(pair(certificate, key).is_ok(), i == j);
            if i != j {
                assert_eq!(pair(certificate, key), mismatch);
            }
        }
    }
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(pair(pem!("ec.crt"), &other), mismatch);
}

#[test]
fn text_around_the_blocks_and_the_rest_of_a_chain_do_not_matter() {
    let chain = format!(
        "subject=/O=Shop\n{}\nissuer: {}",
        pem!("ec.crt"),
        pem!("rsa.crt")
    );
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let key = format!("{parameters}{}", pem!("ec-sec1.key"));
    let certificate = pair(&chain, &key).unwrap();
    assert_eq!(Ok(certificate), pair(pem!("ec.crt"), pem!("ec.key")));
}

#[test]
fn blocks_that_cannot_be_decoded_are_not_said_to_be_missing() {
    let (certificate, key) = (pem!("ec.crt"), pem!("ec-sec1.key"));
    let header = "-----BEGIN EC PRIVATE KEY-----\n";
    let encrypted = key.replace(
        header,
        &format!("{header}Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"),
    );
    let damaged = |text: &str| text.replace('M', "?");
    assert_eq!(
        pair(certificate, &encrypted),
        Err(SecretProblem::EncryptedPrivateKey("tls.key"))
    );
    assert_eq!(
        pair(certificate, &damaged(key)),
        Err(SecretProblem::BadPrivateKey("tls.key"))
    );
    assert_eq!(
        pair(&damaged(certificate), key),
        Err(SecretProblem::BadCertificate("tls.crt"))
    );
}

#[test]
fn what_is_wrong_is_said_by_key_and_never_shows_a_value() {
    let (certificate, key) = (pem!("ec.crt"), pem!("ec.key"));
    let garbage = "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN PRIVATE KEY-----\nZ2FyYmFnZQ==\n-----END PRIVATE KEY-----\n";
    for (data, problem) in [
        (
            vec![],
            "has no keys tls.crt and tls.key (or cert and key); it has no keys at all",
        ),
        (
            vec![("password", "hunter2")],
            "has no keys tls.crt and tls.key (or cert and key); it has password",
        ),
        (
            vec![("tls.crt", certificate)],
            "has no keys tls.crt and tls.key (or cert and key); it has tls.crt",
        ),
        (
            vec![("tls.crt", ""), ("tls.key", "")],
            "has the keys tls.crt and tls.key (or cert and key), but empty",
        ),
        (
            vec![("tls.crt", "hunter2"), ("tls.key", key)],
            "has no certificate in its key tls.crt: that must be PEM, beginning with -----BEGIN CERTIFICATE-----",
        ),
        (
            vec![("cert", garbage), ("key", key)],
            "has a certificate in its key cert that cannot be read as X.509",
        ),
        (
            vec![("tls.crt", certificate), ("tls.key", certificate)],
            "has no private key in its key tls.key: that must be PEM, beginning with -----BEGIN PRIVATE KEY----- or the like",
        ),
        (
            vec![("tls.crt", certificate), ("tls.key", broken)],
            "has a private key in its key tls.key that cannot be read as RSA, ECDSA or Ed25519",
        ),
        (
            vec![
                ("tls.crt", certificate),
                ("tls.key", pem!("ec-encrypted.key")),
            ],
            "has a private key in its key tls.key that is encrypted; gateways have no password for it",
        ),
    ] {
        let digest = digest(&secret(&data));
        let found = digest
            .server
            .clone()
            .map(|_| ())
            .and(digest.private_key.clone());
        assert_eq!(found.unwrap_err().to_string(), problem);
        assert!(!format!("{digest:?}").contains("hunter2"));
    }
    let mut unencoded = secret(&[("tls.crt", certificate), ("tls.key", key)]);
    unencoded["data"]["tls.key"] = json!("hunter2!");
    let digest = digest(&unencoded);
    assert_eq!(
        digest.server.unwrap_err().to_string(),
        "has a key tls.key that is not base64"
    );
}

#[test]
fn generic_keys_come_first_and_authorities_are_found_under_both_names() {
    let both = secret(&[
        ("cert", pem!("rsa.crt")),
        ("key", pem!("rsa.key")),
        ("tls.crt", pem!("ec.crt")),
        ("tls.key", pem!("ec.key")),
    ]);
    assert_eq!(digest(&both).server, pair(pem!("rsa.crt"), pem!("rsa.key")));
    assert!(digest(&both).authorities.is_err());
    for key in ["cacert", "ca.crt"] {
        let bundle = format!("{}{}", pem!("ec.crt"), pem!("rsa.crt"));
        let authorities = digest(&secret(&[(key, &bundle)])).authorities.unwrap();
        assert_eq!(authorities.len(), 2);
    }
}

#[test]
fn files_may_have_the_values_in_plain_text() {
    let object = json!({"stringData": {"tls.crt": pem!("ec.crt"), "tls.key": pem!("ec.key")}});
    assert_eq!(digest(&object).server, pair(pem!("ec.crt"), pem!("ec.key")));
}

#[test]
fn secrets_of_types_that_no_control_plane_reads_are_none() {
    let mut object = secret(&[("tls.crt", pem!("ec.crt")), ("tls.key", pem!("ec.key"))]);
    object["type"] = json!("helm.sh/release.v1");
    assert!(matches!(
        digest(&object).server,
        Err(SecretProblem::Type(_))
    ));
    object["type"] = json!("Opaque");
    assert!(digest(&object).server.is_ok());
}

#[test]
fn hosts_are_covered_by_their_name_or_by_a_wildcard_for_one_label() {
    let certificate = pair(pem!("ec.crt"), pem!("ec.key")).unwrap();
    for host in [
        "shop.example.com",
        "SHOP.example.com",
        "a.shop.example.com",
        "*.shop.example.com",
    ] {
        assert!(certificate.covers(host), "{host}");
    }
    for host in [
        "example.com",
        "a.b.shop.example.com",
        "*.example.com",
        "*.a.shop.example.com",
        "*",
        "shop",
    ] {
        assert!(!certificate.covers(host), "{host}");
    }
}

#[test]
fn a_certificate_grows_old_with_the_moment_it_is_looked_at() {
    let certificate = pair(pem!("ec.crt"), pem!("ec.key")).unwrap();
    let (start, end) = (certificate.not_before, certificate.not_after);
    let second = SignedDuration::from_secs(1);
    for (now, validity) in [
        (start - second, Validity::NotYet),
        (start, Validity::Valid),
        (end - EXPIRES_SOON, Validity::Valid),
        (end - EXPIRES_SOON + second, Validity::ExpiresSoon),
        (end, Validity::ExpiresSoon),
        (end + second, Validity::Expired),
    ] {
        assert_eq!(certificate.validity(now), validity, "{now}");
    }
    assert_eq!(certificate.days_left(end - EXPIRES_SOON), 30);
    assert_eq!(certificate.days_left(end), 0);
    assert_eq!(certificate.days_left(end + second), -1);
}

#[test]
fn a_world_tells_which_secrets_aged_and_which_namespaces_opened() {
    let mut world = World::default();
    let object = secret(&[("tls.crt", pem!("ec.crt")), ("tls.key", pem!("ec.key"))]);
    world.apply(&object).unwrap();
    let end = pair(pem!("ec.crt"), pem!("ec.key")).unwrap().not_after;
    let young = world.clone().at(end - EXPIRES_SOON - EXPIRES_SOON);
    let same = world
        .clone()
        .at(end - EXPIRES_SOON - SignedDuration::from_hours(1));
    let old = world.clone().at(end - SignedDuration::from_hours(1));
    let key = ObjectKey::new(Kind::Secret, "edge", "shop");
    assert_eq!(same.secrets_seen_anew(&young).0, []);
    assert_eq!(old.secrets_seen_anew(&same).0, [key]);

    let mut access = SecretAccess::In(imbl::OrdMap::new());
    world.set_secret_access(access.clone());
    let closed = world.clone();
    access.note("edge".into(), true);
    world.set_secret_access(access);
    assert_eq!(&*world.secrets_seen_anew(&closed).1[0], "edge");
    assert_eq!(world.secret_access().of("edge"), Readable::Yes);
    assert_eq!(world.secret_access().of("shop"), Readable::NotAsked);
}

#[test]
fn no_annotation_of_a_secret_is_kept() {
    let mut object = secret(&[]);
    object["metadata"]["annotations"] = json!({"backup": "hunter2"});
    let mut world = World::default();
    world.apply(&object).unwrap();
    let key = ObjectKey::new(Kind::Secret, "edge", "shop");
    assert!(world.metadata(&key).unwrap().annotations.is_empty());
}
