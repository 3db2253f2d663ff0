//! Servers of Gateways that lead nowhere.

use crate::analysis::attachments;
use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::networking::{GatewaySpec, Server, ServerTLSmode};

use super::{Inspected, Report};

/// Every server has a route, but those that need none: redirects to HTTPS, and passing through by SNI between networks.
pub(super) fn servers_have_routes(
    view: &View<'_>,
    gateway: &Inspected<'_, GatewaySpec>,
    report: &mut Report<'_>,
) {
    let attached = attachments::of_gateway(view, gateway.key, gateway.spec);
    for (index, (server, attached)) in gateway.spec.servers.iter().zip(&attached).enumerate() {
        if attached.routes() > 0 || needs_none(server) {
            continue;
        }
        let why = if attached.by.is_empty() {
            "no VirtualService names this Gateway and has a host of the server".to_owned()
        } else {
            format!(
                "none of the routes of {} is for this port and protocol",
                crate::api::text::enumeration(attached.by.iter().map(|(key, _)| key))
            )
        };
        report.say(
            &say::SERVER_WITHOUT_ROUTES,
            format!("spec.servers[{index}]"),
            format!("the server has no route: {why}"),
        );
    }
}

fn needs_none(server: &Server) -> bool {
    server
        .tls
        .as_ref()
        .is_some_and(|tls| tls.https_redirect || tls.mode == ServerTLSmode::AutoPassthrough)
}
