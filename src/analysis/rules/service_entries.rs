//! ServiceEntries: what their ports capture.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::ServiceEntrySpec;

use super::{Inspected, Report};

/// A TCP port needs an address to be told apart from other traffic to that port. Istio: IST0134, once for each port.
pub(super) fn tcp_ports_have_addresses(
    view: &View<'_>,
    object: &Inspected<'_, ServiceEntrySpec>,
    report: &mut Report<'_>,
) {
    let allocated = object.status.is_some_and(|status| {
        status["addresses"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    });
    if !object.spec.addresses.is_empty() || allocated || view.settings().allocates_addresses {
        return;
    }
    for (i, port) in object.spec.ports.iter().enumerate() {
        if port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("TCP") {
            let text = format!(
                "port {} is TCP, so without spec.addresses this entry takes all traffic to that port, whatever its host",
                port.number
            );
            report.say(
                &say::ADDRESSES_REQUIRED,
                format!("spec.ports[{i}].name"),
                text,
            );
        }
    }
}
