//! DestinationRules: the service that they are for exists.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::DestinationRuleSpec;

use super::destinations::unknown_host;
use super::{Inspected, Report};

/// The host is a service that the object's namespace sees; a wildcard covers at least one. Istio: IST0174.
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
    let known = view.services(&host);
    let visible = known
        .iter()
        .any(|service| service.visibility.includes(namespace))
        || view
            .services_below(&host)
            .iter()
            .any(|service| service.visibility.includes(namespace));
    if !visible {
        report.say(
            &say::UNKNOWN_RULE_HOST,
            "spec.host",
            unknown_host(view, object.key, written, &host, &known),
        );
    }
}
