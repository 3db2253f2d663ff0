//! DestinationRules: the service that they are for exists.

use crate::analysis::diagnoses as say;
use crate::analysis::view::{MOST_SERVICES, View};
use crate::api::networking::{ClientTLSSettings, ClientTLSmode, DestinationRuleSpec};
use crate::model::{Host, Visibility};

use super::destinations::unknown_host;
use super::{Inspected, Report};

/// The host is a service that the object's namespace sees; a wildcard covers at least one. Istio: IST0174, but for a service
/// of the object's own namespace which others see: they look for rules there, as all do in the root namespace.
pub(super) fn host_exists(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let written = &object.spec.host;
    if written.is_empty() {
        return;
    }
    let namespace = &object.key.namespace;
    let host = view.resolve(written, namespace);
    if view.services(&host, [namespace]).is_empty()
        && view.services_below(&host, namespace).next().is_none()
    {
        if is_for_others(view, object, &host) {
            return;
        }
        let mut limited = view.limited_services(&host);
        let own = limited.find(|service| service.source.namespace == *namespace);
        let hidden = own.or_else(|| view.any_service(&host));
        let text = unknown_host(view, object.key, written, &host, hidden, report);
        let message = report.say(&say::UNKNOWN_RULE_HOST, "spec.host", text);
        if let Some(hidden) = hidden {
            message.concerning(&hidden.source);
        }
    }
}

/// Whether some who see a service that the rule's namespace does not see look for rules there, and see this one; assumed
/// where there are too many such services to know.
fn is_for_others(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    host: &Host,
) -> bool {
    if object.spec.workload_selector.is_some() {
        return false;
    }
    let namespace = &object.key.namespace;
    let settings = view.settings();
    let default = &settings.default_destination_rule_export_to;
    let visibility = Visibility::of(&object.spec.export_to, default, namespace);
    let is_root = **namespace == *settings.root_namespace;
    let mut looked_at = 0;
    let mut limited = view.limited_services(host).inspect(|_| looked_at += 1);
    let found = limited.any(|service| {
        let is_looked_for = is_root || service.source.namespace == *namespace;
        is_looked_for && visibility.overlaps(&service.visibility)
    });
    found || looked_at >= MOST_SERVICES
}

/// TLS that the proxy originates names what the server's certificate is verified with. Istio: IST0128, IST0129.
pub(super) fn tls_verifies_the_server(
    _: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let Some(policy) = &object.spec.traffic_policy else {
        return;
    };
    let reads_credentials = object.spec.workload_selector.is_some();
    if policy
        .tls
        .as_ref()
        .is_some_and(|tls| trusts_anyone(tls, reads_credentials))
    {
        report.say(
            &say::UNVERIFIED_SERVER,
            "spec.trafficPolicy.tls.caCertificates",
            unverified(reads_credentials),
        );
    }
    for (i, port) in policy.port_level_settings.iter().enumerate() {
        if port
            .tls
            .as_ref()
            .is_some_and(|tls| trusts_anyone(tls, reads_credentials))
        {
            let path = format!("spec.trafficPolicy.portLevelSettings[{i}].tls.caCertificates");
            report.say(
                &say::UNVERIFIED_SERVER_PORT,
                path,
                unverified(reads_credentials),
            );
        }
    }
}

/// Sidecars read `credentialName` only under a workload selector.
fn trusts_anyone(tls: &ClientTLSSettings, reads_credentials: bool) -> bool {
    let originates = matches!(tls.mode, ClientTLSmode::Simple | ClientTLSmode::Mutual);
    let credential = reads_credentials && !tls.credential_name.is_empty();
    originates
        && tls.ca_certificates.is_empty()
        && !credential
        && tls.insecure_skip_verify != Some(true)
}

fn unverified(reads_credentials: bool) -> String {
    let credential = if reads_credentials {
        " or credentialName"
    } else {
        ""
    };
    format!(
        "the server's certificate is not verified by an authority of your own; set caCertificates{credential}"
    )
}
