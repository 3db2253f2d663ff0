//! Checks of values that many messages have: durations, ports, names, selectors, visibility.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::networking::{Destination, Percent, PolicyTargetReference, PortSelector};
use crate::api::parse::{self, Duration};

use super::report::Field;

const MILLISECOND: i64 = 1_000_000;

/// A duration of at least a millisecond, in whole milliseconds.
pub fn duration(at: &Field<'_>, value: &Option<Duration>) {
    let Some(value) = value else { return };
    if value.as_nanos() < MILLISECOND {
        at.invalid(format!("{value} is too short; the least is 1ms"));
    } else if value.as_nanos() % MILLISECOND != 0 {
        at.invalid(format!("{value} is not in whole milliseconds"));
    }
}

/// A duration that may be zero, which turns something off.
pub fn duration_or_zero(at: &Field<'_>, value: &Option<Duration>) {
    if value.is_some_and(|value| value.as_nanos() != 0) {
        duration(at, value);
    }
}

/// A port number.
pub fn port(at: &Field<'_>, number: u32) {
    if !parse::is_port(number) {
        at.invalid(format!("{number} is not a port; ports are 1 to 65535"));
    }
}

/// A port number where 0 means that none is given.
pub fn optional_port(at: &Field<'_>, number: u32) {
    if number != 0 {
        port(at, number);
    }
}

/// A port of a service.
pub fn port_selector(at: &Field<'_>, selector: &Option<PortSelector>) {
    if let Some(selector) = selector {
        port(&at.member("number"), selector.number);
    }
}

/// A number that must not be negative.
pub fn not_negative(at: &Field<'_>, number: i32) {
    if number < 0 {
        at.invalid(format!("{number} is negative"));
    }
}

/// A whole percentage.
pub fn whole_percent(at: &Field<'_>, number: i64) {
    if !(0..=100).contains(&number) {
        at.invalid(format!("{number} is not a percentage from 0 to 100"));
    }
}

/// A percentage.
pub fn percent(at: &Field<'_>, value: &Option<Percent>) {
    at_percent(at, value.as_ref().map(|percent| percent.value));
}

fn at_percent(at: &Field<'_>, value: Option<f64>) {
    if let Some(value) = value
        && !(0.0..=100.0).contains(&value)
    {
        at.member("value")
            .invalid(format!("{value} is not a percentage from 0 to 100"));
    }
}

/// Labels of a selector or of an endpoint.
pub fn labels(at: &Field<'_>, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        let at = at.key(key);
        let (prefix, name) = key
            .rsplit_once('/')
            .map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !is_label_text(name) || name.is_empty() {
            at.invalid(format!("{key:?} is not a label's key: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends"));
        }
        if prefix.is_some_and(|prefix| parse::dns_name(prefix).is_err()) {
            at.invalid(format!("the prefix of {key:?} is not a DNS name"));
        }
        if !is_label_text(value) {
            at.invalid(format!("{value:?} is not a label's value: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends"));
        }
    }
}

fn is_label_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && bytes.iter().all(|byte| inner(*byte))
        && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

/// The labels of a selector: no wildcards, and empty ones select everything, which deserves a remark.
pub fn selector(at: &Field<'_>, selected: &BTreeMap<String, String>) {
    if selected.is_empty() {
        at.questionable("selects every workload of the namespace, as if it were left out");
    }
    for (key, value) in selected {
        let at = at.key(key);
        if key.is_empty() {
            at.invalid("a label's key must not be empty");
        }
        if key.contains('*') || value.contains('*') {
            at.invalid("wildcards are not supported in a selector");
        }
    }
}

/// An object of the same namespace.
pub fn target_reference(at: &Field<'_>, reference: &PolicyTargetReference) {
    for (name, text) in [("kind", &reference.kind), ("name", &reference.name)] {
        if text.is_empty() {
            at.member(name).invalid("is needed");
        }
    }
    if !reference.namespace.is_empty() {
        at.member("namespace")
            .invalid("references to other namespaces are not supported");
    }
}

