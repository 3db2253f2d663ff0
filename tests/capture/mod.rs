//! Capture and the proxy in real network namespaces, with real iptables and a real Envoy.

mod backends;
mod explain;
mod faults;
mod gateway;
mod hand;
mod invalid;
mod machine;
mod pod;
mod proxy;
mod read_back;
mod rules;
mod stage;
mod ways;
