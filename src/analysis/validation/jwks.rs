//! Sets of keys that sign tokens (RFC 7517).

use std::fmt;

use serde_json::{Map, Value};

/// A key, as far as it is looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    index: usize,
    /// Its type: `RSA`, `EC`, `OKP`, `oct`.
    kind: String,
    /// Whether it can sign, and not only verify.
    pub is_secret: bool,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} ({})", self.index, self.kind)
    }
}

/// The types of keys, their members, and the one that must stay secret.
const TYPES: [(&str, &[&str], &str); 4] = [
    ("RSA", &["n", "e"], "d"),
    ("EC", &["crv", "x", "y"], "d"),
    ("OKP", &["crv", "x"], "d"),
    ("oct", &["k"], "k"),
];

/// Reads a set of keys, or one key.
///
/// # Errors
/// What is wrong, in words.
pub fn read(text: &str) -> Result<Vec<Key>, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(members) = &value else {
        return Err("is not a set of keys, which is a JSON object with the member keys".to_owned());
    };
    match members.get("keys") {
        Some(Value::Array(keys)) => keys
            .iter()
            .enumerate()
            .map(|(index, key)| match key {
                Value::Object(members) => one(index, members),
                _ => Err(format!("key {index} is not a JSON object")),
            })
            .collect(),
        Some(_) => Err("keys is not a list".to_owned()),
        None => one(0, members).map(|key| vec![key]),
    }
}

fn one(index: usize, members: &Map<String, Value>) -> Result<Key, String> {
    let kind = members
        .get("kty")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some((_, needed, secret)) = TYPES.iter().find(|(name, ..)| *name == kind) else {
        return Err(format!(
            "key {index} has kty {kind:?}, which is none of RSA, EC, OKP, oct"
        ));
    };
    for name in *needed {
        let value = members.get(*name).and_then(Value::as_str);
        let is_number = |text: &str| *name == "crv" || is_base64url(text);
        if !value.is_some_and(|text| !text.is_empty() && is_number(text)) {
            return Err(format!("key {index} ({kind}) needs {name}, in base64url"));
        }
    }
    Ok(Key {
        index,
        kind: kind.to_owned(),
        is_secret: members.contains_key(*secret),
    })
}

fn is_base64url(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/');
    text.len() % 4 != 1 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_read_and_secret_ones_are_told() {
        let secret = |text: &str| read(text).map(|keys| keys.iter().any(|key| key.is_secret));
        assert_eq!(
            secret(r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#),
            Ok(false)
        );
        assert_eq!(
            secret(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}"#),
            Ok(true)
        );
        assert_eq!(
            secret(r#"{"keys": [{"kty": "oct", "k": "AQAB"}]}"#),
            Ok(true)
        );
        assert_eq!(secret(r#"{"keys": []}"#), Ok(false));
        for wrong in [
            "foo",
            "[]",
            "{}",
            r#"{"keys": 1}"#,
            r#"{"keys": [1]}"#,
            r#"{"keys": [{"kty": "DSA"}]}"#,
            r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AQAB"}]}"#,
            r#"{"keys": [{"kty": "oct", "k": "A B"}]}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = read(&text);
        }
    }
}
