//! WorkloadEntry and WorkloadGroup: workloads that are no pods.

use std::collections::BTreeMap;

use super::message::{Spec, messages};
use crate::api::kind::Kind;

messages! {
    /// One workload that is no pod; also an endpoint of a ServiceEntry.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "!has(self.address) || !self.address.startsWith('unix://') || !has(self.ports)", "message": "a Unix domain socket has no ports"}
    ]))]
    pub struct WorkloadEntrySpec {
        /// IP address, DNS name, or `unix:///path` in a ServiceEntry's endpoint. May be left out when `network` is set:
        /// the network's gateway is the address then.
        #[schemars(length(max = 256))]
        pub address: String,
        /// Port numbers by the name of the service's port; where none is given, the service's target port.
        #[schemars(schema_with = "super::schema::endpoint_ports")]
        pub ports: BTreeMap<String, u32>,
        /// Labels, by which services and subsets select it.
        #[schemars(extend("maxProperties" = 256))]
        pub labels: BTreeMap<String, String>,
        /// Network; endpoints of one network reach each other directly.
        #[schemars(length(max = 2048))]
        pub network: String,
        /// Locality, as `region/zone/sub-zone`.
        #[schemars(length(max = 2048))]
        pub locality: String,
        /// Share of the traffic relative to other endpoints.
        pub weight: u32,
        /// Kubernetes service account that it runs as.
        #[schemars(length(max = 253))]
        pub service_account: String,
    }

    /// A template for workloads that are no pods, used when they register themselves.
    #[schemars(extend("required" = ["template"]))]
    pub struct WorkloadGroupSpec {
        /// Metadata for the WorkloadEntries.
        pub metadata: Option<ObjectMeta>,
        /// Spec for the WorkloadEntries.
        pub template: Option<WorkloadEntrySpec>,
        /// How the proxy on the machine finds out whether the workload is ready.
        pub probe: Option<ReadinessProbe>,
    }

    /// Metadata that WorkloadEntries of a group get.
    pub struct ObjectMeta {
        /// Labels.
        #[schemars(extend("maxProperties" = 256))]
        pub labels: BTreeMap<String, String>,
        /// Annotations.
        #[schemars(extend("maxProperties" = 256))]
        pub annotations: BTreeMap<String, String>,
    }

    /// How a workload's readiness is found out.
    #[schemars(extend("x-one-of" = [["httpGet", "tcpSocket", "exec", "grpc"]]))]
    pub struct ReadinessProbe {
        /// Seconds before the first probe.
        #[schemars(range(min = 0))]
        pub initial_delay_seconds: i32,
        /// Seconds that an answer may take; 1 when unset.
        #[schemars(range(min = 0))]
        pub timeout_seconds: i32,
        /// Seconds between probes; 10 when unset.
        #[schemars(range(min = 0))]
        pub period_seconds: i32,
        /// Successes in a row after which it is ready; 1 when unset.
        #[schemars(range(min = 0))]
        pub success_threshold: i32,
        /// Failures in a row after which it is not; 3 when unset.
        #[schemars(range(min = 0))]
        pub failure_threshold: i32,
        /// By an HTTP request.
        pub http_get: Option<HTTPHealthCheckConfig>,
        /// By a TCP connection.
        pub tcp_socket: Option<TCPHealthCheckConfig>,
        /// By a command.
        pub exec: Option<ExecHealthCheckConfig>,
        /// By gRPC's health service.
        pub grpc: Option<GrpcHealthCheckConfig>,
    }

    /// A probe by HTTP request.
    #[schemars(extend("required" = ["port"]))]
    pub struct HTTPHealthCheckConfig {
        /// Path.
        pub path: String,
        /// Port.
        #[schemars(schema_with = "super::schema::port_number")]
        pub port: u32,
        /// Host to connect to; localhost when empty.
        pub host: String,
        /// `HTTP` (the default) or `HTTPS`.
        #[schemars(extend("x-kubernetes-validations" = [{"rule": "self in ['', 'HTTP', 'HTTPS']", "message": "scheme must be HTTP or HTTPS"}]))]
        pub scheme: String,
        /// Headers to send.
        pub http_headers: Vec<HTTPHeader>,
    }

    /// A header of a probe's request.
    pub struct HTTPHeader {
        /// Name.
        #[schemars(regex(pattern = r"^[-_A-Za-z0-9]+$"))]
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// A probe by TCP connection.
    #[schemars(extend("required" = ["port"]))]
    pub struct TCPHealthCheckConfig {
        /// Host to connect to; localhost when empty.
        pub host: String,
        /// Port.
        #[schemars(schema_with = "super::schema::port_number")]
        pub port: u32,
    }

    /// A probe by command.
    #[schemars(extend("required" = ["command"]))]
    pub struct ExecHealthCheckConfig {
        /// The command and its arguments; exit status 0 means ready.
        #[schemars(inner(length(min = 1)))]
        pub command: Vec<String>,
    }

    /// A probe by gRPC's health service.
    pub struct GrpcHealthCheckConfig {
        /// Port.
        #[schemars(schema_with = "super::schema::port_number")]
        pub port: u32,
        /// Service to ask about; the server as a whole when empty.
        pub service: String,
    }
}

impl Spec for WorkloadEntrySpec {
    const KIND: Kind = Kind::WorkloadEntry;
}

impl Spec for WorkloadGroupSpec {
    const KIND: Kind = Kind::WorkloadGroup;
}
