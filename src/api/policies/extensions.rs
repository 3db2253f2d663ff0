//! WasmPlugin and TrafficExtension.

use serde_json::{Map, Value};

use crate::api::networking::{
    LabelWorkloadSelector, PolicyTargetReference, PortSelector, enums, messages,
};

messages! {
    /// A WebAssembly filter of a workload's proxy.
    pub struct WasmPluginSpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// The one object that it is attached to.
        pub target_ref: Option<PolicyTargetReference>,
        /// The same, as a list.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Where the module is: `oci`, `http`, `https` or `file`; without a scheme, an image.
        pub url: String,
        /// The module's checksum, or the image's digest.
        pub sha256: String,
        /// When an image is pulled.
        pub image_pull_policy: PullPolicy,
        /// A Secret of the namespace for pulling it.
        pub image_pull_secret: String,
        /// A key that the image must be signed with.
        pub verification_key: String,
        /// The filter's own configuration.
        #[schemars(schema_with = "crate::api::networking::any_object")]
        pub plugin_config: Map<String, Value>,
        /// A name by which modules tell plugins apart.
        pub plugin_name: String,
        /// Where in the chain of filters it stands.
        pub phase: PluginPhase,
        /// Its order among those of the same phase, the greatest first.
        pub priority: Option<i32>,
        /// What happens to requests when it fails.
        pub fail_strategy: FailStrategy,
        /// The virtual machine.
        pub vm_config: Option<VmConfig>,
        /// For which connections; none means for all.
        pub r#match: Vec<TrafficSelector>,
        /// What kind of filter it is.
        pub r#type: PluginType,
    }

    /// A filter of a workload's proxy, in WebAssembly or Lua.
    pub struct TrafficExtensionSpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// Objects that it is attached to.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Where in the chain of filters it stands.
        pub phase: ExtensionPhase,
        /// Its order among those of the same phase, the greatest first.
        pub priority: Option<i32>,
        /// For which connections; none means for all.
        pub r#match: Vec<TrafficSelector>,
        /// In WebAssembly.
        pub wasm: Option<WasmExtension>,
        /// In Lua.
        pub lua: Option<LuaExtension>,
    }

    /// A filter in WebAssembly.
    pub struct WasmExtension {
        /// Where the module is: `oci`, `http`, `https` or `file`; without a scheme, an image.
        pub url: String,
        /// The module's checksum, or the image's digest.
        pub sha256: String,
        /// When an image is pulled.
        pub image_pull_policy: PullPolicy,
        /// A Secret of the namespace for pulling it.
        pub image_pull_secret: String,
        /// A key that the image must be signed with.
        pub verification_key: String,
        /// The filter's own configuration.
        #[schemars(schema_with = "crate::api::networking::any_object")]
        pub plugin_config: Map<String, Value>,
        /// A name by which modules tell plugins apart.
        pub plugin_name: String,
        /// What happens to requests when it fails.
        pub fail_strategy: FailStrategy,
        /// The virtual machine.
        pub vm_config: Option<VmConfig>,
        /// What kind of filter it is.
        pub r#type: PluginType,
    }

    /// A filter in Lua.
    pub struct LuaExtension {
        /// The program.
        pub inline_code: String,
    }

    /// The virtual machine that runs a module.
    pub struct VmConfig {
        /// Its environment variables.
        pub env: Vec<EnvironmentVariable>,
    }

    /// An environment variable.
    pub struct EnvironmentVariable {
        /// Its name.
        pub name: String,
        /// Where its value comes from.
        pub value_from: ValueSource,
        /// Its value, if it is written here.
        pub value: String,
    }

    /// Some connections: all members that are set must match.
    pub struct TrafficSelector {
        /// Those that workloads make, take, or both.
        pub mode: TrafficMode,
        /// Those to one of these ports.
        pub ports: Vec<PortSelector>,
    }
}

enums! {
    /// When an image is pulled.
    pub enum PullPolicy {
        /// When it is not there, or always for the tag `latest`.
        #[default]
        UnspecifiedPolicy,
        /// When it is not there.
        #[serde(rename = "IfNotPresent")]
        IfNotPresent,
        /// When a proxy starts.
        #[serde(rename = "Always")]
        Always,
    }

    /// Where a WasmPlugin stands.
    pub enum PluginPhase {
        /// At the end of the chain.
        #[default]
        UnspecifiedPhase,
        /// Before authentication.
        Authn,
        /// Before authorization.
        Authz,
        /// Before statistics.
        Stats,
    }

    /// Where a TrafficExtension stands.
    pub enum ExtensionPhase {
        /// At the end of the chain.
        #[default]
        Unspecified,
        /// Before authentication.
        Authn,
        /// Before authorization.
        Authz,
        /// Before statistics.
        Stats,
    }

    /// What happens to requests when a filter fails.
    pub enum FailStrategy {
        /// They are refused.
        #[default]
        FailClose,
        /// They are let pass.
        FailOpen,
        /// The module is loaded again.
        FailReload,
    }

    /// What kind of filter it is.
    pub enum PluginType {
        /// Of HTTP.
        #[default]
        UnspecifiedPluginType,
        /// Of HTTP.
        Http,
        /// Of bytes.
        Network,
    }

    /// Where a value comes from.
    pub enum ValueSource {
        /// It is written beside.
        #[default]
        Inline,
        /// From the proxy's own environment.
        Host,
    }

    /// Which connections.
    pub enum TrafficMode {
        /// At gateways those that they make, elsewhere those that workloads take.
        #[default]
        Undefined,
        /// Those that workloads make.
        Client,
        /// Those that workloads take.
        Server,
        /// Both.
        ClientAndServer,
    }
}
