//! Addresses of things to fetch.

/// The scheme of a URL in small letters; empty for one without.
///
/// # Errors
/// What cannot stand in a URL, in words.
pub fn scheme(url: &str) -> Result<String, String> {
    if url.chars().any(|char| char.is_control()) {
        return Err(format!("{url:?} is not a URL: it has control characters"));
    }
    let escapes = url.split('%').skip(1);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.clone().all(is_escape) {
        return Err(format!(
            "{url:?} is not a URL: '%' is not followed by two hexadecimal digits"
        ));
    }
    let (scheme, rest) = split(url);
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let authority = &authority[..end];
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
        return Err(format!("{url:?} is not a URL: {host:?} is not a host"));
    }
    let port = host
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'))
        .map_or("", |(_, port)| port);
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{url:?} is not a URL: {port:?} is not a port"));
    }
    Ok(scheme.to_ascii_lowercase())
}

/// What stands before the colon, if it can be a scheme, and what comes after it.
fn split(url: &str) -> (&str, &str) {
    let Some((scheme, rest)) = url.split_once(':') else {
        return ("", url);
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let begins = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    if begins && scheme.bytes().all(inner) {
        (scheme, rest)
    } else {
        ("", url)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn schemes_are_read_and_what_is_no_url_is_refused() {
        for (url, expected) in [
            ("https://a.example/keys?x=1", Some("https")),
            ("HTTP://[::1]:80/", Some("http")),
            ("oci://registry:5000/a/b:latest", Some("oci")),
            ("file:///opt/a.wasm", Some("file")),
            ("registry.example/a/b", Some("")),
            ("registry.example:5000/a", Some("registry.example")),
            ("http://a b/", None),
            ("http://a:x/", None),
            ("http://a/%zz", None),
            ("http\u{8}://a", None),
        ] {
            assert_eq!(scheme(url).ok().as_deref(), expected, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(url in "[a-z:/%@\\[\\]0-9.]{0,16}|\\PC*") {
            let _ = scheme(&url);
        }
    }
}
