//! Clusters that end with the process that started them.

mod access;
mod api_server;
mod control_plane;
#[allow(dead_code, reason = "the rest is for nodes")]
mod launcher;
mod pki;
#[allow(dead_code, reason = "the rest is for nodes")]
mod state;

pub use access::{Access, Cluster};
pub use control_plane::ControlPlane;
