//! A real one-node Kubernetes from plain binaries, for the demo and the tests.

pub mod bookinfo;
pub mod images;
