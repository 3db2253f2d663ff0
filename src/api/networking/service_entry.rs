//! ServiceEntry: a service that is added to the registry by hand.

use super::message::{Spec, enums, messages};
use super::string_match::WorkloadSelector;
use super::workload::WorkloadEntrySpec;
use crate::api::kind::Kind;

messages! {
    /// A service that is added to the registry by hand.
    #[schemars(extend("required" = ["hosts"], "x-kubernetes-validations" = [
        {"rule": "!(has(self.workloadSelector) && has(self.endpoints))", "message": "only one of workloadSelector, endpoints can be set"},
        {"rule": "!has(self.endpoints) || (has(self.resolution) && self.resolution != 'NONE')", "message": "endpoints need a resolution other than NONE"}
    ]))]
    pub struct ServiceEntrySpec {
        /// Names of the service.
        #[schemars(schema_with = "super::schema::service_entry_hosts")]
        pub hosts: Vec<String>,
        /// Virtual addresses, or CIDR blocks.
        #[schemars(length(max = 256), inner(length(max = 64)))]
        pub addresses: Vec<String>,
        /// Ports of the service.
        #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
        pub ports: Vec<ServicePort>,
        /// Whether the service counts as part of the mesh.
        pub location: Location,
        /// How the addresses of endpoints are found.
        pub resolution: Resolution,
        /// The endpoints.
        #[schemars(length(max = 4096))]
        pub endpoints: Vec<WorkloadEntrySpec>,
        /// Selects WorkloadEntries and pods of this namespace as endpoints.
        pub workload_selector: Option<WorkloadSelector>,
        /// Namespaces whose workloads see this object: `.` for its own, `*` for all. Empty means the default of the mesh.
        pub export_to: Vec<String>,
        /// Names of which the server's certificate must have one.
        pub subject_alt_names: Vec<String>,
    }

    /// A port of a service.
    #[schemars(extend("required" = ["number", "name"]))]
    pub struct ServicePort {
        /// Its number.
        #[schemars(schema_with = "super::schema::port_number")]
        pub number: u32,
        /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP` or `TLS`; TCP when left out.
        #[schemars(length(max = 256))]
        pub protocol: String,
        /// Its name.
        #[schemars(length(max = 256))]
        pub name: String,
        /// The endpoints' port; as `number` when left out.
        #[schemars(schema_with = "super::schema::port_number")]
        pub target_port: u32,
    }
}

enums! {
    /// Whether a service counts as part of the mesh.
    pub enum Location {
        /// It is outside.
        #[default]
        MeshExternal,
        /// It is part of the mesh.
        MeshInternal,
    }

    /// How the addresses of a service's endpoints are found.
    pub enum Resolution {
        /// The address that the client connects to is the endpoint.
        #[default]
        None,
        /// They are the addresses given.
        Static,
        /// By DNS, all answers used.
        Dns,
        /// By DNS, one answer used at a time.
        DnsRoundRobin,
        /// By DNS, for the name in each request.
        DynamicDns,
    }
}

impl Spec for ServiceEntrySpec {
    const KIND: Kind = Kind::ServiceEntry;
}
