//! Types of `networking.istio.io`: one file per kind, and files for the messages that kinds share.
//!
//! Names are those of Istio's API. The types follow protobuf's JSON mapping, which is how Istio reads its objects:
//! an absent member, `null` and the default value mean the same; where the difference matters (wrapper types, members
//! of a oneof, messages) the field is an `Option`. Oneofs are sibling `Option`s, as in JSON: that two of them are not
//! set together is for validation to say, which names both. Unknown members are passed over when decoding.
//! What a member must be beyond its type (required, ranges, formats) is not the business of decoding either.

mod connection_pool;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod http;
mod load_balancer;
pub(crate) mod message;
mod proxy_config;
mod schema;
mod service_entry;
mod sidecar;
mod status;
mod string_match;
mod tls;
mod virtual_service;
mod workload;

pub use connection_pool::*;
pub use destination_rule::*;
pub use envoy_filter::*;
pub use gateway::*;
pub use http::*;
pub use load_balancer::*;
pub use message::{DecodeError, Spec, decode};
pub(crate) use message::{decode_at, decode_spec, enums, messages, null_is_default};
pub use proxy_config::*;
pub(crate) use schema::any_object;
pub use service_entry::*;
pub use sidecar::*;
pub use status::*;
pub use string_match::*;
pub use tls::*;
pub use virtual_service::*;
pub use workload::*;
