//! What is read of the Kubernetes Gateway API.

use serde::Deserialize;
use serde_json::Value;

use crate::api::networking::{DecodeError, decode_spec, null_is_default};

/// A Gateway of the Gateway API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KubernetesGatewaySpec {
    /// What it listens for.
    #[serde(deserialize_with = "null_is_default")]
    pub listeners: Vec<Listener>,
}

/// What a Gateway listens for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// The host; empty means all.
    #[serde(deserialize_with = "null_is_default")]
    pub hostname: String,
}

/// An HTTPRoute: only its status is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRouteSpec;

/// A GRPCRoute: only its status is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcRouteSpec;

impl KubernetesGatewaySpec {
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        decode_spec(object)
    }
}

impl HttpRouteSpec {
    pub(super) fn read(_: &Value) -> Result<Self, DecodeError> {
        Ok(HttpRouteSpec)
    }
}

impl GrpcRouteSpec {
    pub(super) fn read(_: &Value) -> Result<Self, DecodeError> {
        Ok(GrpcRouteSpec)
    }
}
