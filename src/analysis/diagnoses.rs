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
    /// A DestinationRule for a service that does not exist, or that its namespace cannot see.
    UNKNOWN_RULE_HOST = "IST0174" "UnknownDestinationRuleHost", Warning, ResolvedRefs, "HostNotFound",
        effect: "The rule applies to no request.",
        cure: "Correct the host, or create the Service or ServiceEntry.";
}
