//! The annotations by which a pod changes its own injection: names, and what makes a value valid.
//!
//! A bad value denies the pod, so that a typing error is seen by its author and not in production. All problems
//! of a pod are reported together.

use std::{fmt, net::IpAddr, str::FromStr as _};

use super::pod::Pod;
use crate::api::parse::go_bool;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $value;)*
    };
}

names! {
    /// Templates to run, comma-separated.
    TEMPLATES = "inject.istio.io/templates";
    /// `REDIRECT`, `TPROXY` or `NONE`.
    INTERCEPTION_MODE = "sidecar.istio.io/interceptionMode";
    /// Destinations to capture.
    INCLUDE_OUTBOUND_IP_RANGES = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    /// Destinations to leave alone.
    EXCLUDE_OUTBOUND_IP_RANGES = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    /// Inbound ports to capture.
    INCLUDE_INBOUND_PORTS = "traffic.sidecar.istio.io/includeInboundPorts";
    /// Inbound ports to leave alone.
    EXCLUDE_INBOUND_PORTS = "traffic.sidecar.istio.io/excludeInboundPorts";
    /// Outbound ports to capture whatever the destination.
    INCLUDE_OUTBOUND_PORTS = "traffic.sidecar.istio.io/includeOutboundPorts";
    /// Outbound ports to leave alone.
    EXCLUDE_OUTBOUND_PORTS = "traffic.sidecar.istio.io/excludeOutboundPorts";
    /// Interfaces without capture.
    EXCLUDE_INTERFACES = "traffic.sidecar.istio.io/excludeInterfaces";
    /// Interfaces whose inbound traffic is treated as outbound.
    REROUTE_VIRTUAL_INTERFACES = "istio.io/reroute-virtual-interfaces";
    /// The older name of [`REROUTE_VIRTUAL_INTERFACES`].
    KUBEVIRT_INTERFACES = "traffic.sidecar.istio.io/kubevirtInterfaces";
    /// Port of the agent's status server; 0 switches the proxy's probes off.
    STATUS_PORT = "status.sidecar.istio.io/port";
    /// `initialDelaySeconds` of the proxy's readiness probe.
    READINESS_INITIAL_DELAY = "readiness.status.sidecar.istio.io/initialDelaySeconds";
    /// `periodSeconds` of the proxy's readiness probe.
    READINESS_PERIOD = "readiness.status.sidecar.istio.io/periodSeconds";
    /// `failureThreshold` of the proxy's readiness probe.
    READINESS_FAILURE_THRESHOLD = "readiness.status.sidecar.istio.io/failureThreshold";
    /// CPU request of the proxy.
    PROXY_CPU = "sidecar.istio.io/proxyCPU";
    /// CPU limit of the proxy.
    PROXY_CPU_LIMIT = "sidecar.istio.io/proxyCPULimit";
    /// Memory request of the proxy.
    PROXY_MEMORY = "sidecar.istio.io/proxyMemory";
    /// Memory limit of the proxy.
    PROXY_MEMORY_LIMIT = "sidecar.istio.io/proxyMemoryLimit";
    /// Image of the proxy; counts only with a slash in it.
    PROXY_IMAGE = "sidecar.istio.io/proxyImage";
    /// Variant of the proxy's image.
    PROXY_IMAGE_TYPE = "sidecar.istio.io/proxyImageType";
    /// Envoy's log level.
    LOG_LEVEL = "sidecar.istio.io/logLevel";
    /// Envoy's log levels by component.
    COMPONENT_LOG_LEVEL = "sidecar.istio.io/componentLogLevel";
    /// The agent's log level.
    AGENT_LOG_LEVEL = "sidecar.istio.io/agentLogLevel";
    /// Chooses the layout for this pod.
    NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar";
    /// Whether the application's probes go through the agent.
    REWRITE_PROBES = "sidecar.istio.io/rewriteAppHTTPProbers";
    /// ConfigMap with a bootstrap for Envoy.
    BOOTSTRAP_OVERRIDE = "sidecar.istio.io/bootstrapOverride";
    /// JSON: name to volume source, added to the pod.
    USER_VOLUME = "sidecar.istio.io/userVolume";
    /// JSON: name to volume mount, added to the proxy.
    USER_VOLUME_MOUNT = "sidecar.istio.io/userVolumeMount";
    /// Lets the proxy bind ports below 1024.
    CAP_NET_BIND_SERVICE = "sidecar.istio.io/capNetBindService";
    /// ProxyConfig of this pod, as YAML.
    PROXY_CONFIG = "proxy.istio.io/config";
    /// Whether the agent merges the application's metrics into Envoy's.
    MERGE_METRICS = "prometheus.istio.io/merge-metrics";
    /// Several `port:path` that the agent merges.
    SCRAPE_TARGETS = "prometheus.istio.io/scrape-targets";
    /// Networks of multus.
    CNI_NETWORKS = "k8s.v1.cni.cncf.io/networks";
    /// Written: what the user's own containers of our names said.
    OVERRIDES = "proxy.istio.io/overrides";
    /// Written: what was injected.
    STATUS = "sidecar.istio.io/status";
    /// Written: the revision that injected.
    REVISION = "istio.io/rev";
    /// Written: which rule matched, by which revision, in which layout. Tells our injections from others'.
    INJECTED_BY = "outrigger.dev/injection";
    /// Written where unset: the container that kubectl talks to.
    DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container";
    /// Written where unset: the container whose logs kubectl shows.
    DEFAULT_LOGS_CONTAINER = "kubectl.kubernetes.io/default-logs-container";
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAnnotation {
    /// The annotation.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is wrong and what would be right.
    pub why: String,
}

/// How much of a value an error repeats, in characters.
const SHOWN: usize = 120;
/// How much an error says about why, which may repeat a part of the value.
const SHOWN_WHY: usize = 400;

/// The beginning of a text that somebody else wrote: an annotation may have 256 KB.
pub(super) fn excerpt(text: &str) -> String {
    cut(text, SHOWN)
}

fn cut(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for InvalidAnnotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = excerpt(&self.value);
        // Debug formatting, so that control characters of the value cannot forge a line of a log.
        write!(
            f,
            "invalid value {shown:?} for annotation {:?}: {}",
            self.name,
            cut(&self.why, SHOWN_WHY)
        )
    }
}

