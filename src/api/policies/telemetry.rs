//! Telemetry.

use std::collections::BTreeMap;

use crate::api::networking::{LabelWorkloadSelector, PolicyTargetReference, enums, messages};
use crate::api::parse::Duration;

messages! {
    /// Metrics, access logs and traces of a workload.
    pub struct TelemetrySpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// The one object that it is attached to.
        pub target_ref: Option<PolicyTargetReference>,
        /// The same, as a list.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Traces.
        pub tracing: Vec<Tracing>,
        /// Metrics.
        pub metrics: Vec<Metrics>,
        /// Access logs.
        pub access_logging: Vec<AccessLogging>,
    }

    /// A provider of the mesh configuration.
    pub struct ProviderReference {
        /// Its name.
        pub name: String,
    }

    /// Of which connections.
    pub struct TelemetryMatch {
        /// Of those that workloads make, take, or both.
        pub mode: WorkloadMode,
    }

    /// Traces.
    pub struct Tracing {
        /// Of which connections.
        pub r#match: Option<TelemetryMatch>,
        /// To whom they are sent; none means to the mesh's default.
        pub providers: Vec<ProviderReference>,
        /// Of how many requests, in percent.
        pub random_sampling_percentage: Option<f64>,
        /// Whether none are sent.
        pub disable_span_reporting: Option<bool>,
        /// Whether the context is not passed on.
        pub disable_context_propagation: Option<bool>,
        /// Tags that are added, by name.
        pub custom_tags: BTreeMap<String, CustomTag>,
        /// Whether the request id says what is traced.
        pub use_request_id_for_trace_sampling: Option<bool>,
        /// Whether Istio's own tags are added.
        pub enable_istio_tags: Option<bool>,
    }

    /// What a tag says; one of the members.
    pub struct CustomTag {
        /// A fixed text.
        pub literal: Option<TagText>,
        /// An environment variable of the proxy.
        pub environment: Option<TagSource>,
        /// A header of the request.
        pub header: Option<TagSource>,
        /// A text with command operators of Envoy's access logs.
        pub formatter: Option<TagText>,
    }

    /// A text of a tag.
    pub struct TagText {
        /// The text.
        pub value: String,
    }

    /// Where a tag is taken from.
    pub struct TagSource {
        /// The name there.
        pub name: String,
        /// What it is where there is nothing.
        pub default_value: String,
    }

    /// Metrics.
    pub struct Metrics {
        /// To whom they are sent; none means to the mesh's default.
        pub providers: Vec<ProviderReference>,
        /// What is changed of them.
        pub overrides: Vec<MetricOverride>,
        /// How often they are sent.
        pub reporting_interval: Option<Duration>,
    }

    /// What is changed of some metrics.
    pub struct MetricOverride {
        /// Which.
        pub r#match: Option<MetricSelector>,
        /// Whether they are left out.
        pub disabled: Option<bool>,
        /// What is changed of their tags, by name.
        pub tag_overrides: BTreeMap<String, TagOverride>,
    }

    /// Some metrics: at most one of `metric` and `customMetric`.
    pub struct MetricSelector {
        /// A standard one.
        pub metric: Option<StandardMetric>,
        /// One by its name.
        pub custom_metric: Option<String>,
        /// Of which connections.
        pub mode: WorkloadMode,
    }

    /// What is changed of a tag.
    pub struct TagOverride {
        /// The change.
        pub operation: TagOperation,
        /// What it says then, as a CEL expression.
        pub value: String,
    }

    /// Access logs.
    pub struct AccessLogging {
        /// Of which connections.
        pub r#match: Option<TelemetryMatch>,
        /// To whom they are sent; none means to the mesh's default.
        pub providers: Vec<ProviderReference>,
        /// Whether none are written.
        pub disabled: Option<bool>,
        /// Which requests are logged.
        pub filter: Option<LogFilter>,
    }

    /// Which requests are logged.
    pub struct LogFilter {
        /// Those for which this CEL expression is true.
        pub expression: String,
    }
}

enums! {
    /// Of which connections something is reported.
    pub enum WorkloadMode {
        /// Of those that workloads make and take.
        #[default]
        ClientAndServer,
        /// Of those that workloads make.
        Client,
        /// Of those that workloads take.
        Server,
    }

    /// A metric of Istio.
    pub enum StandardMetric {
        /// All of them.
        #[default]
        AllMetrics,
        /// Requests.
        RequestCount,
        /// How long they take.
        RequestDuration,
        /// How large they are.
        RequestSize,
        /// How large the answers are.
        ResponseSize,
        /// Connections that were opened.
        TcpOpenedConnections,
        /// Connections that were closed.
        TcpClosedConnections,
        /// Bytes of answers.
        TcpSentBytes,
        /// Bytes of requests.
        TcpReceivedBytes,
        /// Messages of gRPC requests.
        GrpcRequestMessages,
        /// Messages of gRPC answers.
        GrpcResponseMessages,
    }

    /// What is done with a tag.
    pub enum TagOperation {
        /// It is added or changed.
        #[default]
        Upsert,
        /// It is left out.
        Remove,
    }
}
