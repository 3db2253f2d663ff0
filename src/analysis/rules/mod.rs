//! The table of rules, and what they have in common. One file per concern.

mod attachments;
mod conflicts;
mod credentials;
mod destination_rules;
mod destinations;
mod gateway_ports;
mod gateways;
mod nearest;
mod service_entries;
mod sidecars;
mod validity;

use serde_json::Value;

use crate::api::metadata::Metadata;
use crate::api::networking::{
    DestinationRuleSpec, GatewaySpec, ServiceEntrySpec, SidecarSpec, VirtualServiceSpec,
};
use crate::world::{Content, ObjectKey};

use super::diagnoses as say;
use super::message::{Diagnosis, Message};
use super::view::View;

pub(super) use gateways::server_hosts_for;

/// One check, for the objects of one kind.
pub struct Rule {
    /// What it may say.
    pub says: &'static [&'static Diagnosis],
    check: Check,
}

/// What a rule looks at. A rule for a kind runs on objects that decode.
enum Check {
    Any(fn(&View<'_>, &ObjectKey, &mut Report<'_>)),
    VirtualService(On<VirtualServiceSpec>),
    DestinationRule(On<DestinationRuleSpec>),
    Gateway(On<GatewaySpec>),
    ServiceEntry(On<ServiceEntrySpec>),
    Sidecar(On<SidecarSpec>),
}

type On<S> = for<'a> fn(&View<'a>, &Inspected<'a, S>, &mut Report<'_>);

/// All rules.
pub static RULES: &[Rule] = &[
    Rule {
        says: &[
            &say::INVALID,
            &say::QUESTIONABLE,
            &say::UNREACHABLE_ROUTE,
            &say::INEFFECTIVE_MATCH,
        ],
        check: Check::Any(validity::objects_are_valid),
    },
    Rule {
        says: &[
            &say::HOST_NOT_FOUND,
            &say::PORT_NOT_FOUND,
            &say::PORT_REQUIRED,
        ],
        check: Check::VirtualService(destinations::hosts_and_ports_exist),
    },
    Rule {
        says: &[&say::SUBSET_NOT_FOUND],
        check: Check::VirtualService(destinations::subsets_exist),
    },
    Rule {
        says: &[
            &say::GATEWAY_NOT_FOUND,
            &say::HOST_NOT_IN_GATEWAY,
            &say::INTERNAL_GATEWAY,
        ],
        check: Check::VirtualService(gateways::gateways_exist_and_serve_the_hosts),
    },
    Rule {
        says: &[&say::ROUTES_CONFLICT, &say::ROUTES_CONTESTED],
        check: Check::VirtualService(conflicts::mesh_hosts_are_routed_once),
    },
    Rule {
        says: &[&say::UNKNOWN_RULE_HOST],
        check: Check::DestinationRule(destination_rules::host_exists),
    },
    Rule {
        says: gateway_ports::SAYS,
        check: Check::Gateway(gateway_ports::ports_are_exposed),
    },
    Rule {
        says: credentials::SAYS,
        check: Check::Gateway(credentials::credentials_are_usable),
    },
    Rule {
        says: &[&say::CERTIFICATE_SHARED],
        check: Check::Gateway(credentials::certificates_are_used_once),
    },
    Rule {
        says: &[&say::SERVER_WITHOUT_ROUTES],
        check: Check::Gateway(attachments::servers_have_routes),
    },
    Rule {
        says: &[&say::UNVERIFIED_SERVER, &say::UNVERIFIED_SERVER_PORT],
        check: Check::DestinationRule(destination_rules::tls_verifies_the_server),
    },
    Rule {
        says: &[&say::WORKLOAD_NOT_FOUND],
        check: Check::Gateway(gateways::selector_matches_a_pod),
    },
    Rule {
        says: &[&say::GATEWAYS_CONFLICT],
        check: Check::Gateway(gateways::servers_are_defined_once),
    },
    Rule {
        says: &[&say::ADDRESSES_REQUIRED],
        check: Check::ServiceEntry(service_entries::tcp_ports_have_addresses),
    },
    Rule {
        says: &[
            &say::WORKLOAD_NOT_FOUND,
            &say::SIDECARS_CONFLICT,
            &say::SIDECARS_AMBIGUOUS,
        ],
        check: Check::Sidecar(sidecars::workloads_have_one_sidecar),
    },
];

/// The object under inspection.
pub(super) struct Inspected<'a, S> {
    key: &'a ObjectKey,
    meta: &'a Metadata,
    spec: &'a S,
    status: Option<&'a Value>,
}

/// Takes what rules say about one object.
pub(super) struct Report<'a> {
    object: &'a ObjectKey,
    messages: Vec<Message>,
}

impl Report<'_> {
    /// Adds a message; other objects that it is about are told by [`Message::concerning`].
    fn say(
        &mut self,
        diagnosis: &Diagnosis,
        path: impl Into<String>,
        text: impl Into<String>,
    ) -> &mut Message {
        self.messages
            .push_mut(diagnosis.message(self.object, path, text))
    }
}

/// What all rules say about an object.
pub(super) fn run(view: &View<'_>, key: &ObjectKey) -> Vec<Message> {
    let mut report = Report {
        object: key,
        messages: Vec::new(),
    };
    for rule in RULES {
        match rule.check {
            Check::Any(check) => check(view, key, &mut report),
            Check::VirtualService(check) => inspect(view, key, check, &mut report),
            Check::DestinationRule(check) => inspect(view, key, check, &mut report),
            Check::Gateway(check) => inspect(view, key, check, &mut report),
            Check::ServiceEntry(check) => inspect(view, key, check, &mut report),
            Check::Sidecar(check) => inspect(view, key, check, &mut report),
        }
    }
    report.messages
}

fn inspect<S: Content>(view: &View<'_>, key: &ObjectKey, check: On<S>, report: &mut Report<'_>) {
    if key.kind != S::KIND {
        return;
    }
    let Some(object) = view.object::<S>(key) else {
        return;
    };
    if let Some(spec) = object.spec() {
        check(
            view,
            &Inspected {
                key,
                meta: &object.meta,
                spec,
                status: object.status.as_ref(),
            },
            report,
        );
    }
}