type Check = fn(&str) -> Result<(), String>;

const CHECKS: [(&str, Check); 17] = [
    (INTERCEPTION_MODE, interception_mode),
    (INCLUDE_OUTBOUND_IP_RANGES, ranges_or_all),
    (EXCLUDE_OUTBOUND_IP_RANGES, ranges),
    (INCLUDE_INBOUND_PORTS, ports_or_all),
    (EXCLUDE_INBOUND_PORTS, ports),
    (EXCLUDE_OUTBOUND_PORTS, ports),
    (EXCLUDE_INTERFACES, interfaces),
    (REROUTE_VIRTUAL_INTERFACES, interfaces),
    (KUBEVIRT_INTERFACES, interfaces),
    (STATUS_PORT, port),
    (READINESS_INITIAL_DELAY, unsigned),
    (READINESS_PERIOD, unsigned),
    (READINESS_FAILURE_THRESHOLD, unsigned),
    (PROXY_CPU, quantity),
    (PROXY_CPU_LIMIT, quantity),
    (PROXY_MEMORY, quantity),
    (PROXY_MEMORY_LIMIT, quantity),
];

/// What is wrong with the value of an annotation; `None` where nothing is, or where it has no rule.
pub fn problem(name: &str, value: &str) -> Option<String> {
    if name == MERGE_METRICS && go_bool(value).is_none() {
        return Some("must be true or false".to_owned());
    }
    let (_, check) = CHECKS.iter().find(|(checked, _)| *checked == name)?;
    check(value).err()
}

/// Checks every annotation of the pod that has a rule.
pub fn check(pod: &Pod<'_>) -> Vec<InvalidAnnotation> {
    let checked = CHECKS.iter().map(|(name, _)| *name);
    checked
        .chain([MERGE_METRICS])
        .filter_map(|name| {
            let value = pod.annotation(name)?;
            Some(InvalidAnnotation {
                name: name.to_owned(),
                value: value.to_owned(),
                why: problem(name, value)?,
            })
        })
        .collect()
}

fn interception_mode(value: &str) -> Result<(), String> {
    match value {
        "REDIRECT" | "TPROXY" | "NONE" => Ok(()),
        _ => Err("must be REDIRECT, TPROXY or NONE".to_owned()),
    }
}

fn ranges_or_all(value: &str) -> Result<(), String> {
    if value == "*" { Ok(()) } else { ranges(value) }
}

