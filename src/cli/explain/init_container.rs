//! What the manifest of an injected pod says about its capture.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use serde_json::Value;

use crate::capture::explain::Sender;
use crate::capture::{FLAGS, Flag, Owner};
use crate::cli::manifests;

/// Containers whose arguments are those of `istio-iptables`.
const INIT_CONTAINERS: [&str; 2] = ["istio-init", "istio-validation"];
const PROXY: &str = "istio-proxy";
/// Where the pod is in a manifest: of a CronJob, of other workloads, of a Pod.
const TEMPLATES: [&str; 3] = ["/spec/jobTemplate/spec/template", "/spec/template", ""];

/// An injected pod, as far as capture goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Injected {
    /// It has a container that applies (or checks) rules.
    pub captured: bool,
    /// The flags of that container, by their long names.
    pub flags: BTreeMap<String, String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Rules are nftables' own.
    pub native_nftables: bool,
    /// The pod's addresses; none in a manifest that was not read from a cluster.
    pub addresses: Vec<IpAddr>,
    /// What the proxy runs as, where the pod says so.
    pub proxy: Option<Sender>,
    /// What the first container of the application runs as, where the pod says so.
    pub application: Option<Sender>,
}

/// The injected pod (or workload) of a file: the one of that name, else the only one.
pub(super) fn of_file(path: &Path, name: Option<&str>) -> anyhow::Result<Injected> {
    let mut found = Vec::new();
    for document in manifests::read(&[PathBuf::from(path)])? {
        let value = document
            .parse()
            .map_err(|error| anyhow::anyhow!("{}:{}: {}", document.file, error.line, error.text))?;
        let items = value.get("items").and_then(Value::as_array);
        let objects = items.map_or(vec![&value], |items| items.iter().collect());
        for object in objects {
            let own = text(object, "/metadata/name");
            let wanted = name.is_none_or(|name| own == name);
            if let Some(pod) = pod_of(object).filter(|pod| wanted && is_injected(pod)) {
                found.push((own.to_owned(), of_pod(pod)?));
            }
        }
    }
    let shown = path.display();
    match found.len() {
        1 => Ok(found.remove(0).1),
        0 => bail!(
            "{shown}: no injected pod{}; `outrigger inject` makes one",
            name.map(|name| format!(" {name:?}")).unwrap_or_default()
        ),
        _ => {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "{shown}: several injected pods; --pod says which: {}",
                names.join(", ")
            )
        }
    }
}

/// What a pod says.
pub(super) fn of_pod(pod: &Value) -> anyhow::Result<Injected> {
    ensure!(is_injected(pod), "it has no sidecar: nothing is captured");
    let init = containers(pod).find(|c| INIT_CONTAINERS.contains(&text(c, "/name")));
    let words: Vec<&str> = ["/command", "/args"]
        .into_iter()
        .filter_map(|list| init?.pointer(list)?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let addresses = pod
        .pointer("/status/podIPs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| text(entry, "/ip").parse().ok());
    let proxy = containers(pod).find(|c| text(c, "/name") == PROXY);
    let application = pod
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|c| text(c, "/name") != PROXY);
    Ok(Injected {
        captured: init.is_some(),
        native_nftables: words.contains(&"--native-nftables")
            || words.contains(&"--native-nftables=true"),
        flags: flags(&words),
        env: init.map(environment).unwrap_or_default(),
        addresses: addresses.collect(),
        proxy: proxy.and_then(|container| sender(pod, container)),
        application: application.and_then(|container| sender(pod, container)),
    })
}

fn pod_of(object: &Value) -> Option<&Value> {
    TEMPLATES
        .into_iter()
        .filter_map(|pointer| object.pointer(pointer))
        .find(|pod| pod.pointer("/spec/containers").is_some())
}

fn is_injected(pod: &Value) -> bool {
    containers(pod).any(|container| text(container, "/name") == PROXY)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"]
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The variables whose values the manifest says.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let variables = container.get("env").and_then(Value::as_array);
    variables
        .into_iter()
        .flatten()
        .filter(|v| v.get("valueFrom").is_none())
        .map(|v| (text(v, "/name").to_owned(), text(v, "/value").to_owned()))
        .collect()
}

/// What a container runs as; its own security context wins over the pod's. A user without a group has group 0.
fn sender(pod: &Value, container: &Value) -> Option<Sender> {
    let id = |field: &str| {
        let own = container.pointer(&format!("/securityContext/{field}"));
        let of_pod = pod.pointer(&format!("/spec/securityContext/{field}"));
        let id = own.or(of_pod)?.as_u64()?;
        u32::try_from(id).ok().map(Owner::from)
    };
    Some(Sender {
        user: id("runAsUser")?,
        group: id("runAsGroup").unwrap_or(Owner::from(0)),
    })
}

/// The flags among the words of a command line. Those that don't concern rules are skipped, with their values.
fn flags(words: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let Some((flag, inline)) = flag_of(word) else {
            continue;
        };
        let value = match (inline, flag) {
            (Some(value), _) => value.to_owned(),
            (None, Some(flag)) if flag.switch => "true".to_owned(),
            (None, Some(_)) => words.next().unwrap_or_default().to_owned(),
            (None, None) => {
                // A flag of another kind: what follows is its value, unless it is a flag itself.
                words.next_if(|next| !next.starts_with('-'));
                continue;
            }
        };
        if let Some(flag) = flag {
            found.insert(flag.long.to_owned(), value);
        }
    }
    found
}

