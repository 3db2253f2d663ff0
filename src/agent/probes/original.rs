//! `ISTIO_KUBE_APP_PROBERS`: the probes as their author wrote them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Kubernetes' default of `timeoutSeconds`.
const DEFAULT_LIMIT: Duration = Duration::from_secs(1);
/// A hook has no limit but the kubelet's patience; this one only keeps a hanging application from holding the agent.
/// It bounds a probe's `timeoutSeconds` too.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);
/// The paths of hooks, which have no `timeoutSeconds`.
const HOOKS: &str = "/app-lifecycle/";

/// A probe or hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) handler: Handler,
    /// How long the application may take.
    pub(super) limit: Duration,
}

/// What to ask the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Handler {
    Http(HttpGet),
    Tcp(TcpSocket),
    Grpc(Grpc),
}

/// In the shape that Kubernetes gives it. The `host` of `httpGet` and `tcpSocket` is left out, as in Istio: it says
/// where the kubelet is to connect to, and it connects to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpGet {
    #[serde(default)]
    pub(super) path: Option<String>,
    pub(super) port: u16,
    #[serde(default)]
    pub(super) scheme: Option<String>,
    #[serde(default)]
    pub(super) http_headers: Option<Vec<Header>>,
}

/// A header of the probe's request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

/// A port that must accept a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TcpSocket {
    pub(super) port: u16,
}

/// A port that answers `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Grpc {
    pub(super) port: u16,
    #[serde(default)]
    pub(super) service: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u64>,
}

/// Reads all of them, by the path that the kubelet asks for. One that can't be read has the reason instead, and costs
/// no other.
///
/// # Errors
/// The text is no JSON object.
pub(super) fn read(
    text: &str,
) -> Result<BTreeMap<String, Result<Original, String>>, serde_json::Error> {
    let all: BTreeMap<String, Value> = serde_json::from_str(text)?;
    let read = |(path, probe): (String, Value)| {
        let original = original(&path, probe);
        (path, original)
    };
    Ok(all.into_iter().map(read).collect())
}

fn original(path: &str, probe: Value) -> Result<Original, String> {
    let entry: Entry = serde_json::from_value(probe).map_err(|error| error.to_string())?;
    let handler = match (entry.http_get, entry.tcp_socket, entry.grpc) {
        (Some(http), None, None) => Handler::Http(http),
        (None, Some(tcp), None) => Handler::Tcp(tcp),
        (None, None, Some(grpc)) => Handler::Grpc(grpc),
        _ => return Err("it must have one of httpGet, tcpSocket and grpc".to_owned()),
    };
    let default = if path.starts_with(HOOKS) {
        LONGEST
    } else {
        DEFAULT_LIMIT
    };
    let given = entry.timeout_seconds.filter(|seconds| *seconds > 0);
    Ok(Original {
        handler,
        limit: given.map_or(default, |seconds| Duration::from_secs(seconds).min(LONGEST)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_injection_writes_is_read() {
        let text = r#"{
            "/app-health/a/readyz": {"httpGet": {"path": "/ready", "port": 80, "scheme": "HTTPS", "host": "x",
                "httpHeaders": [{"name": "A", "value": "1"}]}, "timeoutSeconds": 3},
            "/app-health/a/livez": {"tcpSocket": {"port": 81}},
            "/app-health/a/startupz": {"grpc": {"port": 82, "service": null}, "timeoutSeconds": 1000000},
            "/app-lifecycle/a/prestopz": {"httpGet": {"port": 80, "path": null}}}"#;
        insta::assert_debug_snapshot!(read(text).unwrap());
    }

    #[test]
    fn an_entry_that_cannot_be_read_costs_no_other() {
        let text = r#"{"/a": {"httpGet": {"port": "web"}}, "/b": {}, "/c": {"grpc": {"port": 1}},
            "/d": {"grpc": {"port": 1}, "tcpSocket": {"port": 1}}, "/e": 7}"#;
        let read = read(text).unwrap();
        let usable: Vec<&str> = read
            .iter()
            .filter(|(_, probe)| probe.is_ok())
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(usable, ["/c"]);
        assert_eq!(
            read["/d"].as_ref().unwrap_err(),
            "it must have one of httpGet, tcpSocket and grpc"
        );
        assert!(super::read("[]").is_err());
    }

    /// JSON that may, or may not, be probes.
    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "httpGet",
            "tcpSocket",
            "grpc",
            "port",
            "path",
            "scheme",
            "service",
            "httpHeaders",
            "name",
            "value",
            "timeoutSeconds",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<u16>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..4).prop_map(|fields| {
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = read(&text);
        }

        #[test]
        fn every_limit_is_bounded_whatever_the_json_says(probe in any_json()) {
            let text = serde_json::json!({"/app-health/a/livez": probe}).to_string();
            for original in read(&text).unwrap().into_values().flatten() {
                prop_assert!(original.limit > Duration::ZERO && original.limit <= LONGEST);
            }
        }
    }
}
