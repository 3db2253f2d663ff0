//! What can be stored: one table of kinds, their types and their maps.

use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::networking::{
    DecodeError, DestinationRuleSpec, EnvoyFilterSpec, GatewaySpec, ProxyConfigSpec,
    ServiceEntrySpec, SidecarSpec, VirtualServiceSpec, WorkloadEntrySpec, WorkloadGroupSpec,
    decode,
};
use crate::api::policies::{
    AuthorizationPolicySpec, PeerAuthenticationSpec, RequestAuthenticationSpec, TelemetrySpec,
    TrafficExtensionSpec, WasmPluginSpec,
};

use super::Store;
use super::cluster::{
    ConfigMapSpec, CustomResourceDefinitionSpec, MutatingWebhookConfigurationSpec, NamespaceSpec,
    NodeSpec, ValidatingWebhookConfigurationSpec,
};
use super::core::{DeploymentSpec, PodSpec, ServiceSpec};
use super::gateway_api::{GrpcRouteSpec, HttpRouteSpec, KubernetesGatewaySpec};
use super::secret::SecretSpec;

/// What objects of one kind say.
pub trait Content: Sized + PartialEq + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// Whether the stored `status` is kept.
    const KEEPS_STATUS: bool;

    /// Reads it from an object.
    ///
    /// # Errors
    /// A field has the wrong type; the error names it.
    fn decode(object: &Value) -> Result<Self, DecodeError>;

    /// The map that holds objects of this kind.
    #[doc(hidden)]
    fn store(stores: &Stores) -> &Store<Self>;
    /// The same, to change it.
    #[doc(hidden)]
    fn store_mut(stores: &mut Stores) -> &mut Store<Self>;
}

macro_rules! stores {
    ($( $field:ident: $spec:ident = $kind:ident, $keeps_status:literal, $decode:expr; )*) => {
        /// One persistent map per kind.
        #[derive(Debug, Clone, Default)]
        pub struct Stores {
            $( $field: Store<$spec>, )*
        }

        $(
            impl Content for $spec {
                const KIND: Kind = Kind::$kind;
                const KEEPS_STATUS: bool = $keeps_status;

                fn decode(object: &Value) -> Result<Self, DecodeError> {
                    $decode(object)
                }

                fn store(stores: &Stores) -> &Store<Self> {
                    &stores.$field
                }

                fn store_mut(stores: &mut Stores) -> &mut Store<Self> {
                    &mut stores.$field
                }
            }
        )*
    };
}

stores! {
    virtual_services: VirtualServiceSpec = VirtualService, true, decode;
    destination_rules: DestinationRuleSpec = DestinationRule, true, decode;
    gateways: GatewaySpec = Gateway, true, decode;
    service_entries: ServiceEntrySpec = ServiceEntry, true, decode;
    sidecars: SidecarSpec = Sidecar, true, decode;
    workload_entries: WorkloadEntrySpec = WorkloadEntry, true, decode;
    workload_groups: WorkloadGroupSpec = WorkloadGroup, true, decode;
    proxy_configs: ProxyConfigSpec = ProxyConfig, true, decode;
    envoy_filters: EnvoyFilterSpec = EnvoyFilter, true, decode;
    authorization_policies: AuthorizationPolicySpec = AuthorizationPolicy, true, decode;
    peer_authentications: PeerAuthenticationSpec = PeerAuthentication, true, decode;
    request_authentications: RequestAuthenticationSpec = RequestAuthentication, true, decode;
    telemetries: TelemetrySpec = Telemetry, true, decode;
    wasm_plugins: WasmPluginSpec = WasmPlugin, true, decode;
    traffic_extensions: TrafficExtensionSpec = TrafficExtension, true, decode;
    services: ServiceSpec = Service, true, ServiceSpec::read;
    namespaces: NamespaceSpec = Namespace, false, NamespaceSpec::read;
    pods: PodSpec = Pod, false, PodSpec::read;
    secrets: SecretSpec = Secret, false, SecretSpec::read;
    deployments: DeploymentSpec = Deployment, false, DeploymentSpec::read;
    nodes: NodeSpec = Node, false, NodeSpec::read;
    config_maps: ConfigMapSpec = ConfigMap, false, ConfigMapSpec::read;
    mutating_webhooks: MutatingWebhookConfigurationSpec = MutatingWebhookConfiguration, false, MutatingWebhookConfigurationSpec::read;
    validating_webhooks: ValidatingWebhookConfigurationSpec = ValidatingWebhookConfiguration, false, ValidatingWebhookConfigurationSpec::read;
    definitions: CustomResourceDefinitionSpec = CustomResourceDefinition, false, CustomResourceDefinitionSpec::read;
    kubernetes_gateways: KubernetesGatewaySpec = KubernetesGateway, true, KubernetesGatewaySpec::read;
    http_routes: HttpRouteSpec = HttpRoute, true, HttpRouteSpec::read;
    grpc_routes: GrpcRouteSpec = GrpcRoute, true, GrpcRouteSpec::read;
}

/// Evaluates an expression with `$spec` standing for the type that belongs to a kind known only at run time.
macro_rules! on_store {
    ($kind:expr, $spec:ident => $body:expr) => {{
        use $crate::world;
        $crate::api::kind::on_istio_kind!(
            $kind,
            $spec => $body,
            Kind::Service => with!(world::ServiceSpec),
            Kind::Namespace => with!(world::NamespaceSpec),
            Kind::Pod => with!(world::PodSpec),
            Kind::Secret => with!(world::SecretSpec),
            Kind::Deployment => with!(world::DeploymentSpec),
            Kind::Node => with!(world::NodeSpec),
            Kind::ConfigMap => with!(world::ConfigMapSpec),
            Kind::MutatingWebhookConfiguration => with!(world::MutatingWebhookConfigurationSpec),
            Kind::ValidatingWebhookConfiguration => {
                with!(world::ValidatingWebhookConfigurationSpec)
            }
            Kind::CustomResourceDefinition => with!(world::CustomResourceDefinitionSpec),
            Kind::KubernetesGateway => with!(world::KubernetesGatewaySpec),
            Kind::HttpRoute => with!(world::HttpRouteSpec),
            Kind::GrpcRoute => with!(world::GrpcRouteSpec),
        )
    }};
}
pub(crate) use on_store;
