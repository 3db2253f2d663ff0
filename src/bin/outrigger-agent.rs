//! `outrigger-agent`: the init and the proxy container of every injected pod.
fn main() {}