/// The flag that a word is, if it is one, and the value in the same word.
fn flag_of(word: &str) -> Option<(Option<&'static Flag>, Option<&str>)> {
    let find = |wanted: &dyn Fn(&Flag) -> bool| FLAGS.iter().find(|flag| wanted(flag));
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        return Some((find(&|flag| !name.is_empty() && flag.long == name), value));
    }
    let mut rest = word.strip_prefix('-')?.chars();
    let short = rest.next()?;
    let value = rest.as_str();
    let value = value.strip_prefix('=').unwrap_or(value);
    Some((
        find(&|flag| flag.short == Some(short)),
        (!value.is_empty()).then_some(value),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn injected() -> Value {
        json!({
            "metadata": {"name": "web-1"},
            "spec": {
                "securityContext": {"runAsUser": 1001},
                "initContainers": [{
                    "name": "istio-init",
                    "args": ["istio-iptables", "-p", "15001", "-z15006", "-m", "REDIRECT", "-i", "*", "-x", "",
                        "--istio-inbound-ports=*", "-d", "15090,15021", "--log_output_level=default:info",
                        "--probe-timeout", "5s", "--redirect-dns", "--native-nftables"],
                    "env": [
                        {"name": "ISTIO_META_DNS_CAPTURE", "value": "true"},
                        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                }],
                "containers": [
                    {"name": "app", "securityContext": {"runAsGroup": 2002}},
                    {"name": "istio-proxy", "securityContext": {"runAsUser": 0, "runAsGroup": 1337}},
                ],
            },
            "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        })
    }

    #[test]
    fn an_injected_pod_tells_flags_environment_addresses_and_ids() {
        let found = of_pod(&injected()).unwrap();
        let flag = |name: &str| found.flags.get(name).map(String::as_str);
        assert_eq!(flag("envoy-port"), Some("15001"));
        assert_eq!(flag("inbound-capture-port"), Some("15006"));
        assert_eq!(flag("istio-service-exclude-cidr"), Some(""));
        assert_eq!(flag("istio-inbound-ports"), Some("*"));
        assert_eq!(flag("istio-local-exclude-ports"), Some("15090,15021"));
        assert_eq!(flag("redirect-dns"), Some("true"));
        assert_eq!(found.flags.len(), 8);
        assert!(found.native_nftables && found.captured);
        assert_eq!(found.env["ISTIO_META_DNS_CAPTURE"], "true");
        assert_eq!(found.env.len(), 1);
        assert_eq!(found.addresses.len(), 2);
        let ids = |user, group| {
            Some(Sender {
                user: Owner::from(user),
                group: Owner::from(group),
            })
        };
        assert_eq!(found.proxy, ids(0, 1337));
        assert_eq!(found.application, ids(1001, 2002));
    }

    #[test]
    fn a_pod_without_a_sidecar_is_told_apart_from_one_without_rules() {
        let mut pod = injected();
        pod["spec"]["initContainers"] = json!([]);
        assert!(!of_pod(&pod).unwrap().captured);
        pod["spec"]["containers"] = json!([{"name": "app"}]);
        let error = of_pod(&pod).unwrap_err().to_string();
        assert_eq!(error, "it has no sidecar: nothing is captured");
    }

    #[test]
    fn a_workloads_pod_is_its_template() {
        let pod = injected();
        for workload in [
            json!({"spec": {"template": pod}}),
            json!({"spec": {"jobTemplate": {"spec": {"template": pod}}}}),
        ] {
            assert_eq!(pod_of(&workload), Some(&pod));
        }
        assert_eq!(pod_of(&pod), Some(&pod));
        assert_eq!(pod_of(&json!({"spec": {}})), None);
    }
}
