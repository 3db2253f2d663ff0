//! Prometheus finds one port and path on a pod: the agent's, which merges the application's metrics with Envoy's.
//!
//! The annotations by which the pod's author pointed at the application move to the agent's environment.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::ports;

use super::{
    annotations::{InvalidAnnotation, SCRAPE_TARGETS},
    context::Context,
    pod::{Pod, name_of},
    probes::proxy_env,
};

/// The environment variable that tells the agent where the application's metrics are.
const ENV: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
/// Where the agent serves the merged metrics.
const MERGED_PATH: &str = "/stats/prometheus";

/// The scrape settings of a pod, under whatever spelling of the annotations.
struct Scrape<'a> {
    keys: BTreeMap<&'static str, &'a str>,
    values: BTreeMap<&'static str, &'a str>,
}

impl<'a> Scrape<'a> {
    fn of(pod: &Pod<'a>) -> Self {
        let mut scrape = Self {
            keys: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for (&key, &value) in pod.annotations() {
            let spelled = key.replace(['.', '-', '/'], "_");
            let Some(name) = spelled.strip_prefix("prometheus_io_") else {
                continue;
            };
            // The agent's own port is plain HTTP, so only a scheme that says otherwise has to move.
            if name == "scheme" && !value.eq_ignore_ascii_case("https") {
                continue;
            }
            if let Some(known) = ["scrape", "port", "path", "scheme"]
                .into_iter()
                .find(|known| *known == name)
            {
                scrape.keys.insert(known, key);
                scrape.values.insert(known, value);
            }
        }
        scrape
    }

    fn value(&self, name: &str) -> &'a str {
        self.values.get(name).copied().unwrap_or_default()
    }
}

/// Moves the pod's scrape annotations to the agent and points them at the agent.
///
/// # Errors
/// The application's port is one of the proxy's, or no port.
pub(super) fn merge(
    context: &Context<'_>,
    agent_port: u16,
    metadata_annotations: &mut Map<String, Value>,
    spec: &mut Map<String, Value>,
) -> Result<(), InvalidAnnotation> {
    let pod = context.pod;
    let scrape = Scrape::of(pod);
    let agent = agent_port.to_string();
    if scrape.value("scrape") == "false" || scrape.value("port") == agent {
        return Ok(());
    }
    if let Some(port) = scrape.values.get("port") {
        check_port(
            scrape.keys.get("port").copied().unwrap_or_default(),
            port,
            port,
            agent_port,
        )?;
    }
    let targets = targets(pod, agent_port)?;
    let Some(env) = proxy_env(spec) else {
        return Ok(());
    };
    let told = told_to_agent(&scrape, &targets);
    if !told.is_empty() {
        env.retain(|entry| name_of(entry) != ENV);
        env.push(json!({ "name": ENV, "value": Value::Object(told).to_string() }));
    }
    for key in scrape.keys.values() {
        metadata_annotations.shift_remove(*key);
    }
    metadata_annotations.shift_remove(SCRAPE_TARGETS);
    for (name, value) in [
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/port", agent.as_str()),
        ("prometheus.io/path", MERGED_PATH),
    ] {
        metadata_annotations.insert(name.to_owned(), json!(value));
    }
    Ok(())
}

/// The JSON that the agent reads: keys in Istio's order, empty ones left out. `scheme` is not Istio's, which leaves that
/// annotation on the pod, where it makes Prometheus speak TLS with the agent.
fn told_to_agent(scrape: &Scrape<'_>, targets: &[(String, String)]) -> Map<String, Value> {
    let first = targets.first();
    let value = |name: &str, target: Option<&String>| {
        let own = scrape.value(name);
        let value = target.map_or(own, |target| target.as_str());
        (!value.is_empty()).then(|| (name.to_owned(), json!(value)))
    };
    let mut told: Map<String, Value> = [
        value("scrape", None),
        value("path", first.map(|(_, path)| path)),
        value("port", first.map(|(port, _)| port)),
        value("scheme", None),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !targets.is_empty() {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(port, path)| json!({ "port": port, "path": path }))
            .collect();
        told.insert("targets".to_owned(), Value::Array(targets));
    }
    told
}

/// The list of `port:path`; entries without a port are left out, as in Istio.
fn targets(pod: &Pod<'_>, agent_port: u16) -> Result<Vec<(String, String)>, InvalidAnnotation> {
    let text = pod.annotation(SCRAPE_TARGETS).unwrap_or_default();
    let mut targets = Vec::new();
    for item in text.split(',').map(str::trim) {
        let (port, path) = item.split_once(':').unwrap_or((item, "/metrics"));
        if port.is_empty() {
            continue;
        }
        check_port(SCRAPE_TARGETS, text, port, agent_port)?;
        targets.push((port.to_owned(), path.to_owned()));
    }
    Ok(targets)
}

fn check_port(
    key: &str,
    value: &str,
    port: &str,
    agent_port: u16,
) -> Result<(), InvalidAnnotation> {
    let why = match port.parse::<u16>() {
        Ok(number)
            if number != 0 && !ports::OF_THE_PROXY.contains(&number) && number != agent_port =>
        {
            return Ok(());
        }
        Ok(number) if number != 0 => {
            format!("port {number} is one of the proxy's, the application must use another")
        }
        _ => format!("{port:?} is not a port (1 to 65535)"),
    };
    Err(InvalidAnnotation {
        name: key.to_owned(),
        value: value.to_owned(),
        why,
    })
}