/// Texts of which none may be empty.
pub fn not_empty(at: &Field<'_>, texts: &[String]) {
    for (index, text) in texts.iter().enumerate() {
        if text.is_empty() {
            at.index(index).invalid("must not be empty");
        }
    }
}

/// The name of a subset.
pub fn subset_name(at: &Field<'_>, name: &str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = [name.bytes().next(), name.bytes().last()];
    if name.is_empty() {
        at.invalid("a subset needs a name");
    } else if name.len() > 63
        || !name.bytes().all(allowed)
        || !ends
            .into_iter()
            .flatten()
            .all(|byte| byte.is_ascii_alphanumeric())
    {
        at.invalid(format!(
            "{name:?} is not a name of at most 63 letters, digits, '-', '_' and '.'"
        ));
    }
}

/// A destination of traffic. What it names need not exist for it to be valid.
pub fn destination(at: &Field<'_>, destination: &Destination) {
    let host = at.member("host");
    match destination.host.as_str() {
        "" => host.invalid("a destination needs a host"),
        "*" => host.invalid("'*' is not a destination; name a service"),
        name => host.check(parse::wildcard_name(name)),
    }
    if !destination.subset.is_empty() {
        subset_name(&at.member("subset"), &destination.subset);
    }
    port_selector(&at.member("port"), &destination.port);
}

/// Whose list of namespaces it is; what may stand in it differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ExportTo {
    /// Most objects.
    Common,
    /// A ServiceEntry may be visible to nobody (`~`).
    ServiceEntry,
    /// A DestinationRule for selected workloads stays in its namespace.
    SelectingRule,
}

/// The namespaces that see an object of `namespace`.
pub fn export_to(at: &Field<'_>, list: &[String], namespace: &str, owner: ExportTo) {
    let mut seen = BTreeSet::new();
    for (index, entry) in list.iter().enumerate() {
        let at = at.index(index);
        let key = if entry == "." { namespace } else { entry };
        if !seen.insert(key) {
            at.invalid(format!(
                "{entry:?} is there twice; '.' is the object's own namespace {namespace:?}"
            ));
        }
        match entry.as_str() {
            "." | "*" => {}
            "~" if owner == ExportTo::ServiceEntry => {}
            "~" => at.invalid("only a ServiceEntry can be exported to nobody"),
            name => at.check(parse::dns_label(name)),
        }
    }
    for alone in ["*", "~"] {
        if seen.contains(alone) && seen.len() > 1 {
            at.invalid(format!("{alone:?} cannot stand beside other entries"));
        }
    }
    if owner == ExportTo::SelectingRule && seen.iter().any(|key| *key != namespace) {
        at.invalid("a DestinationRule with a workloadSelector is for its own namespace; only '.' can stand here");
    }
}

/// Names of Gateways, where routes say at which they apply.
pub fn gateway_names(at: &Field<'_>, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        let at = at.index(index);
        let Some((namespace, name)) = name.split_once('/') else {
            at.check(parse::dns_name(name));
            if let Some((name, rest)) = name.split_once('.') {
                let namespace = rest.split('.').next().unwrap_or(rest);
                at.questionable(format!(
                    "gateways are written namespace/name: {namespace}/{name}"
                ));
            }
            continue;
        };
        if namespace.is_empty() || name.is_empty() {
            at.invalid("namespace and name of a gateway must not be empty");
        } else {
            at.check(parse::dns_label(namespace).and_then(|()| parse::dns_name(name)));
        }
    }
}

/// Members of which at most one can be set.
pub fn only_one(at: &Field<'_>, members: &[(&str, bool)]) {
    let set: Vec<&str> = members
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    if set.len() > 1 {
        at.invalid(format!("only one of {} can be set", set.join(", ")));
    }
}

/// The path of a Unix domain socket: of a file, or `@name` for an abstract one.
pub fn socket_path(at: &Field<'_>, path: &str) {
    if !path.starts_with(['/', '@']) {
        at.invalid(format!(
            "{path:?} is neither an absolute path nor the @name of an abstract socket"
        ));
    } else if path.ends_with('/') || path.len() < 2 {
        at.invalid(format!("{path:?} is not the path of a file"));
    }
}
