//! The table of rules, and what they have in common. One file per concern.

mod annotations;
mod attachments;
mod conflicts;
mod credentials;
mod delegates;
mod deprecations;
mod destination_rules;
mod destinations;
mod envoy_filters;
mod exports;
mod gateway_ports;
mod gateways;
mod injection;
mod nearest;
mod overrides;
mod policies;
mod selectors;
mod service_entries;
mod services;
mod shadowing;
mod sidecars;
mod statuses;
mod subsets;
mod validity;
mod webhooks;
mod workloads;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::api::kind::Kind;
use crate::api::metadata::Metadata;
use crate::api::networking::{
    DestinationRuleSpec, EnvoyFilterSpec, GatewaySpec, ServiceEntrySpec, SidecarSpec,
    VirtualServiceSpec,
};
use crate::api::policies::{
    AuthorizationPolicySpec, RequestAuthenticationSpec, TelemetrySpec, TrafficExtensionSpec,
    WasmPluginSpec,
};
use crate::world::{
    Content, CustomResourceDefinitionSpec, DeploymentSpec, MutatingWebhookConfigurationSpec,
    NamespaceSpec, ObjectKey, PodSpec, ServiceSpec, StoredStatus,
    ValidatingWebhookConfigurationSpec,
};

use super::diagnoses as say;
use super::message::{Diagnosis, Message};
use super::view::View;

use nearest::Hints;

/// One check, for the objects of one kind.
pub struct Rule {
    /// What it may say.
    pub says: &'static [&'static Diagnosis],
    check: Check,
}

/// The kinds for which there are rules, and how a rule runs on an object of its kind.
macro_rules! checks {
    ($($kind:ident($spec:ty),)*) => {
        /// What a rule looks at. A rule for a kind runs on objects that decode.
        enum Check {
            Any(fn(&View<'_>, &ObjectKey, &mut Report<'_>)),
            $( $kind(On<$spec>), )*
        }

        impl Check {
            /// Whether it is for objects of a kind.
            fn is_for(&self, kind: Kind) -> bool {
                match self {
                    Check::Any(_) => true,
                    $( Check::$kind(_) => kind == <$spec>::KIND, )*
                }
            }

            /// Runs the check on an object of a kind that it is for.
            fn run<'a>(&self, view: &View<'a>, key: &'a ObjectKey, report: &mut Report<'_>) {
                match self {
                    Check::Any(check) => check(view, key, report),
                    $( Check::$kind(check) => inspect(view, key, *check, report), )*
                }
            }
        }
    };
}

