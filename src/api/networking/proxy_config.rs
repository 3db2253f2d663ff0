//! ProxyConfig: settings of the proxy itself.

use std::collections::BTreeMap;

use super::message::{Spec, messages};
use super::string_match::LabelWorkloadSelector;
use crate::api::kind::Kind;

messages! {
    /// Settings of the proxies of some workloads; they are read when a pod is made.
    pub struct ProxyConfigSpec {
        /// Workloads of this namespace that it is for; all when unset. In the mesh's root namespace it is for all namespaces.
        pub selector: Option<LabelWorkloadSelector>,
        /// Worker threads; 0 means one for each CPU, unset means by the container's CPU limit.
        #[schemars(range(min = 0), extend("nullable" = true))]
        pub concurrency: Option<i32>,
        /// Environment variables of the proxy.
        #[schemars(schema_with = "super::schema::environment")]
        pub environment_variables: BTreeMap<String, String>,
        /// The proxy's image.
        pub image: Option<ProxyImage>,
    }

    /// The proxy's image.
    pub struct ProxyImage {
        /// Variant: `default`, `debug` or `distroless`.
        pub image_type: String,
    }
}

impl Spec for ProxyConfigSpec {
    const KIND: Kind = Kind::ProxyConfig;
}
