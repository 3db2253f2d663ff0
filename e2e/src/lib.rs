//! A real Kubernetes from plain binaries, for the demo and the tests: no Docker, no registry, no systemd.
//!
//! [`cluster::ControlPlane`] is etcd and kube-apiserver on loopback, for anyone, many at once.
//! [`cluster::Node`] is a whole one-node cluster that runs pods, for root.
//! Both end with the process that started them, however it ends.

pub mod binaries;
pub mod bookinfo;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod images;
pub mod packages;
pub mod progress;
pub mod requires;
pub mod tools;
pub mod wait;
