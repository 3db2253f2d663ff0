//! Names of hosts, and addresses.

use std::net::IpAddr;

/// Why a text is no name or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// More than DNS allows.
    #[error("{0:?} is longer than the 255 characters of a DNS name")]
    TooLong(String),
    /// A label that DNS does not know.
    #[error(
        "{name:?} is not a DNS name: {label:?} is not made of at most 63 letters, digits and inner '-'"
    )]
    Label {
        /// The name.
        name: String,
        /// Its faulty part.
        label: String,
    },
    /// A number as top-level domain: an address with something missing.
    #[error("{0:?} is not a DNS name: the last part must not be a number")]
    NumericTop(String),
    /// A `*` that is not the first label's first character.
    #[error("{0:?} has a '*' in another place than its beginning")]
    Wildcard(String),
    /// Neither an address nor a block of them.
    #[error("{0:?} is neither an IP address nor a CIDR block such as 10.0.0.0/8")]
    Subnet(String),
}

/// A single DNS label of letters (of either case, as Istio has it), digits and inner hyphens.
///
/// # Errors
/// It is empty, too long, or has other characters.
pub fn dns_label(text: &str) -> Result<(), HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if is_label(text) {
        Ok(())
    } else {
        Err(HostError::Label {
            name: text.to_owned(),
            label: text.to_owned(),
        })
    }
}

/// A DNS name, short or full; it may end with a dot.
///
/// # Errors
/// A part of it is not a DNS label, or its top-level domain is a number.
pub fn dns_name(text: &str) -> Result<(), HostError> {
    check_length(text)?;
    labels(text, text)
}

/// A DNS name, or one whose first label is or begins with a wildcard: `*`, `*.com`, `*-api.example.com`.
///
/// # Errors
/// As [`dns_name`], or the wildcard stands in another place.
pub fn wildcard_name(text: &str) -> Result<(), HostError> {
    check_length(text)?;
    let Some(rest) = text.strip_prefix('*') else {
        return if text.contains('*') {
            Err(HostError::Wildcard(text.to_owned()))
        } else {
            labels(text, text)
        };
    };
    if rest.contains('*') {
        return Err(HostError::Wildcard(text.to_owned()));
    }
    let (first, others) = rest
        .split_once('.')
        .map_or((rest, None), |(first, others)| (first, Some(others)));
    let first = first.strip_prefix('-').unwrap_or(first);
    if !first.is_empty() && !is_label(first) {
        return Err(HostError::Label {
            name: text.to_owned(),
            label: first.to_owned(),
        });
    }
    others.map_or(Ok(()), |others| labels(others, text))
}

/// An IP address, or a block of them: `10.0.0.0/8`.
///
/// # Errors
/// It is neither.
pub fn ip_or_subnet(text: &str) -> Result<(), HostError> {
    let error = || HostError::Subnet(text.to_owned());
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(address, length)| (address, Some(length)));
    let bits: u8 = match address.parse::<IpAddr>().map_err(|_| error())? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    match length {
        None => Ok(()),
        Some(length)
            if !length.starts_with('+')
                && length.parse::<u8>().is_ok_and(|length| length <= bits) =>
        {
            Ok(())
        }
        Some(_) => Err(error()),
    }
}

fn check_length(text: &str) -> Result<(), HostError> {
    match text.len() {
        0 => Err(HostError::Empty),
        1..=255 => Ok(()),
        _ => Err(HostError::TooLong(text.to_owned())),
    }
}

/// Checks the labels of `text`, a part of the name `name`.
fn labels(text: &str, name: &str) -> Result<(), HostError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if let Some(label) = text.split('.').find(|label| !is_label(label)) {
        return Err(HostError::Label {
            name: name.to_owned(),
            label: label.to_owned(),
        });
    }
    match text.rsplit('.').next() {
        Some(top) if top.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(HostError::NumericTop(name.to_owned()))
        }
        _ => Ok(()),
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends
            .iter()
            .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_made_of_labels() {
        for name in [
            "reviews",
            "reviews.default.svc.cluster.local",
            "example.com.",
            "a-b.c1",
            "Example.COM",
            "1.a",
        ] {
            assert_eq!(dns_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            ".",
            "-",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b",
            "*.a",
            "ns/name",
            "a.b:80",
            "1.2.3.4",
            &"a".repeat(64),
            &"a.".repeat(128),
        ] {
            assert!(dns_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn wildcards_stand_at_the_beginning_of_the_first_label() {
        for name in [
            "*",
            "*.com",
            "*.a.b",
            "*-api.example.com",
            "*api.example.com",
            "reviews",
        ] {
            assert_eq!(wildcard_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "*.*",
            "foo.*",
            "foo.*.com",
            "a*.com",
            "**",
            "*..com",
            "*.-a",
        ] {
            assert!(wildcard_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn addresses_and_blocks_of_both_families_are_told_from_other_text() {
        for text in [
            "10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            assert_eq!(ip_or_subnet(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "a/8",
            "10.0.0.0/8/8",
        ] {
            assert!(ip_or_subnet(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_host_parsers_panic(text in "[-*.a1/: ]{0,20}|\\PC*") {
            let _ = (dns_label(&text), dns_name(&text), wildcard_name(&text), ip_or_subnet(&text));
        }

        #[test]
        fn what_is_a_name_is_a_name_below_a_wildcard_too(text in "[-.a1]{1,12}") {
            prop_assert_eq!(dns_name(&text).is_ok(), wildcard_name(&format!("*.{text}")).is_ok());
        }
    }
}
