//! Clusters that end with the process that started them.

mod access;
mod api_server;
mod cgroups;
mod control_plane;
mod launcher;
mod node;
mod pki;
mod state;

pub use access::{Access, Cluster};
pub use control_plane::ControlPlane;
pub use node::{Kept, Node, down, kept};
