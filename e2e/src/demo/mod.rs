//! `cargo demo`: the main job, end to end, on a real Kubernetes that it starts itself.
//!
//! Each part is a function over a [`Stage`] that does something and returns what it saw; the demo shows it, the tests
//! on the node check it.

pub mod bookinfo;
pub mod gateway;
pub mod install;
pub mod local;
pub mod routing;
mod screen;
mod stage;
mod tour;
pub mod traffic;

pub use screen::Screen;
pub use stage::{Stage, source};
pub use tour::{Options, down, run, setup, which};