checks! {
    VirtualService(VirtualServiceSpec),
    DestinationRule(DestinationRuleSpec),
    Gateway(GatewaySpec),
    ServiceEntry(ServiceEntrySpec),
    Sidecar(SidecarSpec),
    EnvoyFilter(EnvoyFilterSpec),
    AuthorizationPolicy(AuthorizationPolicySpec),
    RequestAuthentication(RequestAuthenticationSpec),
    Telemetry(TelemetrySpec),
    WasmPlugin(WasmPluginSpec),
    TrafficExtension(TrafficExtensionSpec),
    Service(ServiceSpec),
    Namespace(NamespaceSpec),
    Pod(PodSpec),
    Deployment(DeploymentSpec),
    MutatingWebhookConfiguration(MutatingWebhookConfigurationSpec),
    ValidatingWebhookConfiguration(ValidatingWebhookConfigurationSpec),
    CustomResourceDefinition(CustomResourceDefinitionSpec),
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
            &say::ROUTE_SHADOWED,
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
        says: &[&say::GATEWAY_NOT_FOUND],
        check: Check::VirtualService(gateways::gateways_of_matches_exist),
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
        check: Check::Sidecar(|view, object, report| {
            selectors::workloads_have_one(view, object, &selectors::SIDECARS, report);
        }),
    },
    Rule {
        says: &[
            &say::MISPLACED_ANNOTATION,
            &say::UNKNOWN_ANNOTATION,
            &say::INVALID_ANNOTATION,
            &say::DEPRECATED_ANNOTATION,
        ],
        check: Check::Any(annotations::annotations_are_right),
    },
    Rule {
        says: &[&say::NEGATIVE_CONDITION],
        check: Check::Any(statuses::conditions_are_good),
    },
    Rule {
        says: &[&say::DEPRECATED],
        check: Check::VirtualService(deprecations::faults_name_a_percentage),
    },
    Rule {
        says: &[&say::CLAIMS_UNCHECKED],
        check: Check::VirtualService(policies::claims_are_checked),
    },
    Rule {
        says: &[&say::SUBSETS_BYPASSED],
        check: Check::VirtualService(subsets::gateways_use_the_subsets_too),
    },
    Rule {
        says: &[&say::SUBSET_WITHOUT_PODS, &say::SUBSET_NOT_READY],
        check: Check::DestinationRule(subsets::subsets_have_pods),
    },
    Rule {
        says: &[&say::SUBSET_UNUSED],
        check: Check::DestinationRule(subsets::subsets_are_used),
    },
    Rule {
        says: &[&say::WEIGHT_TO_NOTHING],
        check: Check::VirtualService(subsets::weights_lead_somewhere),
    },
    Rule {
        says: &[
            &say::DELEGATE_NOT_FOUND,
            &say::DELEGATE_NOT_VISIBLE,
            &say::DELEGATE_HAS_HOSTS,
            &say::DELEGATE_NESTED,
            &say::DELEGATE_CYCLE,
        ],
        check: Check::VirtualService(delegates::delegates_can_be_followed),
    },
    Rule {
        says: &[&say::DELEGATE_MISFIT, &say::ROUTE_SHADOWED],
        check: Check::VirtualService(delegates::delegated_routes_are_reached),
    },
    Rule {
        says: &[&say::DELEGATE_UNUSED],
        check: Check::VirtualService(delegates::delegates_are_used),
    },
    Rule {
        says: &[
            &say::ROUTES_SHADOWED,
            &say::ROUTE_SHADOWED,
            &say::ROUTES_PRECEDED,
        ],
        check: Check::VirtualService(shadowing::gateway_hosts_have_one_virtual_service),
    },
    Rule {
        says: &[
            &say::POLICY_OVERRIDDEN,
            &say::SUBSET_OVERRIDDEN,
            &say::RULE_HIDDEN,
            &say::RULE_REPLACED,
            &say::RULE_OUT_OF_REACH,
        ],
        check: Check::DestinationRule(overrides::rules_of_a_host_agree),
    },
    Rule {
        says: &[&say::SEEN_BY_NOBODY],
        check: Check::VirtualService(exports::routes_are_seen),
    },
    Rule {
        says: &[&say::SEEN_BY_NOBODY],
        check: Check::DestinationRule(exports::rules_are_seen),
    },
    Rule {
        says: &[&say::SEEN_BY_NOBODY],
        check: Check::ServiceEntry(exports::entries_are_seen),
    },
    Rule {
        says: &[&say::PORT_PENDING],
        check: Check::Gateway(gateway_ports::ports_are_on_a_service),
    },
    Rule {
        says: &[&say::ENTRY_PROTOCOLS_DIFFER],
        check: Check::ServiceEntry(service_entries::ports_have_one_protocol),
    },
    Rule {
        says: &[&say::DEPRECATED],
        check: Check::Sidecar(deprecations::sidecars_name_no_egress_proxy),
    },
    Rule {
        says: &[&say::POLICY_INEFFECTIVE],
        check: Check::Sidecar(sidecars::pods_have_sidecars),
    },
    Rule {
        says: &[
            &say::RELATIVE_WITHOUT_PRIORITY,
            &say::REPLACE_INEFFECTIVE,
            &say::ADD_INEFFECTIVE,
            &say::REMOVE_INEFFECTIVE,
            &say::RELATIVE_TO_VERSIONED,
        ],
        check: Check::EnvoyFilter(envoy_filters::patches_can_apply),
    },
    Rule {
        says: &[&say::POLICY_WITHOUT_WORKLOADS],
        check: Check::AuthorizationPolicy(policies::authorization_policies_select_workloads),
    },
    Rule {
        says: &[&say::NAMESPACE_NOT_FOUND],
        check: Check::AuthorizationPolicy(policies::namespaces_of_rules_exist),
    },
    Rule {
        says: &[&say::SELECTOR_INEFFECTIVE],
        check: Check::AuthorizationPolicy(policies::selectors_mean_no_kubernetes_gateway),
    },
    Rule {
        says: &[&say::SELECTOR_INEFFECTIVE],
        check: Check::RequestAuthentication(policies::selectors_mean_no_kubernetes_gateway),
    },
    Rule {
        says: &[&say::SELECTOR_INEFFECTIVE],
        check: Check::Telemetry(policies::selectors_mean_no_kubernetes_gateway),
    },
    Rule {
        says: &[&say::SELECTOR_INEFFECTIVE],
        check: Check::WasmPlugin(policies::selectors_mean_no_kubernetes_gateway),
    },
    Rule {
        says: &[&say::SELECTOR_INEFFECTIVE],
        check: Check::TrafficExtension(policies::selectors_mean_no_kubernetes_gateway),
    },
    Rule {
        says: &[
            &say::WORKLOAD_NOT_FOUND,
            &say::TELEMETRIES_CONFLICT,
            &say::TELEMETRIES_AMBIGUOUS,
        ],
        check: Check::Telemetry(|view, object, report| {
            selectors::workloads_have_one(view, object, &selectors::TELEMETRIES, report);
        }),
    },
    Rule {
        says: &[&say::NO_TELEMETRY_PROVIDER, &say::DEPRECATED],
        check: Check::Telemetry(policies::telemetries_have_providers),
    },
    Rule {
        says: &[&say::PORT_WITHOUT_PROTOCOL, &say::EXTERNAL_NAME_PORT],
        check: Check::Service(services::ports_tell_their_protocol),
    },
    Rule {
        says: &[
            &say::NOT_INJECTED,
            &say::INJECTION_LABELS_CONFLICT,
            &say::INJECTED_BY_DEFAULT,
        ],
        check: Check::Namespace(injection::namespaces_choose_once),
    },
    Rule {
        says: &[&say::PROXY_IMAGE_DIFFERS],
        check: Check::Namespace(injection::proxies_have_the_injectors_image),
    },
    Rule {
        says: &[&say::PROXY_MISSING],
        check: Check::Pod(injection::pods_have_their_proxy),
    },
    Rule {
        says: &[&say::PROXYS_USER],
        check: Check::Pod(workloads::pods_run_as_others),
    },
    Rule {
        says: &[&say::AUTO_IMAGE_LEFT],
        check: Check::Pod(workloads::pods_have_real_images),
    },
    Rule {
        says: &[&say::PROXYS_USER],
        check: Check::Deployment(workloads::deployments_run_as_others),
    },
    Rule {
        says: &[&say::AUTO_IMAGE_UNSEEN],
        check: Check::Deployment(workloads::deployments_with_auto_image_are_injected),
    },
    Rule {
        says: &[&say::PORT_PROTOCOLS_DIFFER, &say::TARGET_PORTS_DIFFER],
        check: Check::Deployment(workloads::services_of_a_deployment_agree),
    },
    Rule {
        says: &[&say::JWKS_UNRESTRICTED],
        check: Check::Deployment(workloads::keys_are_fetched_with_care),
    },
    Rule {
        says: &[&say::INJECTORS_OVERLAP, &say::INJECTORS_SERVICE_MISSING],
        check: Check::MutatingWebhookConfiguration(webhooks::injectors_do_not_overlap),
    },
    Rule {
        says: &[&say::EXTERNAL_CONFIG_INVALID, &say::EXTERNAL_ADDRESS],
        check: Check::MutatingWebhookConfiguration(webhooks::external_injectors_have_addresses),
    },
    Rule {
        says: &[&say::EXTERNAL_CONFIG_INVALID, &say::EXTERNAL_ADDRESS],
        check: Check::ValidatingWebhookConfiguration(webhooks::external_validators_have_addresses),
    },
    Rule {
        says: &[&say::DEPRECATED, &say::GATEWAY_API_TOO_OLD],
        check: Check::CustomResourceDefinition(deprecations::definitions_are_read),
    },
];

