//! Types of Istio's policies: `security.istio.io`, `telemetry.istio.io`, `extensions.istio.io`. Their CRDs are not ours.
//!
//! They follow the same conventions as the types of [`crate::api::networking`].

mod extensions;
mod security;
mod telemetry;

use std::collections::BTreeMap;

use crate::api::kind::Kind;
use crate::api::networking::{LabelWorkloadSelector, PolicyTargetReference, Spec};

pub use extensions::*;
pub use security::*;
pub use telemetry::*;

/// To which workloads a policy applies: those of its namespace with certain labels, those behind certain objects, or all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// Workloads of the namespace by their labels.
    pub selector: Option<&'a LabelWorkloadSelector>,
    /// The one object that it is attached to.
    pub target_ref: Option<&'a PolicyTargetReference>,
    /// The same, as a list.
    pub target_refs: &'a [PolicyTargetReference],
}

impl<'a> Target<'a> {
    /// Whether it is attached to objects by their name.
    pub fn names_objects(self) -> bool {
        self.target_ref.is_some() || !self.target_refs.is_empty()
    }

    /// The labels of its selector; `None` when it is for all workloads of the namespace.
    pub fn labels(self) -> Option<&'a BTreeMap<String, String>> {
        self.selector
            .map(|selector| &selector.match_labels)
            .filter(|labels| !labels.is_empty())
    }
}

/// A kind of policy.
pub trait Policy: Spec {
    /// To whom it applies.
    fn target(&self) -> Target<'_>;
}

/// Implements [`Spec`] and [`Policy`]. Listed are the members besides `selector` by which a kind says to whom it applies.
macro_rules! policies {
    ($( $spec:ident = $kind:ident $(, $member:ident.$borrowed:ident)* ;)*) => {$(
        impl Spec for $spec {
            const KIND: Kind = Kind::$kind;
        }

        impl Policy for $spec {
            fn target(&self) -> Target<'_> {
                let selected = Target {
                    selector: self.selector.as_ref(),
                    ..Target::default()
                };
                Target { $( $member: self.$member.$borrowed(), )* ..selected }
            }
        }
    )*};
}
policies! {
    AuthorizationPolicySpec = AuthorizationPolicy, target_ref.as_ref, target_refs.as_slice;
    PeerAuthenticationSpec = PeerAuthentication;
    RequestAuthenticationSpec = RequestAuthentication, target_ref.as_ref, target_refs.as_slice;
    TelemetrySpec = Telemetry, target_ref.as_ref, target_refs.as_slice;
    WasmPluginSpec = WasmPlugin, target_ref.as_ref, target_refs.as_slice;
    TrafficExtensionSpec = TrafficExtension, target_refs.as_slice;
}
