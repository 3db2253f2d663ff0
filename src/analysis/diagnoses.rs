//! Everything that analysis can say. Codes, names and levels are Istio's where the meaning is the same.
//!
//! A row's doc comment is for users too: it is what `outrigger explain CODE` and `docs/diagnostics.md` say about it.

use super::message::{Aspect, Diagnosis, Level};

macro_rules! diagnoses {
    ($(
        $(#[doc = $means:literal])+
        $constant:ident = $code:literal $name:literal, $level:ident, $aspect:ident, $reason:literal,
            effect: $effect:literal,
            cure: $cure:literal;
    )*) => {
        $(
            $(#[doc = $means])+
            pub static $constant: Diagnosis = Diagnosis {
                code: $code,
                name: $name,
                level: Level::$level,
                reason: $reason,
                aspect: Aspect::$aspect,
                means: concat!($($means),+),
                effect: $effect,
                cure: $cure,
            };
        )*

        /// All of them, in the order of the table.
        pub static ALL: &[&Diagnosis] = &[$( &$constant, )*];
    };
}

diagnoses! {
    /// A route names a service that does not exist, or that the object's namespace cannot see.
    HOST_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "HostNotFound",
        effect: "Requests that take this route are answered with 503, because there is nothing to send them to.",
        cure: "Correct the name, or create the Service or ServiceEntry; a short name means a Service of the object's own namespace.";
    /// A route names a port that its service does not have.
    PORT_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "PortNotFound",
        effect: "Requests that take this route are answered with 503, because the service has no such port.",
        cure: "Name a port of the Service or ServiceEntry, or add the port there.";
    /// A route names a subset that no DestinationRule of the host defines.
    SUBSET_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "SubsetNotFound",
        effect: "Requests that take this route are answered with 503, because the subset has no endpoints.",
        cure: "Define the subset in the DestinationRule of that host, or name one that it defines.";
    /// A VirtualService names a Gateway that does not exist.
    GATEWAY_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "GatewayNotFound",
        effect: "The routes are used by no gateway under that name: requests there get 404.",
        cure: "Correct the name, with its namespace where that is another one (namespace/name), or create the Gateway.";
    /// A Gateway names a Secret that is not in the namespace of its pods.
    CREDENTIAL_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "CredentialNotFound",
        effect: "Envoy gets no certificate for the server: connections to the port fail in the TLS handshake.",
        cure: "Create the Secret in the namespace of the gateway's pods, or correct the name.";
    /// A selector matches no workload. Pods come and go without a change of the object, so that no condition follows them.
    WORKLOAD_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, Remark, "WorkloadNotFound",
        effect: "The object applies to nothing until such a pod runs.",
        cure: "Compare the selector with the labels of the pods that are meant.";
    /// The object cannot even be read: a field has the wrong type.
    UNREADABLE = "IST0106" "SchemaValidationError", Error, Readable, "Invalid",
        effect: "The object is left out as a whole; all others work on.",
        cure: "Give the field the type that the reference of the API names.";
    /// The object is invalid in itself.
    INVALID = "IST0106" "SchemaValidationError", Error, Accepted, "Invalid",
        effect: "The object is left out as a whole; all others work on.",
        cure: "Correct the field; `kubectl apply --dry-run=server` tells whether it is right.";
    /// Another VirtualService routes the same host for the mesh, and comes first.
    ROUTES_CONFLICT = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts", Error, Conflicted, "HostConflict",
        effect: "Sidecars use the routes of the other VirtualService for this host, and none of this one.",
        cure: "Merge the two into one VirtualService, or attach them to different gateways.";
    /// The same, said of the VirtualService that comes first.
    ROUTES_CONTESTED = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts", Error, Remark, "HostContested",
        effect: "Sidecars use the routes of this object for this host; those of the other have no effect.",
        cure: "Merge the two into one VirtualService, or attach them to different gateways.";
    /// Two Sidecars select one workload.
    SIDECARS_CONFLICT = "IST0110" "ConflictingSidecarWorkloadSelectors", Error, Conflicted, "SelectorConflict",
        effect: "The workload gets one of the Sidecars, and which one is not defined.",
        cure: "Let the selectors differ, so that each pod has one Sidecar.";
    /// A namespace has more than one Sidecar without a selector.
    SIDECARS_AMBIGUOUS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors", Error, Conflicted, "SelectorConflict",
        effect: "The namespace's workloads get one of the Sidecars, and which one is not defined.",
        cure: "Keep one Sidecar without a selector, and give the others one.";
    /// A destination without a port names a service with several: requests go to the port that the client called,
    /// if the service has it, so that references are not broken.
    PORT_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired", Error, Remark, "PortRequired",
        effect: "Requests go to the port that the client called, if the service has it; others fail.",
        cure: "Add destination.port.number.";
    /// TLS is originated without verifying the server.
    UNVERIFIED_SERVER = "IST0128" "NoServerCertificateVerificationDestinationLevel", Warning, Remark, "ServerNotVerified",
        effect: "The connection is encrypted, but nobody checks who answers it.",
        cure: "Set caCertificates, or credentialName where the rule has a workloadSelector.";
    /// The same, for one port.
    UNVERIFIED_SERVER_PORT = "IST0129" "NoServerCertificateVerificationPortLevel", Warning, Remark, "ServerNotVerified",
        effect: "Connections to this port are encrypted, but nobody checks who answers them.",
        cure: "Set caCertificates in the port's tls settings.";
    /// A route that no request reaches.
    UNREACHABLE_ROUTE = "IST0130" "VirtualServiceUnreachableRule", Warning, Remark, "UnreachableRoute",
        effect: "No request ever takes this route.",
        cure: "Put it before the route that takes its requests, make that one narrower, or delete it.";
    /// A match that adds nothing to an earlier one.
    INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch", Info, Remark, "IneffectiveMatch",
        effect: "The match changes nothing: an earlier one takes the same requests.",
        cure: "Delete it, or make it say what the earlier one does not.";
    /// No host of the VirtualService is served by the Gateway that it names.
    HOST_NOT_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway", Warning, Remark, "HostNotInGateway",
        effect: "The Gateway routes none of the VirtualService's hosts: requests there get 404.",
        cure: "Add the host to a server of the Gateway, or correct the hosts of the VirtualService.";
    /// The object is valid, but a field of it is not what it seems.
    QUESTIONABLE = "IST0133" "SchemaWarning", Warning, Remark, "Questionable",
        effect: "The object is used, but the field may do something else than meant.",
        cure: "See the message for what the field is taken for.";
    /// A ServiceEntry with a TCP port but without an address takes all traffic to that port.
    ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired", Warning, Remark, "AddressesRequired",
        effect: "All TCP traffic to that port goes to this entry, whatever host was meant.",
        cure: "Set addresses, or let proxies allocate them (ISTIO_META_DNS_AUTO_ALLOCATE with DNS capture).";
    /// Two Gateways of the same pods use one certificate.
    CERTIFICATE_SHARED = "IST0138" "GatewayDuplicateCertificate", Warning, Remark, "DuplicateCertificate",
        effect: "Clients that reuse a connection for all hosts of a certificate get 404 for hosts of the other Gateway.",
        cure: "Put the servers into one Gateway, or give each Gateway a certificate for its own hosts.";
    /// Two Gateways serve the same host on the same port of the same pods.
    GATEWAYS_CONFLICT = "IST0145" "ConflictingGateways", Error, Remark, "GatewayConflict",
        effect: "The same pods get two definitions of one listener and host; one of them is used.",
        cure: "Serve a host on a port in one Gateway only.";
    /// A Secret that a Gateway names holds no certificate: keys are missing, or it is no PEM.
    CREDENTIAL_INVALID = "IST0161" "InvalidGatewayCredential", Error, ResolvedRefs, "CredentialInvalid",
        effect: "Envoy gets no certificate for the server: connections to the port fail in the TLS handshake.",
        cure: "Give the Secret tls.crt and tls.key in PEM, as `kubectl create secret tls` does.";
    /// The certificate that a Gateway names has expired.
    CREDENTIAL_EXPIRED = "IST0161" "InvalidGatewayCredential", Error, ResolvedRefs, "CredentialExpired",
        effect: "Clients refuse the certificate.",
        cure: "Renew it; the new Secret is seen at once.";
    /// The certificate that a Gateway names is not valid yet.
    CREDENTIAL_NOT_YET_VALID = "IST0161" "InvalidGatewayCredential", Error, ResolvedRefs, "CredentialNotYetValid",
        effect: "Clients refuse the certificate until that day.",
        cure: "Use the certificate that is valid now, and look at the clock of whoever issued this one.";
    /// A VirtualService names a Gateway that was generated from one of the Gateway API.
    INTERNAL_GATEWAY = "IST0165" "ReferencedInternalGateway", Warning, Remark, "InternalGateway",
        effect: "It works until the Gateway of the Gateway API changes, whose generated name is not stable.",
        cure: "Attach an HTTPRoute to the Gateway of the Gateway API instead.";
    /// A Gateway's port is on no Service, which is in another namespace and does not allow it.
    PORT_NOT_ALLOWED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NotAllowed",
        effect: "Nobody outside reaches the port, because no Service leads to it.",
        cure: "Let the Service's owner allow it with the annotation outrigger.dev/allow-gateways-from, or use a Service of the Gateway's own namespace.";
    /// A Gateway's port is on no Service, whose ports are managed by hand.
    PORT_NOT_MANAGED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NotManaged",
        effect: "Nobody outside reaches the port, because no Service leads to it.",
        cure: "Add the port to the Service by hand, or take the annotation outrigger.dev/manage-ports from it.";
    /// A Gateway's port is on no Service, whose only port has no name.
    SERVICE_PORT_UNNAMED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "ServicePortUnnamed",
        effect: "Nobody outside reaches the port, because no Service leads to it.",
        cure: "Give the Service's only port a name; then the new port is added by itself.";
    /// A Gateway's port is on no Service, which is headless or an alias of a name elsewhere.
    SERVICE_UNSUPPORTED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "ServiceUnsupported",
        effect: "Clients must reach the pods' own ports, because a Service of that kind maps none.",
        cure: "Use a Service of type ClusterIP, NodePort or LoadBalancer for the gateway.";
    /// No Service selects the pods that a Gateway selects.
    NO_GATEWAY_SERVICE = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NoService",
        effect: "Nobody outside reaches the port, because no Service leads to it.",
        cure: "Create a Service that selects the gateway's pods, or correct the Gateway's selector.";
    /// Gateways ask for one port with protocols that don't fit.
    PORT_CONFLICT = "ORG0001" "ConflictingGatewayProtocols", Error, PortsExposed, "Conflict",
        effect: "The port stays as it was: it is added for none of the Gateways.",
        cure: "Use one protocol on the port, or another port for one of them.";
    /// The annotation that asks for node ports can't be read, or names a port that no server has.
    NODE_PORT_INVALID = "ORG0003" "GatewayNodePort", Warning, PortsExposed, "NodePortInvalid",
        effect: "The port is exposed on whatever node port the API server gives.",
        cure: "Write PORT=NODE_PORT, separated by commas, with ports that the Gateway's servers have.";
    /// Gateways ask for different node ports for one port, or for one node port for different ports.
    NODE_PORT_CONFLICT = "ORG0003" "GatewayNodePort", Warning, PortsExposed, "NodePortConflict",
        effect: "The ports keep the node ports that they have, or get any.",
        cure: "Ask for a node port in one Gateway only, or for the same one in all.";
    /// The node port that a Gateway asks for belongs to another port.
    NODE_PORT_TAKEN = "ORG0003" "GatewayNodePort", Warning, PortsExposed, "NodePortTaken",
        effect: "The port is exposed on whatever node port the API server gives.",
        cure: "Ask for another node port, or free it: it is taken over as soon as nobody has it.";
    /// A Gateway asks for a node port where there can be none, or on a port that is somebody else's.
    NODE_PORT_UNSUPPORTED = "ORG0003" "GatewayNodePort", Warning, PortsExposed, "NodePortUnsupported",
        effect: "The port is exposed as it is.",
        cure: "Make the Service NodePort or LoadBalancer, or set the node port where the Service's port is defined.";
    /// A Gateway without a selector, for which no Service is changed.
    NO_GATEWAY_SELECTOR = "ORG0002" "GatewayWithoutSelector", Info, Remark, "NoSelector",
        effect: "The Gateway applies to the pods of every gateway, and no Service gets its ports.",
        cure: "Name the labels of the gateway's pods in spec.selector.";
    /// The certificate that a Gateway names ends within 30 days.
    CREDENTIAL_EXPIRES_SOON = "ORG0010" "GatewayCredentialExpiresSoon", Warning, Resolving, "CredentialExpiresSoon",
        effect: "Nothing yet; after that day clients refuse the certificate.",
        cure: "Renew it, or look why whoever renews it has not.";
    /// A host of a Gateway's server is not among the names of its certificate.
    HOST_NOT_IN_CERTIFICATE = "ORG0011" "GatewayHostNotInCertificate", Warning, Remark, "HostNotInCertificate",
        effect: "Clients of that host refuse the certificate.",
        cure: "Issue the certificate for the host too; a wildcard stands for one label.";
    /// A Gateway names a Secret of a namespace whose Secrets the control plane does not read.
    CREDENTIAL_NOT_READ = "ORG0012" "GatewayCredentialNotRead", Info, Unresolved, "CredentialNotRead",
        effect: "Nothing; whether the credential is right is not known.",
        cure: "Add the namespace to gateways.credentialNamespaces of the chart outrigger.";
    /// A Gateway names a Secret of another namespace than its pods'.
    CREDENTIAL_ELSEWHERE = "ORG0013" "GatewayCredentialInOtherNamespace", Error, ResolvedRefs, "CredentialInOtherNamespace",
        effect: "Envoy gets no certificate for the server: connections to the port fail in the TLS handshake.",
        cure: "Put the Secret into the namespace of the gateway's pods, and name it without a namespace.";
    /// A server verifies its clients' certificates, but its credential has no authorities for them.
    CREDENTIAL_WITHOUT_AUTHORITIES = "ORG0014" "GatewayCredentialWithoutAuthorities", Error, ResolvedRefs, "NoClientAuthorities",
        effect: "Connections to the port fail in the TLS handshake.",
        cure: "Add ca.crt to the Secret, or a Secret of that name with -cacert at its end.";
    /// No route leads on from a Gateway's server.
    SERVER_WITHOUT_ROUTES = "ORG0015" "GatewayServerWithoutRoutes", Info, Remark, "NoRoutes",
        effect: "Requests to the server get 404, TCP connections are closed.",
        cure: "Name the Gateway and a host of the server in a VirtualService.";
    /// A Secret that a Gateway names holds a certificate without its private key. Istio's IST0161 does not look at the key.
    CREDENTIAL_WITHOUT_KEY = "ORG0016" "GatewayCredentialWithoutKey", Error, ResolvedRefs, "CredentialWithoutKey",
        effect: "Envoy refuses the pair: connections to the port fail in the TLS handshake.",
        cure: "Put the private key there that the certificate was issued for, unencrypted, in PEM.";
    /// A DestinationRule for a service that does not exist, or that neither its namespace nor clients who look for rules there can see.
    UNKNOWN_RULE_HOST = "IST0174" "UnknownDestinationRuleHost", Warning, ResolvedRefs, "HostNotFound",
        effect: "The rule applies to no request.",
        cure: "Correct the host, or create the Service or ServiceEntry.";
    /// A field or a kind that Istio has given up.
    DEPRECATED = "IST0002" "Deprecated", Warning, Remark, "Deprecated",
        effect: "What the field or kind says is ignored, or will be in a later release.",
        cure: "Use what the message names in its place.";
    /// A rule of an AuthorizationPolicy names a namespace that does not exist.
    NAMESPACE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "NamespaceNotFound",
        effect: "The rule matches no request from that namespace, because there is none.",
        cure: "Correct the name, or create the namespace.";
    /// A namespace has neither of the labels by which its pods get sidecars.
    NOT_INJECTED = "IST0102" "NamespaceNotInjected", Info, Remark, "NotInjected",
        effect: "Pods of the namespace get no sidecar, unless a pod asks for one itself.",
        cure: "Label the namespace istio-injection=enabled (or istio.io/rev=REVISION), or istio-injection=disabled to say that this is meant.";
    /// A pod has no proxy although its namespace is injected.
    PROXY_MISSING = "IST0103" "PodMissingProxy", Warning, Remark, "ProxyMissing",
        effect: "The pod's traffic passes no proxy: no routes, no policies and no mutual TLS apply to it.",
        cure: "Have the pod made anew, for example by `kubectl rollout restart`; label it sidecar.istio.io/inject=\"false\" where this is meant.";
    /// An annotation of Istio is on a kind of object for which it means nothing.
    MISPLACED_ANNOTATION = "IST0107" "MisplacedAnnotation", Warning, Remark, "MisplacedAnnotation",
        effect: "Nothing reads the annotation there.",
        cure: "Move it to the kind that the message names.";
    /// An annotation has a domain of Istio, but no name that Istio knows.
    UNKNOWN_ANNOTATION = "IST0108" "UnknownAnnotation", Warning, Remark, "UnknownAnnotation",
        effect: "Nothing reads the annotation.",
        cure: "Correct its name, or remove it.";
    /// The Services of a Deployment give one port several protocols.
    PORT_PROTOCOLS_DIFFER = "IST0116" "DeploymentAssociatedToMultipleServices", Warning, Remark, "PortProtocolsDiffer",
        effect: "The sidecar of such a pod serves the port by one of the protocols; requests of the other fail.",
        cure: "Give the Services different port numbers, or one protocol.";
    /// Neither name nor appProtocol of a Service's port tells its protocol.
    PORT_WITHOUT_PROTOCOL = "IST0118" "PortNameIsNotUnderNamingConvention", Info, Remark, "PortWithoutProtocol",
        effect: "Proxies look at the first bytes of each connection to tell HTTP from other TCP.",
        cure: "Name the port PROTOCOL or PROTOCOL-SUFFIX (http-web), or set appProtocol.";
    /// A namespace has two labels that decide about its pods' sidecars differently.
    INJECTION_LABELS_CONFLICT = "IST0123" "NamespaceMultipleInjectionLabels", Warning, Remark, "InjectionLabelsConflict",
        effect: "One of the labels wins: istio-injection over istio.io/rev, and either over ambient mode.",
        cure: "Keep one of the labels.";
    /// The value of an annotation cannot be used.
    INVALID_ANNOTATION = "IST0125" "InvalidAnnotation", Warning, Remark, "InvalidAnnotation",
        effect: "The injector refuses a pod with this value.",
        cure: "Give the annotation a value as the message says.";
    /// An AuthorizationPolicy applies to no workload of the mesh.
    POLICY_WITHOUT_WORKLOADS = "IST0127" "NoMatchingWorkloadsFound", Warning, Remark, "NoWorkloads",
        effect: "The policy neither allows nor denies anything.",
        cure: "Compare the selector with the labels of the pods that are meant, and see that these have a sidecar.";
    /// A deprecated annotation.
    DEPRECATED_ANNOTATION = "IST0135" "DeprecatedAnnotation", Info, Remark, "DeprecatedAnnotation",
        effect: "The annotation works still, if the message does not say otherwise.",
        cure: "Use what has taken its place.";
    /// Two ports of Services lead to one port of a Deployment's pods.
    TARGET_PORTS_DIFFER = "IST0137" "DeploymentConflictingPorts", Warning, Remark, "TargetPortsDiffer",
        effect: "The sidecar has one inbound listener for that port and takes the settings of one of the Services for all of them.",
        cure: "Let the Services use one port number for it, or let the pods listen on two.";
    /// Two webhooks would both inject the same pods.
    INJECTORS_OVERLAP = "IST0139" "InvalidWebhook", Error, Remark, "InjectorsOverlap",
        effect: "Such a pod is injected by both, the second time on top of the first.",
        cure: "Narrow the selectors, or remove the configuration of the control plane that is gone.";
    /// An injection webhook calls a Service that does not exist.
    INJECTORS_SERVICE_MISSING = "IST0139" "InvalidWebhook", Error, Remark, "ServiceNotFound",
        effect: "Pods that it is asked about are refused, or start without a sidecar where its failurePolicy is Ignore.",
        cure: "Install the control plane again, or remove the webhook configuration that it left.";
    /// Routes for a gateway do not use the subsets that another VirtualService of the same host names.
    SUBSETS_BYPASSED = "IST0140" "IngressRouteRulesNotAffected", Warning, Remark, "SubsetsBypassed",
        effect: "Requests from the gateway go to all endpoints of the host, because the gateway does not apply the routes that sidecars have for it.",
        cure: "Name the subsets in the routes of the gateway too.";
    /// A container other than the proxy runs as the proxy's user.
    PROXYS_USER = "IST0144" "InvalidApplicationUID", Warning, Remark, "ProxysUser",
        effect: "The container's outbound traffic passes the proxy by, because that of user 1337 is never captured.",
        cure: "Run the container as another user.";
    /// A Deployment waits for an image from an injector that is not asked about its pods.
    AUTO_IMAGE_UNSEEN = "IST0146" "ImageAutoWithoutInjectionWarning", Warning, Remark, "NoInjector",
        effect: "The pods cannot start: no registry has the image auto.",
        cure: "Label the namespace or the pods so that an injector takes them.";
    /// A pod still has the image that an injector should have replaced.
    AUTO_IMAGE_LEFT = "IST0147" "ImageAutoWithoutInjectionError", Error, Remark, "NotInjected",
        effect: "The pod cannot start: no registry has the image auto.",
        cure: "Delete the pod once an injector takes pods of its kind; it is made anew.";
    /// A namespace without a label is injected because the injector is set to.
    INJECTED_BY_DEFAULT = "IST0148" "NamespaceInjectionEnabledByDefault", Info, Remark, "InjectedByDefault",
        effect: "Pods of the namespace get sidecars.",
        cure: "Label the namespace istio-injection=disabled if this is not meant.";
    /// Routes look at claims of tokens that nobody checks.
    CLAIMS_UNCHECKED = "IST0149" "JwtClaimBasedRoutingWithoutRequestAuthN", Error, ResolvedRefs, "NoRequestAuthentication",
        effect: "The condition never holds at the gateway, because only a checked token has claims there.",
        cure: "Create a RequestAuthentication that selects the gateway's pods.";
    /// A port of a Service of type ExternalName makes the proxies take all traffic to its number.
    EXTERNAL_NAME_PORT = "IST0150" "ExternalNameServiceTypeInvalidPortName", Warning, Remark, "ExternalNamePort",
        effect: "Proxies send all TCP traffic to that port number to this service, whatever its address.",
        cure: "Name the port after what it speaks (https, tls, http), or set appProtocol.";
    /// The place of a patch depends on what other EnvoyFilters did before.
    RELATIVE_WITHOUT_PRIORITY = "IST0151" "EnvoyFilterUsesRelativeOperation", Warning, Remark, "NoPriority",
        effect: "The patch may find what it names or not, depending on the age and the names of other EnvoyFilters.",
        cure: "Set spec.priority in all EnvoyFilters that patch the same place.";
    /// REPLACE is used where it does nothing.
    REPLACE_INEFFECTIVE = "IST0152" "EnvoyFilterUsesReplaceOperationIncorrectly", Error, Remark, "OperationIneffective",
        effect: "The patch does nothing.",
        cure: "Use MERGE, or patch an HTTP_FILTER or NETWORK_FILTER.";
    /// ADD is used where it does nothing.
    ADD_INEFFECTIVE = "IST0153" "EnvoyFilterUsesAddOperationIncorrectly", Error, Remark, "OperationIneffective",
        effect: "The patch does nothing.",
        cure: "Use MERGE, or INSERT_FIRST for routes.";
    /// REMOVE is used where it does nothing.
    REMOVE_INEFFECTIVE = "IST0154" "EnvoyFilterUsesRemoveOperationIncorrectly", Error, Remark, "OperationIneffective",
        effect: "The patch does nothing.",
        cure: "Patch the virtual host or the listener that holds it.";
    /// The place of a patch depends on filters that only some versions of the proxy have.
    RELATIVE_TO_VERSIONED = "IST0155" "EnvoyFilterUsesRelativeOperationWithProxyVersion", Warning, Remark, "NoPriority",
        effect: "The patch finds the filter in proxies of some versions and not in others.",
        cure: "Set spec.priority in all EnvoyFilters that patch the same place.";
    /// Access logs are asked for without a provider, and the mesh has none for them.
    NO_TELEMETRY_PROVIDER = "IST0157" "InvalidTelemetryProvider", Warning, Remark, "NoProvider",
        effect: "No access log is written on behalf of this object.",
        cure: "Name a provider, or set defaultProviders.accessLogging in the mesh configuration.";
    /// Proxies of a namespace's pods have another image than the injector gives now.
    PROXY_IMAGE_DIFFERS = "IST0158" "PodsIstioProxyImageMismatchInNamespace", Warning, Remark, "ProxyImageDiffers",
        effect: "These pods keep the proxy with which they were made.",
        cure: "Restart the workloads of the namespace (`kubectl rollout restart`).";
    /// Two Telemetries select one pod.
    TELEMETRIES_CONFLICT = "IST0159" "ConflictingTelemetryWorkloadSelectors", Error, Conflicted, "SelectorConflict",
        effect: "The pod follows one of the Telemetries, and which one is not defined.",
        cure: "Let the selectors differ, so that each pod has one Telemetry.";
    /// A namespace has more than one Telemetry without a selector.
    TELEMETRIES_AMBIGUOUS = "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors", Error, Conflicted, "SelectorConflict",
        effect: "The namespace's pods follow one of the Telemetries, and which one is not defined.",
        cure: "Keep one Telemetry without a selector, and give the others one.";
    /// A webhook of a control plane outside the cluster cannot be called.
    EXTERNAL_CONFIG_INVALID = "IST0163" "InvalidExternalControlPlaneConfig", Warning, Remark, "NoAddress",
        effect: "The API server cannot reach the control plane: pods are not injected, objects are not validated.",
        cure: "Give the webhook the control plane's URL (https://HOST:PORT/PATH), or a Service.";
    /// A control plane outside the cluster is called by its address.
    EXTERNAL_ADDRESS = "IST0164" "ExternalControlPlaneAddressIsNotAHostname", Info, Remark, "AddressNotName",
        effect: "Calls fail unless the control plane's certificate names that address.",
        cure: "Use a host name that the certificate has.";
    /// A selector matches pods that take policies by targetRefs only.
    SELECTOR_INEFFECTIVE = "IST0166" "IneffectiveSelector", Warning, Remark, "SelectorIneffective",
        effect: "The policy does not apply to the pods of that Gateway.",
        cure: "Name the Gateway in spec.targetRefs.";
    /// A Sidecar for pods that have none.
    POLICY_INEFFECTIVE = "IST0167" "IneffectivePolicy", Warning, Remark, "Ambient",
        effect: "The Sidecar has no effect on these pods, because they have no sidecar.",
        cure: "Remove the Sidecar, or inject the pods.";
    /// A condition in the object's status says that something is wrong with it.
    NEGATIVE_CONDITION = "IST0171" "NegativeConditionStatus", Warning, Remark, "NegativeCondition",
        effect: "Whoever wrote the condition does not do all that the object says.",
        cure: "See what the condition says.";
    /// No pod has the labels of a subset.
    SUBSET_WITHOUT_PODS = "IST0173" "DestinationRuleSubsetNotSelectPods", Error, Remark, "SubsetWithoutPods",
        effect: "Requests to the subset are answered with 503.",
        cure: "Compare the subset's labels with those of the pods, or start such pods.";
    /// Istio's control plane fetches keys for tokens from any address.
    JWKS_UNRESTRICTED = "IST0175" "JwksUriFetchUnrestricted", Warning, Remark, "JwksUnrestricted",
        effect: "Whoever may create a RequestAuthentication may have the control plane call addresses inside the network.",
        cure: "Set BLOCKED_CIDRS_IN_JWKS_URIS on the control plane.";
    /// CRDs of the Gateway API are too old to be read.
    GATEWAY_API_TOO_OLD = "IST0176" "GatewayAPICRDVersionBelowMinimum", Warning, Remark, "TooOld",
        effect: "Objects of the kind are ignored.",
        cure: "Install the CRDs of a newer release of the Gateway API.";
    /// Two ServiceEntries give one port of one host different protocols.
    ENTRY_PROTOCOLS_DIFFER = "IST0177" "ConflictingServiceEntryProtocol", Warning, Remark, "PortProtocolsDiffer",
        effect: "Proxies treat the port by one of the protocols; which one is not defined.",
        cure: "Give the port one protocol, or export the ServiceEntries to different namespaces.";
    /// A Gateway's port is on no Service of its pods yet.
    PORT_PENDING = "IST0162" "GatewayPortNotDefinedOnService", Warning, Remark, "PortPending",
        effect: "Nobody outside the pods reaches the port until a Service has it.",
        cure: "Nothing, where Outrigger looks after the Service's ports: it adds this one; elsewhere add the port by hand.";
    /// A route delegates to a VirtualService that does not exist.
    DELEGATE_NOT_FOUND = "ORG0020" "DelegateNotUsable", Error, ResolvedRefs, "DelegateNotFound",
        effect: "Requests that match this route are answered with 404.",
        cure: "Correct the name and namespace, or create the delegate: a VirtualService without hosts.";
    /// A route delegates to a VirtualService that is not exported to its namespace.
    DELEGATE_NOT_VISIBLE = "ORG0020" "DelegateNotUsable", Error, ResolvedRefs, "DelegateNotVisible",
        effect: "Requests that match this route are answered with 404.",
        cure: "Export the delegate to the namespace of the VirtualService that delegates.";
    /// A route delegates to a VirtualService that has hosts of its own.
    DELEGATE_HAS_HOSTS = "ORG0020" "DelegateNotUsable", Error, ResolvedRefs, "DelegateHasHosts",
        effect: "Requests that match this route are answered with 404.",
        cure: "Remove hosts and gateways from the delegate, or delegate to another one.";
    /// A delegate delegates itself.
    DELEGATE_NESTED = "ORG0021" "DelegateChain", Error, ResolvedRefs, "DelegateNested",
        effect: "The delegate's own delegation is not followed: those of its requests are answered with 404.",
        cure: "Delegate to the last VirtualService of the chain directly.";
    /// Delegation goes round in a circle.
    DELEGATE_CYCLE = "ORG0021" "DelegateChain", Error, ResolvedRefs, "DelegateCycle",
        effect: "Requests that match this route are answered with 404.",
        cure: "Break the circle.";
    /// Other VirtualServices take every request for the host at the same gateway that this one has routes for.
    ROUTES_SHADOWED = "ORG0022" "RoutesShadowed", Warning, Remark, "RoutesShadowed",
        effect: "No route of this object is used at that gateway for that host.",
        cure: "Make the routes that come first narrower, or merge the objects in the order that is meant.";
    /// Routes before this one, of the same object, of a delegate, or at a gateway of another VirtualService for the host, take
    /// all of its requests: what it asks for they ask for too, or for less.
    ROUTE_SHADOWED = "ORG0022" "RoutesShadowed", Warning, Remark, "RouteShadowed",
        effect: "No request ever takes this route there.",
        cure: "Put it before the routes that take its requests, make those narrower, or delete it.";
    /// Another VirtualService has routes for the host at the same gateway, which are tried before those of this one.
    ROUTES_PRECEDED = "ORG0023" "GatewayHostShared", Info, Remark, "RoutesPreceded",
        effect: "A request takes a route of this object only if none of the other one matches.",
        cure: "Merge the two into one VirtualService if their order matters.";
    /// Another DestinationRule for the host comes first, and its policy is used.
    POLICY_OVERRIDDEN = "ORG0024" "DestinationRuleOverridden", Warning, Remark, "PolicyOverridden",
        effect: "The traffic policy of this object has no effect; its subsets have, if no other defines them.",
        cure: "Merge the two into one DestinationRule.";
    /// Another DestinationRule for the host comes first, and defines the same subset.
    SUBSET_OVERRIDDEN = "ORG0024" "DestinationRuleOverridden", Warning, Remark, "SubsetOverridden",
        effect: "Routes to the subset use labels and policy of the other object.",
        cure: "Merge the two into one DestinationRule, or give the subset another name.";
    /// A later DestinationRule of the namespace for the host is exported otherwise, so that the two are not merged.
    RULE_HIDDEN = "ORG0024" "DestinationRuleOverridden", Warning, Remark, "RuleHidden",
        effect: "Clients that see both use the later one alone: nothing of this object.",
        cure: "Give both the same exportTo, or merge them into one DestinationRule.";
    /// Clients in some namespaces have rules for the host that come before this one: of their own namespace, or of the
    /// service's.
    RULE_REPLACED = "ORG0024" "DestinationRuleOverridden", Info, Remark, "RuleReplaced",
        effect: "Clients there use the other rules alone: nothing of this object.",
        cure: "Nothing, where this is meant; else repeat in the other rule what is needed of this one, or delete the other.";
    /// Pods have the labels of a subset, but none of them is ready.
    SUBSET_NOT_READY = "ORG0025" "SubsetWithoutReadyEndpoint", Warning, Remark, "SubsetNotReady",
        effect: "Requests to the subset are answered with 503 until one of the pods is ready.",
        cure: "Find out by `kubectl describe pod` why they are not ready.";
    /// No route names a subset.
    SUBSET_UNUSED = "ORG0026" "UnusedSubset", Info, Remark, "SubsetUnused",
        effect: "No request goes to the subset as such.",
        cure: "Remove the subset, or name it in a route.";
    /// A share of a route's traffic goes to a service or a subset without a ready endpoint.
    WEIGHT_TO_NOTHING = "ORG0027" "WeightToNothing", Warning, Remark, "NoEndpoints",
        effect: "That share of the requests is answered with 503, of other connections closed.",
        cure: "Start the pods first, or give their share to others.";
    /// No namespace sees the object.
    SEEN_BY_NOBODY = "ORG0028" "SeenByNoNamespace", Warning, Remark, "NotVisible",
        effect: "What the object says reaches no proxy.",
        cure: "Export it to `.` (its own namespace), to `*` (all), or to a namespace that exists.";
    /// A DestinationRule is exported to clients that never look for it in its namespace.
    RULE_OUT_OF_REACH = "ORG0029" "DestinationRuleOutOfReach", Warning, Remark, "OutOfReach",
        effect: "Clients there do not use the rule: they look in their own namespace, the service's and the root namespace.",
        cure: "Move the rule to the namespace of the service or of the clients.";
    /// A route of a delegate asks for what the route that delegates does not let through.
    DELEGATE_MISFIT = "ORG0030" "DelegateRouteLeftOut", Warning, Remark, "DelegateRouteLeftOut",
        effect: "The delegate's route is left out here: its requests take the next route that matches, or get 404.",
        cure: "Let each match of the delegate be as narrow as one of the route that delegates, or leave out what both say.";
    /// A VirtualService without hosts to which nobody delegates.
    DELEGATE_UNUSED = "ORG0031" "UnusedDelegate", Info, Remark, "DelegateUnused",
        effect: "The routes are used by nobody.",
        cure: "Delegate to the object, give it hosts, or delete it.";
}
