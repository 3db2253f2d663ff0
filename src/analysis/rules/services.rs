//! Services of Kubernetes: the protocols of their ports.

use crate::analysis::diagnoses as say;
use crate::analysis::validation::Protocol;
use crate::analysis::view::View;
use crate::inject::policy::IGNORED_NAMESPACES;
use crate::world::{ServicePort, ServiceSpec};

use super::workloads::is_control_planes;
use super::{Inspected, Report};

/// Ports whose protocol is not looked for: SMTP, DNS, MySQL and MongoDB let the server speak first.
const WELL_KNOWN: [u16; 4] = [25, 53, 3306, 27017];

/// The name or the `appProtocol` of each port tells its protocol. Istio: IST0118, IST0150.
pub(super) fn ports_tell_their_protocol(
    _: &View<'_>,
    object: &Inspected<'_, ServiceSpec>,
    report: &mut Report<'_>,
) {
    if IGNORED_NAMESPACES.contains(&&*object.key.namespace) || is_control_planes(object.meta) {
        return;
    }
    let is_external = object.spec.service_type == "ExternalName";
    for (index, port) in object.spec.ports.iter().enumerate() {
        let path = || format!("spec.ports[{index}].name");
        let is_known = tells_protocol(port);
        if is_external && (!is_known || port.name == "tcp") {
            let text = format!(
                "port {} of a Service of type ExternalName is named \"{}\"",
                port.port, port.name
            );
            report.say(&say::EXTERNAL_NAME_PORT, path(), text);
        } else if !is_known {
            let text = format!(
                "neither name \"{}\" nor appProtocol tells what port {} speaks",
                port.name, port.port
            );
            report.say(&say::PORT_WITHOUT_PROTOCOL, path(), text);
        }
    }
}

fn tells_protocol(port: &ServicePort) -> bool {
    if port.protocol == "UDP" {
        return true;
    }
    let name = if port.app_protocol.is_empty() {
        port.name.as_str()
    } else {
        port.app_protocol.as_str()
    };
    let is_kubernetes = matches!(
        name,
        "kubernetes.io/h2c" | "kubernetes.io/ws" | "kubernetes.io/wss"
    );
    let is_grpc_web = name
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("grpc-web"));
    let first = name.split('-').next().unwrap_or(name);
    is_kubernetes
        || is_grpc_web
        || Protocol::parse(first).is_some()
        || WELL_KNOWN.contains(&port.port)
}
