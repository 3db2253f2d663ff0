//! Webhooks of control planes: no pod is injected twice, and whoever is called is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::labels::{INJECT, REVISION};
use crate::api::text::enumeration;
use crate::world::{
    MutatingWebhookConfigurationSpec, ObjectKey, ServiceSpec, ValidatingWebhookConfigurationSpec,
    Webhook,
};

use super::workloads::is_injectors;
use super::{Inspected, Report};

type Labels = BTreeMap<String, String>;

/// A webhook of an injector, with the object that it is in.
struct Injector<'a> {
    configuration: &'a ObjectKey,
    webhook: &'a Webhook,
}

/// No pod is injected twice, and the Service of each injection webhook exists. Istio: IST0139.
pub(super) fn injectors_do_not_overlap(
    view: &View<'_>,
    object: &Inspected<'_, MutatingWebhookConfigurationSpec>,
    report: &mut Report<'_>,
) {
    let (injectors, revisions) = injectors(view);
    if !injectors
        .iter()
        .any(|injector| injector.configuration == object.key)
    {
        return;
    }
    let situations = situations(&revisions);
    for (index, webhook) in object.spec.0.iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let asked = |webhook: &Webhook, (namespace, pod): &(Labels, Labels)| {
            webhook.namespace_selector.matches(namespace) && webhook.object_selector.matches(pod)
        };
        let mine: Vec<&(Labels, Labels)> = situations
            .iter()
            .filter(|situation| asked(webhook, situation))
            .collect();
        let is_other = |other: &&Injector<'_>| {
            other.configuration != object.key || other.webhook.name != webhook.name
        };
        let overlapping = injectors
            .iter()
            .filter(is_other)
            .filter(|other| mine.iter().any(|situation| asked(other.webhook, situation)));
        let overlapping: Vec<&Injector<'_>> = overlapping.collect();
        if !overlapping.is_empty() {
            let named = overlapping
                .iter()
                .map(|other| format!("{} of {}", other.webhook.name, other.configuration));
            let text = format!(
                "webhook {} is asked about pods that {} is asked about too",
                webhook.name,
                enumeration(named)
            );
            let message = report.say(&say::INJECTORS_OVERLAP, &path, text);
            for other in overlapping
                .iter()
                .filter(|other| other.configuration != object.key)
            {
                message.concerning(other.configuration);
            }
        }
        if let Some(service) = &webhook.client_config.service {
            let key = ObjectKey::new(Kind::Service, &*service.namespace, &*service.name);
            if view.object::<ServiceSpec>(&key).is_none() {
                let text = format!("webhook {} calls {key}, which does not exist", webhook.name);
                let path = format!("{path}.clientConfig.service");
                report.say(&say::INJECTORS_SERVICE_MISSING, path, text);
            }
        }
    }
}

/// The webhooks of all injectors, and the revisions that they or their configurations name.
fn injectors<'a>(view: &View<'a>) -> (Vec<Injector<'a>>, BTreeSet<&'a str>) {
    let (mut found, mut revisions) = (Vec::new(), BTreeSet::new());
    for (configuration, object) in view.all::<MutatingWebhookConfigurationSpec>() {
        let Some(spec) = object.spec() else { continue };
        let own = object.meta.labels.get(REVISION).map(String::as_str);
        let selected = spec.0.iter().flat_map(|webhook| {
            let namespaces = webhook.namespace_selector.values_of(REVISION);
            namespaces.chain(webhook.object_selector.values_of(REVISION))
        });
        let named: BTreeSet<&str> = own.into_iter().chain(selected).collect();
        if named.is_empty() && !spec.0.iter().any(|webhook| is_injectors(&webhook.name)) {
            continue;
        }
        revisions.extend(named);
        found.extend(spec.0.iter().map(|webhook| Injector {
            configuration,
            webhook,
        }));
    }
    (found, revisions)
}

/// The labels that namespaces and pods may have, as far as injectors look at them.
fn situations(revisions: &BTreeSet<&str>) -> Vec<(Labels, Labels)> {
    let labels = |name: &'static str, values: [&str; 2]| {
        let mut all = vec![Labels::new()];
        all.extend(values.map(|value| Labels::from([(name.to_owned(), value.to_owned())])));
        let mut revised = Vec::new();
        for revision in revisions {
            revised.extend(all.iter().cloned().map(|mut labels| {
                labels.insert(REVISION.to_owned(), (*revision).to_owned());
                labels
            }));
        }
        all.extend(revised);
        all
    };
    let pods = labels(INJECT, ["true", "false"]);
    let namespaces = labels("istio-injection", ["enabled", "disabled"]);
    let pairs = namespaces
        .iter()
        .flat_map(|namespace| pods.iter().map(|pod| (namespace.clone(), pod.clone())));
    pairs.collect()
}

/// A control plane outside the cluster is called by a URL with a host name. Istio: IST0163, IST0164.
pub(super) fn external_injectors_have_addresses(
    _: &View<'_>,
    object: &Inspected<'_, MutatingWebhookConfigurationSpec>,
    report: &mut Report<'_>,
) {
    if object.key.name.starts_with("istio-sidecar-injector") {
        have_addresses(&object.spec.0, report);
    }
}

/// The same of the webhooks that validate. Istio: IST0163, IST0164.
pub(super) fn external_validators_have_addresses(
    _: &View<'_>,
    object: &Inspected<'_, ValidatingWebhookConfigurationSpec>,
    report: &mut Report<'_>,
) {
    let name = &*object.key.name;
    if name == "istiod-default-validator" || name.starts_with("istio-validator") {
        have_addresses(&object.spec.0, report);
    }
}

fn have_addresses(webhooks: &[Webhook], report: &mut Report<'_>) {
    for (index, webhook) in webhooks.iter().enumerate() {
        let path = format!("webhooks[{index}].clientConfig.url");
        let client = &webhook.client_config;
        match client.url.as_deref().map(|url| (url, host(url))) {
            Some((url, Some(host))) => {
                let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
                if is_address {
                    let text =
                        format!("\"{url}\" names an address, for which few certificates are");
                    report.say(&say::EXTERNAL_ADDRESS, path, text);
                }
            }
            Some((url, None)) => {
                let text = format!("\"{url}\" is not a URL with a host: https://HOST:PORT/PATH");
                report.say(&say::EXTERNAL_CONFIG_INVALID, path, text);
            }
            None if client.service.is_none() => {
                let text = format!(
                    "webhook {} calls nobody: it has neither url nor service",
                    webhook.name
                );
                report.say(&say::EXTERNAL_CONFIG_INVALID, path, text);
            }
            None => {}
        }
    }
}

/// The host that a URL names; `None` for what is no URL.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    (is_scheme && is_port && is_host).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn host_of_a_url_is_between_scheme_and_port() {
        for (url, expected) in [
            ("https://a.example:15017/inject", Some("a.example")),
            ("https://[::1]:443/x", Some("[::1]")),
            ("https://10.0.0.1", Some("10.0.0.1")),
            ("https://user@a.example/", Some("a.example")),
            ("", None),
            ("a.example", None),
            ("https://a.example:x/", None),
            ("https:///inject", None),
            ("://a", None),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
