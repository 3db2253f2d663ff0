//! Istio's MeshConfig, as far as it is used.
