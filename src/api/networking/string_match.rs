//! Matching of text, and other small messages that several kinds share.

use std::collections::BTreeMap;

use super::message::messages;

messages! {
    /// How a text is compared; one of the members. None of them matches any text that is present.
    #[schemars(extend("x-one-of" = [["exact", "prefix", "regex"]]))]
    pub struct StringMatch {
        /// Equal, character by character.
        pub exact: Option<String>,
        /// Begins with this.
        pub prefix: Option<String>,
        /// Matched whole by this RE2 regular expression.
        pub regex: Option<String>,
    }

    /// A share of traffic.
    pub struct Percent {
        /// 0.0 to 100.0.
        pub value: f64,
    }

    /// Selects workloads of the object's namespace by their labels.
    pub struct WorkloadSelector {
        /// Labels that a workload must have, all of them. Empty selects every workload.
        #[schemars(extend("maxProperties" = 256), schema_with = "super::schema::selector_labels")]
        pub labels: BTreeMap<String, String>,
    }

    /// Selects workloads by their labels (the form of Istio's newer kinds).
    pub struct LabelWorkloadSelector {
        /// Labels that a workload must have, all of them. Empty selects every workload.
        #[schemars(schema_with = "super::schema::match_labels")]
        pub match_labels: BTreeMap<String, String>,
    }

    /// A port of a service, by number.
    pub struct PortSelector {
        /// The port's number on the service.
        pub number: u32,
    }

    /// A service, and optionally a port and a subset of it.
    #[schemars(extend("required" = ["host"]))]
    pub struct Destination {
        /// Name of a service in the registry: a Kubernetes service or the host of a ServiceEntry. A short name is
        /// completed with the namespace of the object that it stands in, not with that of the client.
        pub host: String,
        /// Name of a subset of the DestinationRule for the host.
        pub subset: String,
        /// The port on the host; may be left out when the service has a single one.
        pub port: Option<PortSelector>,
    }
}
