//! Gateways that VirtualServices name.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::networking::{GatewaySpec, VirtualServiceSpec};
use crate::model::{Host, MESH_GATEWAY};
use crate::world::ObjectKey;

use super::nearest::misspelling;
use super::{Inspected, Report};

/// Every Gateway that is named exists, and one of its servers serves a host of the object.
/// Istio: IST0101 (gateway), IST0132, which is said beside the former too.
pub(super) fn gateways_exist_and_serve_the_hosts(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    for (i, written) in object.spec.gateways.iter().enumerate() {
        let Some(key) = gateway_key(written, namespace) else {
            continue;
        };
        let path = format!("spec.gateways[{i}]");
        let gateway = view.object::<GatewaySpec>(&key);
        if gateway.is_none() {
            let names: Vec<&str> = view
                .objects::<GatewaySpec>(&key.namespace)
                .map(|(key, _)| &*key.name)
                .collect();
            let hint = misspelling(&key.name, names)
                .map(|name| format!("; did you mean \"{name}\"?"))
                .unwrap_or_default();
            report.say(
                &say::GATEWAY_NOT_FOUND,
                &path,
                format!(
                    "Gateway {}/{} does not exist{hint}",
                    key.namespace, key.name
                ),
            );
        }
        let served = match gateway.map(|gateway| gateway.spec()) {
            Some(None) => continue,
            Some(Some(spec)) => hosts_for(spec, &key.namespace, namespace),
            None => Vec::new(),
        };
        let fits = |host: &String| served.iter().any(|server| server.covers(&Host::new(host)));
        if !object.spec.hosts.iter().any(fits) {
            let serves = served
                .iter()
                .map(Host::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let serves = if serves.is_empty() {
                "no host for this namespace".to_owned()
            } else {
                serves
            };
            report.say(
                &say::HOST_NOT_IN_GATEWAY,
                &path,
                format!(
                    "Gateway {}/{} serves none of the hosts {}; it serves {serves}",
                    key.namespace,
                    key.name,
                    object.spec.hosts.join(", ")
                ),
            );
        }
    }
}

/// The Gateway that an entry of `gateways` names: `namespace/name`, or a name in the object's own namespace, or
/// (in old objects) `name.namespace.svc.…`. `None` for `mesh`.
pub(super) fn gateway_key(written: &str, namespace: &str) -> Option<ObjectKey> {
    if written == MESH_GATEWAY {
        return None;
    }
    let (namespace, name) = match written.split_once('/') {
        Some((".", name)) => (namespace, name),
        Some((other, name)) => (other, name),
        None => match written.split_once('.') {
            Some((name, rest)) => (rest.split('.').next().unwrap_or(rest), name),
            None => (namespace, written),
        },
    };
    Some(ObjectKey::new(Kind::Gateway, namespace, name))
}

/// The hosts that a Gateway's servers offer to VirtualServices of a namespace. A host may be written `namespace/host`,
/// with `.` for the Gateway's own namespace and `*` for all.
fn hosts_for(gateway: &GatewaySpec, own: &str, client: &str) -> Vec<Host> {
    let hosts = gateway.servers.iter().flat_map(|server| &server.hosts);
    hosts
        .filter_map(|host| match host.split_once('/') {
            None => Some(host.as_str()),
            Some(("*", host)) => Some(host),
            Some((".", host)) => (own == client).then_some(host),
            Some((namespace, host)) => (namespace == client).then_some(host),
        })
        .map(Host::new)
        .collect()
}
