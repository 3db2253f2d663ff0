//! Outrigger's images: their content from one list, as OCI archives for the local cluster; the Dockerfiles in `images/`
//! hold the same for releases, kept equal by a test.

mod content;
mod libraries;
pub mod local;
pub mod oci;
mod recipes;
pub(crate) mod system;

pub use content::{Config, Content, Entry, Image, content_hash};
pub use recipes::{PROXY_PACKAGES, Package, bookinfo, outriggerd, proxyv2, workload};

#[cfg(test)]
mod dockerfiles;
