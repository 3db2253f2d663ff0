//! `grpc`: a call of `grpc.health.v1.Health/Check`, as the kubelet makes it: without TLS.
//!
//! The protocol is two messages of one field each, so it is written here instead of brought in with a gRPC library.
//! Sources: grpc/health/v1/health.proto, PROTOCOL-HTTP2.md of gRPC, the encoding of protocol buffers.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use crate::agent::client::{Answer, Endpoint, Reading};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// A health answer is seven bytes.
const LARGEST_ANSWER: usize = 64 * 1024;
/// The states of `HealthCheckResponse.ServingStatus`.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;
/// The codes of gRPC that say more than that it did not work.
const UNIMPLEMENTED: u64 = 12;
const NOT_FOUND: u64 = 5;

/// Whether the service is healthy; `""` is the server as a whole.
///
/// # Errors
/// It is not, or does not say so: the reason.
pub(super) async fn check(
    endpoint: &Endpoint,
    service: &str,
    user_agent: Option<&HeaderValue>,
    limit: Duration,
) -> Result<(), String> {
    let request =
        request(endpoint, service, user_agent, limit).map_err(|error| error.to_string())?;
    let answer = endpoint
        .send(request, limit, Reading::Whole(LARGEST_ANSWER))
        .await;
    state(&answer.map_err(|error| error.to_string())?)
}

fn request(
    endpoint: &Endpoint,
    service: &str,
    user_agent: Option<&HeaderValue>,
    limit: Duration,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(HOST, endpoint.to_string())
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-timeout", format!("{}m", limit.as_millis()));
    if let Some(agent) = user_agent {
        request = request.header(USER_AGENT, agent);
    }
    request.body(Full::from(frame(&question(service))))
}

/// What the answer says.
fn state(answer: &Answer) -> Result<(), String> {
    if answer.status != StatusCode::OK {
        return Err(format!("HTTP status {} instead of gRPC", answer.status));
    }
    // An answer without a message has its status where others have their headers.
    let word = |name: &str| -> Option<&str> {
        let value = answer.trailers.get(name).or(answer.headers.get(name))?;
        value.to_str().ok()
    };
    match word("grpc-status").map(str::parse::<u64>) {
        Some(Ok(0)) => {}
        Some(Ok(UNIMPLEMENTED)) => {
            return Err("the server does not implement grpc.health.v1.Health".to_owned());
        }
        Some(Ok(NOT_FOUND)) => return Err("the server knows no such service".to_owned()),
        Some(Ok(code)) => {
            let message = word("grpc-message").unwrap_or_default();
            return Err(format!("gRPC status {code} {message}"));
        }
        _ => return Err("no gRPC status in the answer".to_owned()),
    }
    match serving_status(&answer.body) {
        Some(SERVING) => Ok(()),
        Some(state) => {
            let known = usize::try_from(state)
                .ok()
                .and_then(|state| STATES.get(state));
            Err(format!(
                "the service is {}",
                known.unwrap_or(&"in an unknown state")
            ))
        }
        None => Err("the answer is no HealthCheckResponse".to_owned()),
    }
}

/// gRPC puts a byte for the compression (none) and the length before a message.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// `HealthCheckRequest`: the service's name as field 1.
fn question(service: &str) -> Vec<u8> {
    if service.is_empty() {
        return Vec::new();
    }
    let mut message = vec![(1 << 3) | LENGTH_DELIMITED];
    let mut length = service.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or_default());
    message.extend_from_slice(service.as_bytes());
    message
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

/// Field 1 of a framed `HealthCheckResponse`; `None` where it is none.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (head, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
    if head.first() != Some(&0) || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let wire = u8::try_from(key & 7).ok()?;
        match wire {
            VARINT => {
                let value = varint(&mut rest)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            FIXED64 => rest = rest.get(8..)?,
            FIXED32 => rest = rest.get(4..)?,
            LENGTH_DELIMITED => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use hyper::header::HeaderMap;

    use super::*;

    #[test]
    fn messages_are_those_of_the_health_protocol() {
        assert_eq!(frame(&question("")), [0, 0, 0, 0, 0]);
        assert_eq!(frame(&question("ab")), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(serving_status(&frame(&[0x08, 1])), Some(SERVING));
        assert_eq!(serving_status(&frame(&[])), Some(0));
        // A field of a later version comes first.
        assert_eq!(serving_status(&frame(&[0x12, 1, 7, 0x08, 2])), Some(2));
        assert_eq!(serving_status(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(serving_status(&frame(&[0x08])), None, "cut off");
    }

    #[test]
    fn the_reason_of_a_failure_is_said() {
        let answer = |trailers: &[(&'static str, &'static str)], body: &[u8]| {
            let trailers = trailers
                .iter()
                .map(|(name, value)| {
                    (
                        name.parse::<hyper::header::HeaderName>().unwrap(),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            state(&Answer {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Bytes::copy_from_slice(body),
                trailers,
            })
        };
        let ok = ("grpc-status", "0");
        assert_eq!(answer(&[ok], &frame(&[8, 1])), Ok(()));
        let failures = [
            answer(&[ok], &frame(&[8, 2])),
            answer(&[ok], &frame(&[8, 9])),
            answer(&[ok], b"hello"),
            answer(&[("grpc-status", "12")], b""),
            answer(&[("grpc-status", "5")], b""),
            answer(&[("grpc-status", "14"), ("grpc-message", "busy")], b""),
            answer(&[], b""),
        ];
        let failures: Vec<String> = failures.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(failures.join("\n"), @r"
        the service is NOT_SERVING
        the service is in an unknown state
        the answer is no HealthCheckResponse
        the server does not implement grpc.health.v1.Health
        the server knows no such service
        gRPC status 14 busy
        no gRPC status in the answer
        ");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(body: Vec<u8>) {
            let _ = serving_status(&body);
            let _ = serving_status(&frame(&body));
        }
    }
}
