//! ServiceEntries: what their ports capture.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::ServiceEntrySpec;
use crate::model::Port;
use crate::world::StoredStatus;

use super::{Inspected, Report};

/// With how many others of one host that are exported alike a ServiceEntry is compared.
const MOST_RIVALS: usize = 64;

/// A TCP port needs an address to be told apart from other traffic to that port. Istio: IST0134, once for each port.
pub(super) fn tcp_ports_have_addresses(
    view: &View<'_>,
    object: &Inspected<'_, ServiceEntrySpec>,
    report: &mut Report<'_>,
) {
    let allocated = object.status.is_some_and(StoredStatus::has_addresses);
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

/// Every other ServiceEntry for one of its hosts, seen from where this one is, gives a port the same protocol.
/// Istio: IST0177, once for each ServiceEntry.
pub(super) fn ports_have_one_protocol(
    view: &View<'_>,
    object: &Inspected<'_, ServiceEntrySpec>,
    report: &mut Report<'_>,
) {
    for host in &object.spec.hosts {
        let host = view.resolve(host, &object.key.namespace);
        let found = view.service_with_rivals(&host, object.meta.created, object.key, MOST_RIVALS);
        let Some((own, rivals)) = found else {
            continue;
        };
        for (index, port) in own.ports.iter().enumerate() {
            let differs = |other: &&Port| {
                other.number == port.number && !other.protocol.eq_ignore_ascii_case(&port.protocol)
            };
            let mut rivals = rivals.iter();
            let rival = rivals.find_map(|other| Some((other, other.ports.iter().find(differs)?)));
            if let Some((other, theirs)) = rival {
                let text = format!(
                    "port {} of {host} is {} here, and {} in {}",
                    port.number,
                    named(&port.protocol),
                    named(&theirs.protocol),
                    other.source
                );
                let path = format!("spec.ports[{index}].protocol");
                report
                    .say(&say::ENTRY_PROTOCOLS_DIFFER, path, text)
                    .concerning(&other.source);
                return;
            }
        }
    }
}

fn named(protocol: &str) -> String {
    if protocol.is_empty() {
        "of no protocol".to_owned()
    } else {
        protocol.to_uppercase()
    }
}
