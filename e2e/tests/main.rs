//! Tests of the clusters themselves and, on the node, of the product in them.

// Helpers of tests are tests as well; clippy only knows functions marked `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;
mod injection;
mod node;
mod product;
mod remains;
mod stage;
mod support;
mod uninstall;
