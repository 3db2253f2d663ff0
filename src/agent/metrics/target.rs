//! `ISTIO_PROMETHEUS_ANNOTATIONS`: where the application has its metrics.

use serde::Deserialize;

/// More targets than any application has; each costs a request a scrape.
const MOST_TARGETS: usize = 16;

/// A place of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) https: bool,
}

/// As injection writes it: all values are text, as annotations are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    scrape: String,
    scheme: String,
    port: String,
    path: String,
    targets: Vec<Place>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    port: String,
    path: String,
}

/// Reads the targets, with Istio's defaults: port 80, path `/metrics`. `status_port` is the agent's own: to ask it would
/// never end.
///
/// # Errors
/// What can't be used, and why.
pub(super) fn read(text: &str, status_port: u16) -> Result<Vec<Target>, String> {
    let annotations: Annotations = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if annotations.scrape == "false" {
        return Ok(Vec::new());
    }
    let https = annotations.scheme.eq_ignore_ascii_case("https");
    let places = if annotations.targets.is_empty() {
        vec![Place {
            port: annotations.port,
            path: annotations.path,
        }]
    } else {
        annotations.targets
    };
    if places.len() > MOST_TARGETS {
        return Err(format!("more than {MOST_TARGETS} targets"));
    }
    let target = |place: Place| {
        let port = match place.port.as_str() {
            "" => 80,
            text => match text.parse() {
                Ok(port) if port != 0 && port != status_port => port,
                _ => return Err(format!("{text:?} is not a port of the application")),
            },
        };
        let path = match place.path.as_str() {
            "" => "/metrics".to_owned(),
            path => format!("/{}", path.trim_start_matches('/')),
        };
        Ok(Target { port, path, https })
    };
    places.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_are_read_with_istios_defaults() {
        let read = |text: &str| -> Vec<(u16, String, bool)> {
            let targets = read(text, 15020).unwrap().into_iter();
            targets
                .map(|target| (target.port, target.path, target.https))
                .collect()
        };
        let target = |port, path: &str, https| (port, path.to_owned(), https);
        assert_eq!(
            read(r#"{"scrape":"true"}"#),
            [target(80, "/metrics", false)]
        );
        assert_eq!(
            read(r#"{"port":"9090","path":"m?x=1","scheme":"https"}"#),
            [target(9090, "/m?x=1", true)]
        );
        let two = r#"{"port":"1","targets":[{"port":"9090","path":"/a"},{"port":"9091"}]}"#;
        assert_eq!(
            read(two),
            [target(9090, "/a", false), target(9091, "/metrics", false)]
        );
        assert_eq!(read(r#"{"scrape":"false","port":"9090"}"#), []);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "",
            r#"{"port":9090}"#,
            r#"{"port":"web"}"#,
            r#"{"port":"0"}"#,
            r#"{"port":"15020"}"#,
        ] {
            assert!(read(text, 15020).is_err(), "{text}");
        }
        let many = vec![serde_json::json!({"port": "1"}); MOST_TARGETS + 1];
        assert!(read(&serde_json::json!({"targets": many}).to_string(), 15020).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", port in "\\PC*", path in "\\PC*") {
            let _ = read(&text, 15020);
            let given = serde_json::json!({"port": port, "path": path}).to_string();
            for target in read(&given, 15020).into_iter().flatten() {
                prop_assert!(target.path.starts_with('/') && target.port != 15020);
            }
        }
    }
}