fn ranges(value: &str) -> Result<(), String> {
    list(value).try_for_each(|item| {
        let (address, length) = item
            .split_once('/')
            .ok_or_else(|| format!("{item:?} is not a CIDR block such as 10.0.0.0/8"))?;
        let address =
            IpAddr::from_str(address).map_err(|_| format!("{address:?} is not an IP address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match length.parse::<u8>() {
            Ok(length) if length <= most && decimal(item) => Ok(()),
            _ => Err(format!("the prefix length of {item:?} must be 0 to {most}")),
        }
    })
}

/// `parse` takes a sign, which a prefix length has not.
fn decimal(cidr: &str) -> bool {
    !cidr.contains('+')
}

fn ports_or_all(value: &str) -> Result<(), String> {
    if value == "*" { Ok(()) } else { ports(value) }
}

fn ports(value: &str) -> Result<(), String> {
    list(value).try_for_each(|item| port(item.trim()))
}

fn port(value: &str) -> Result<(), String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u16>() {
        Ok(_) if digits => Ok(()),
        _ => Err(format!("{value:?} is not a port (0 to 65535)")),
    }
}

fn unsigned(value: &str) -> Result<(), String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u32>() {
        Ok(_) if digits => Ok(()),
        _ => Err("must be a whole number, 0 or more".to_owned()),
    }
}

/// Longest name of a network interface: the kernel's IFNAMSIZ without its final NUL.
const INTERFACE_NAME: usize = 15;

fn interfaces(value: &str) -> Result<(), String> {
    value.split(',').try_for_each(|name| {
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic());
        let continues = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if starts && continues && name.len() <= INTERFACE_NAME {
            Ok(())
        } else {
            Err(format!(
                "{name:?} is not the name of a network interface (a letter, then letters, digits, `_`, `.`, `-`, \
                 {INTERFACE_NAME} at most)"
            ))
        }
    })
}

fn quantity(value: &str) -> Result<(), String> {
    if is_quantity(value) {
        Ok(())
    } else {
        Err("must be a quantity such as 100m, 0.5, 128Mi".to_owned())
    }
}

/// The grammar of Kubernetes' `resource.Quantity`: sign, decimal number, then a binary, decimal or exponent suffix.
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let is_number = number.bytes().any(|b| b.is_ascii_digit())
        && number.bytes().filter(|&b| b == b'.').count() <= 1;
    let exponent = || {
        let digits = suffix.strip_prefix(['e', 'E'])?;
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    let known = matches!(
        suffix,
        "" | "n"
            | "u"
            | "m"
            | "k"
            | "M"
            | "G"
            | "T"
            | "P"
            | "E"
            | "Ki"
            | "Mi"
            | "Gi"
            | "Ti"
            | "Pi"
            | "Ei"
    );
    is_number && (known || exponent().is_some())
}

/// The items of a comma-separated list; none for an empty text.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(move |_| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_told_from_texts() {
        for good in [
            "100m", "128Mi", "2", "1Gi", "0.5", "1e3", "1E", "+1", "12E-2", ".5", "5.",
        ] {
            assert!(is_quantity(good), "{good}");
        }
        let injected = "100m\"\n  - name: injected\n    image: \"busybox";
        for bad in [
            injected, "100m\r", "100m\t", "100m\0", "invalid", "", "m", "1.2.3", "1e", ".",
        ] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn every_problem_of_a_pod_is_reported() {
        let pod = json!({ "metadata": { "annotations": {
            INTERCEPTION_MODE: "redirect",
            INCLUDE_OUTBOUND_IP_RANGES: "*",
            EXCLUDE_OUTBOUND_IP_RANGES: "*",
            EXCLUDE_INBOUND_PORTS: "80,http",
            REROUTE_VIRTUAL_INTERFACES: "eth0,,eth1",
            STATUS_PORT: "70000",
            MERGE_METRICS: "maybe",
        }}, "spec": {} });
        let problems: Vec<_> = check(&Pod::new(&pod, "").unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(problems.join("\n"), @r#"
        invalid value "redirect" for annotation "sidecar.istio.io/interceptionMode": must be REDIRECT, TPROXY or NONE
        invalid value "*" for annotation "traffic.sidecar.istio.io/excludeOutboundIPRanges": "*" is not a CIDR block such as 10.0.0.0/8
        invalid value "80,http" for annotation "traffic.sidecar.istio.io/excludeInboundPorts": "http" is not a port (0 to 65535)
        invalid value "eth0,,eth1" for annotation "istio.io/reroute-virtual-interfaces": "" is not the name of a network interface (a letter, then letters, digits, `_`, `.`, `-`, 15 at most)
        invalid value "70000" for annotation "status.sidecar.istio.io/port": "70000" is not a port (0 to 65535)
        invalid value "maybe" for annotation "prometheus.istio.io/merge-metrics": must be true or false
        "#);
    }
}
