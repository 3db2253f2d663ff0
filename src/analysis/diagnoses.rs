//! Everything that analysis can say. Codes, names and levels are Istio's where the meaning is the same.

use super::message::{Aspect, Diagnosis, Level};

macro_rules! diagnoses {
    ($( $(#[$doc:meta])* $constant:ident = $code:literal $name:literal, $level:ident, $aspect:ident, $reason:literal; )*) => {
        $(
            $(#[$doc])*
            pub static $constant: Diagnosis = Diagnosis {
                code: $code,
                name: $name,
                level: Level::$level,
                reason: $reason,
                aspect: Aspect::$aspect,
            };
        )*

        /// All of them, in the order of the table.
        pub static ALL: &[&Diagnosis] = &[$( &$constant, )*];
    };
}

diagnoses! {
    /// A route names a service that does not exist, or that the object's namespace cannot see.
    HOST_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "HostNotFound";
    /// A route names a port that its service does not have.
    PORT_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "PortNotFound";
    /// A route names a subset that no DestinationRule of the host defines.
    SUBSET_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "SubsetNotFound";
    /// A VirtualService names a Gateway that does not exist.
    GATEWAY_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, ResolvedRefs, "GatewayNotFound";
    /// A selector matches no workload. Pods come and go without a change of the object, so that no condition follows them.
    WORKLOAD_NOT_FOUND = "IST0101" "ReferencedResourceNotFound", Error, Remark, "WorkloadNotFound";
    /// The object cannot even be read: a field has the wrong type.
    UNREADABLE = "IST0106" "SchemaValidationError", Error, Readable, "Invalid";
    /// The object is invalid in itself.
    INVALID = "IST0106" "SchemaValidationError", Error, Accepted, "Invalid";
    /// Another VirtualService routes the same host for the mesh, and comes first.
    ROUTES_CONFLICT = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts", Error, Conflicted, "HostConflict";
    /// The same, said of the VirtualService that comes first.
    ROUTES_CONTESTED = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts", Error, Remark, "HostContested";
    /// Two Sidecars select one workload.
    SIDECARS_CONFLICT = "IST0110" "ConflictingSidecarWorkloadSelectors", Error, Conflicted, "SelectorConflict";
    /// A namespace has more than one Sidecar without a selector.
    SIDECARS_AMBIGUOUS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors", Error, Conflicted, "SelectorConflict";
    /// A destination without a port names a service with several: requests go to the port that the client called,
    /// if the service has it, so that references are not broken.
    PORT_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired", Error, Remark, "PortRequired";
    /// TLS is originated without verifying the server.
    UNVERIFIED_SERVER = "IST0128" "NoServerCertificateVerificationDestinationLevel", Warning, Remark, "ServerNotVerified";
    /// The same, for one port.
    UNVERIFIED_SERVER_PORT = "IST0129" "NoServerCertificateVerificationPortLevel", Warning, Remark, "ServerNotVerified";
    /// A route that no request reaches.
    UNREACHABLE_ROUTE = "IST0130" "VirtualServiceUnreachableRule", Warning, Remark, "UnreachableRoute";
    /// A match that adds nothing to an earlier one.
    INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch", Info, Remark, "IneffectiveMatch";
    /// No host of the VirtualService is served by the Gateway that it names.
    HOST_NOT_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway", Warning, Remark, "HostNotInGateway";
    /// The object is valid, but a field of it is not what it seems.
    QUESTIONABLE = "IST0133" "SchemaWarning", Warning, Remark, "Questionable";
    /// A ServiceEntry with a TCP port but without an address takes all traffic to that port.
    ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired", Warning, Remark, "AddressesRequired";
    /// Two Gateways serve the same host on the same port of the same pods.
    GATEWAYS_CONFLICT = "IST0145" "ConflictingGateways", Error, Remark, "GatewayConflict";
    /// A VirtualService names a Gateway that was generated from one of the Gateway API.
    INTERNAL_GATEWAY = "IST0165" "ReferencedInternalGateway", Warning, Remark, "InternalGateway";
    /// A Gateway's port is on no Service, which is in another namespace and does not allow it.
    PORT_NOT_ALLOWED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NotAllowed";
    /// A Gateway's port is on no Service, whose ports are managed by hand.
    PORT_NOT_MANAGED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NotManaged";
    /// A Gateway's port is on no Service, whose only port has no name.
    SERVICE_PORT_UNNAMED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "ServicePortUnnamed";
    /// A Gateway's port is on no Service, which is headless.
    SERVICE_UNSUPPORTED = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "ServiceUnsupported";
    /// No Service selects the pods that a Gateway selects.
    NO_GATEWAY_SERVICE = "IST0162" "GatewayPortNotDefinedOnService", Warning, PortsExposed, "NoService";
    /// Gateways ask for one port with protocols that don't fit.
    PORT_CONFLICT = "ORG0001" "ConflictingGatewayProtocols", Error, PortsExposed, "Conflict";
    /// A Gateway without a selector, for which no Service is changed.
    NO_GATEWAY_SELECTOR = "ORG0002" "GatewayWithoutSelector", Info, Remark, "NoSelector";
    /// A DestinationRule for a service that does not exist, or that its namespace cannot see.
    UNKNOWN_RULE_HOST = "IST0174" "UnknownDestinationRuleHost", Warning, ResolvedRefs, "HostNotFound";
}
