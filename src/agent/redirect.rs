//! Following redirects as the kubelet does for probes: to the same host only, a few times.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{Request, StatusCode, Uri};
use tokio::time::Instant;

use super::client::{Answer, ClientError, Endpoint, Reading};

/// How many requests are sent at most: one, and one for each redirect.
const MOST_REQUESTS: usize = 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("redirected to {0:?}, which is no address")]
    Location(String),
    #[error("stopped after {MOST_REQUESTS} redirects")]
    TooMany,
}

impl FollowError {
    /// Nobody could be reached.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_connect())
    }
}

/// Asks, and again where the answer redirects to the same host. A redirect to elsewhere, or to nowhere, is itself the
/// answer.
pub(super) async fn follow(
    mut endpoint: Endpoint,
    mut request: Request<Full<Bytes>>,
    end: Instant,
    reading: Reading,
) -> Result<Answer, FollowError> {
    for _ in 0..MOST_REQUESTS {
        let left = end.saturating_duration_since(Instant::now());
        let answer = endpoint.send(request.clone(), left, reading).await?;
        let location = answer.headers.get(LOCATION).map(HeaderValue::as_bytes);
        let location = location.filter(|_| leads_on(answer.status));
        let Some(location) = location.and_then(|location| std::str::from_utf8(location).ok())
        else {
            return Ok(answer);
        };
        let base = request.uri().path().to_owned();
        match Redirect::read(location, &endpoint, &base)? {
            Redirect::Elsewhere => return Ok(answer),
            Redirect::Path(uri) => *request.uri_mut() = uri,
            Redirect::Address { https, port, uri } => {
                endpoint = endpoint.at(port, https);
                *request.uri_mut() = uri;
                let host = HeaderValue::from_str(&endpoint.to_string())
                    .map_err(|_| FollowError::Location(location.to_owned()))?;
                request.headers_mut().insert(HOST, host);
            }
        }
    }
    Err(FollowError::TooMany)
}

/// The redirects that clients follow.
fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where an answer sends its client.
#[derive(Debug, PartialEq, Eq)]
enum Redirect {
    /// To another host.
    Elsewhere,
    /// To another path.
    Path(Uri),
    /// To the same host, in full.
    Address { https: bool, port: u16, uri: Uri },
}

impl Redirect {
    fn read(location: &str, here: &Endpoint, base: &str) -> Result<Self, FollowError> {
        let nowhere = || FollowError::Location(location.to_owned());
        let target = location.split('#').next().unwrap_or_default();
        let full = if target.starts_with("//") {
            let scheme = if here.is_https() { "https" } else { "http" };
            format!("{scheme}:{target}")
        } else if target.contains("://") {
            target.to_owned()
        } else {
            return uri(&beside(base, target))
                .map(Self::Path)
                .ok_or_else(nowhere);
        };
        let address: Uri = full.parse().map_err(|_| nowhere())?;
        let host = address.host().unwrap_or_default();
        if host.trim_start_matches('[').trim_end_matches(']') != here.host {
            return Ok(Self::Elsewhere);
        }
        let https = address.scheme_str() == Some("https");
        let path = address.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self::Address {
            https,
            port: address.port_u16().unwrap_or(if https { 443 } else { 80 }),
            uri: uri(path).ok_or_else(nowhere)?,
        })
    }
}

/// A relative address, seen from a path.
fn beside(base: &str, relative: &str) -> String {
    match relative.as_bytes().first() {
        None => base.to_owned(),
        Some(b'/') => relative.to_owned(),
        Some(b'?') => format!("{base}{relative}"),
        Some(_) => {
            let folder = base.rfind('/').map_or("", |end| &base[..end]);
            format!("{folder}/{relative}")
        }
    }
}

/// The address of a request, from a path that people wrote. What may not be in one as it is, such as a blank, is
/// escaped.
pub(super) fn uri(path: &str) -> Option<Uri> {
    let path = path.split('#').next().unwrap_or_default();
    let mut escaped = String::from("/");
    for byte in path.strip_prefix('/').unwrap_or(path).bytes() {
        let as_it_is =
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`');
        if as_it_is {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    // An address that begins with two slashes would be one of a host.
    let path = escaped.trim_start_matches('/');
    format!("/{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_written_as_a_request_can_carry_it() {
        let written = |path: &str| uri(path).unwrap().to_string();
        assert_eq!(written(""), "/");
        assert_eq!(written("a b?c=d e#f"), "/a%20b?c=d%20e");
        assert_eq!(written("/x%20y/é"), "/x%20y/%C3%A9");
        assert_eq!(written("//x"), "/x");
    }

    #[test]
    fn a_redirect_is_followed_on_the_same_host_only() {
        let here = Endpoint::new("10.1.2.3", 8080);
        let read = |location: &str| Redirect::read(location, &here, "/a/b").unwrap();
        let path = |path: &str| Redirect::Path(path.parse().unwrap());
        assert_eq!(read("/ready#top"), path("/ready"));
        assert_eq!(read("ready?now"), path("/a/ready?now"));
        assert_eq!(read("?x=1"), path("/a/b?x=1"));
        assert_eq!(read("https://shop.example/a"), Redirect::Elsewhere);
        assert_eq!(read("//shop.example/a"), Redirect::Elsewhere);
        let address = |https, port, path: &str| Redirect::Address {
            https,
            port,
            uri: path.parse().unwrap(),
        };
        assert_eq!(read("https://10.1.2.3/a"), address(true, 443, "/a"));
        assert_eq!(read("//10.1.2.3:81"), address(false, 81, "/"));
        let six = Endpoint::new("fd00::7", 8080);
        assert_eq!(
            Redirect::read("http://[fd00::7]:81/x", &six, "/").unwrap(),
            address(false, 81, "/x")
        );
        assert!(Redirect::read("http://[", &here, "/").is_err());
    }

    proptest! {
        #[test]
        fn any_path_and_any_location_give_an_address_or_a_reason(
            path in "\\PC*",
            location in "\\PC*|(https?:)?//[a-z0-9.:\\[\\]]*/?\\PC*",
        ) {
            if let Some(uri) = uri(&path) {
                prop_assert!(uri.path().starts_with('/') && uri.host().is_none());
            }
            let _ = Redirect::read(&location, &Endpoint::local(80), "/a/b");
        }
    }
}
