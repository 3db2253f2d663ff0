//! Capture and the proxy in real network namespaces, with real iptables and a real Envoy.

mod gateway;
mod pod;
mod proxy;
mod rules;
