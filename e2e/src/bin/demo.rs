//! `cargo demo`: the main job, end to end, on a real Kubernetes.
fn main() {}
