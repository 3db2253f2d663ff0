//! Capture and the proxy in real network namespaces, with real iptables and a real Envoy.

mod explain;
mod gateway;
mod hand;
mod pod;
mod proxy;
mod read_back;
mod rules;
mod stage;
mod ways;
