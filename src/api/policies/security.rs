//! AuthorizationPolicy, PeerAuthentication, RequestAuthentication.

use std::collections::BTreeMap;

use crate::api::networking::{LabelWorkloadSelector, PolicyTargetReference, enums, messages};
use crate::api::parse::Duration;

messages! {
    /// Who may call a workload.
    pub struct AuthorizationPolicySpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// The one object that it is attached to.
        pub target_ref: Option<PolicyTargetReference>,
        /// The same, as a list.
        pub target_refs: Vec<PolicyTargetReference>,
        /// When it applies; none means never.
        pub rules: Vec<AccessRule>,
        /// What it does with requests that a rule matches.
        pub action: AccessAction,
        /// Who decides, with the action `CUSTOM`.
        pub provider: Option<AccessProvider>,
    }

    /// Who decides in the place of the proxy.
    pub struct AccessProvider {
        /// Its name among the extension providers of the mesh configuration.
        pub name: String,
    }

    /// Matches requests for which each of its parts, where it is set, has an item that matches.
    pub struct AccessRule {
        /// Where they come from.
        pub from: Vec<AccessFrom>,
        /// What they do.
        pub to: Vec<AccessTo>,
        /// Further conditions, all of which must hold.
        pub when: Vec<AccessCondition>,
    }

    /// A source in its wrapper.
    pub struct AccessFrom {
        /// The source.
        pub source: Option<AccessSource>,
    }

    /// Where requests come from: all members that are set must match.
    pub struct AccessSource {
        /// Identities of peers.
        pub principals: Vec<String>,
        /// Identities of peers that are left out.
        pub not_principals: Vec<String>,
        /// Identities of users, `ISSUER/SUBJECT`.
        pub request_principals: Vec<String>,
        /// Identities of users that are left out.
        pub not_request_principals: Vec<String>,
        /// Namespaces, with a wildcard at one end.
        pub namespaces: Vec<String>,
        /// Namespaces that are left out.
        pub not_namespaces: Vec<String>,
        /// Service accounts: `NAME`, or `NAMESPACE/NAME`.
        pub service_accounts: Vec<String>,
        /// Service accounts that are left out.
        pub not_service_accounts: Vec<String>,
        /// Trust domains of peers.
        pub trust_domains: Vec<String>,
        /// Trust domains that are left out.
        pub not_trust_domains: Vec<String>,
        /// Addresses and subnets of the connection.
        pub ip_blocks: Vec<String>,
        /// Those that are left out.
        pub not_ip_blocks: Vec<String>,
        /// Addresses and subnets of the first client, by X-Forwarded-For or the proxy protocol.
        pub remote_ip_blocks: Vec<String>,
        /// Those that are left out.
        pub not_remote_ip_blocks: Vec<String>,
    }

    /// An operation in its wrapper.
    pub struct AccessTo {
        /// The operation.
        pub operation: Option<AccessOperation>,
    }

    /// What requests do: all members that are set must match.
    pub struct AccessOperation {
        /// Hosts that are asked for.
        pub hosts: Vec<String>,
        /// Hosts that are left out.
        pub not_hosts: Vec<String>,
        /// Ports, as numbers.
        pub ports: Vec<String>,
        /// Ports that are left out.
        pub not_ports: Vec<String>,
        /// HTTP methods.
        pub methods: Vec<String>,
        /// HTTP methods that are left out.
        pub not_methods: Vec<String>,
        /// Paths, or templates with `{*}` for one part and `{**}` for any number.
        pub paths: Vec<String>,
        /// Paths that are left out.
        pub not_paths: Vec<String>,
    }

    /// A further condition.
    pub struct AccessCondition {
        /// What is looked at: `request.headers[x-user]`.
        pub key: String,
        /// What it may be.
        pub values: Vec<String>,
        /// What it must not be.
        pub not_values: Vec<String>,
    }

    /// Whether a workload takes mutual TLS.
    pub struct PeerAuthenticationSpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// For all ports.
        pub mtls: Option<MutualTls>,
        /// For ports of the workload, by their number in decimal digits.
        pub port_level_mtls: BTreeMap<String, MutualTls>,
    }

    /// Whether mutual TLS is asked of clients.
    pub struct MutualTls {
        /// The mode.
        pub mode: MutualTlsMode,
    }

    /// Which tokens of users a workload takes.
    pub struct RequestAuthenticationSpec {
        /// Workloads by their labels.
        pub selector: Option<LabelWorkloadSelector>,
        /// The one object that it is attached to.
        pub target_ref: Option<PolicyTargetReference>,
        /// The same, as a list.
        pub target_refs: Vec<PolicyTargetReference>,
        /// The tokens.
        pub jwt_rules: Vec<JwtRule>,
    }

    /// Tokens of one issuer.
    pub struct JwtRule {
        /// Who issues them (the claim `iss`).
        pub issuer: String,
        /// For whom (the claim `aud`).
        pub audiences: Vec<String>,
        /// Where the issuer's keys are fetched.
        #[serde(alias = "jwks_uri")]
        pub jwks_uri: String,
        /// The issuer's keys themselves, as JSON.
        pub jwks: String,
        /// Headers that have the token.
        pub from_headers: Vec<JwtHeader>,
        /// Query parameters that have the token.
        pub from_params: Vec<String>,
        /// Cookies that have the token.
        pub from_cookies: Vec<String>,
        /// A header that gets the token's payload.
        pub output_payload_to_header: String,
        /// Whether the token is passed on.
        pub forward_original_token: bool,
        /// Claims that are passed on as headers.
        pub output_claim_to_headers: Vec<ClaimToHeader>,
        /// How long fetching keys may take.
        pub timeout: Option<Duration>,
        /// Claims besides `scope` and `permission` that are lists separated by blanks.
        pub space_delimited_claims: Vec<String>,
        /// Whether requests without a token are let pass.
        pub presence: TokenPresence,
    }

    /// A header that has a token.
    pub struct JwtHeader {
        /// The header's name.
        pub name: String,
        /// What stands before the token (`Bearer `).
        pub prefix: String,
    }

    /// A claim that is passed on as a header.
    pub struct ClaimToHeader {
        /// The header.
        pub header: String,
        /// The claim.
        pub claim: String,
    }
}

enums! {
    /// What a policy does with requests that it matches.
    pub enum AccessAction {
        /// Lets them pass, and no others.
        #[default]
        Allow,
        /// Denies them.
        Deny,
        /// Has them written to the audit log.
        Audit,
        /// Asks somebody else.
        Custom,
    }

    /// Which connections a workload takes.
    pub enum MutualTlsMode {
        /// As the namespace or the mesh says.
        #[default]
        Unset,
        /// Plain text.
        Disable,
        /// Both.
        Permissive,
        /// Mutual TLS.
        Strict,
    }

    /// Whether a token must be there.
    pub enum TokenPresence {
        /// Requests without one are let pass.
        #[default]
        Optional,
        /// Requests without one are refused.
        Required,
    }
}