/// The rules for each kind, in the order of the table.
static BY_KIND: LazyLock<BTreeMap<Kind, Vec<&Rule>>> = LazyLock::new(|| {
    let rules = |kind| RULES.iter().filter(move |rule| rule.check.is_for(kind));
    Kind::all()
        .map(|kind| (kind, rules(kind).collect()))
        .collect()
});

/// The object under inspection.
pub(super) struct Inspected<'a, S> {
    key: &'a ObjectKey,
    meta: &'a Metadata,
    spec: &'a S,
    status: Option<&'a StoredStatus>,
}

/// Takes what rules say about one object.
pub(super) struct Report<'a> {
    object: &'a ObjectKey,
    messages: Vec<Message>,
    hints: Hints,
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
pub(super) fn run<'a>(view: &View<'a>, key: &'a ObjectKey) -> Vec<Message> {
    let mut report = Report {
        object: key,
        messages: Vec::new(),
        hints: Hints::default(),
    };
    let rules = BY_KIND.get(&key.kind).into_iter().flatten();
    for rule in rules {
        rule.check.run(view, key, &mut report);
    }
    report.messages
}

fn inspect<'a, S: Content>(
    view: &View<'a>,
    key: &'a ObjectKey,
    check: On<S>,
    report: &mut Report<'_>,
) {
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
