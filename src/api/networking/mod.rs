//! Types of `networking.istio.io`.
