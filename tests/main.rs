//! The integration tests: one binary, a module per area.

// Helpers of tests are tests as well; clippy only knows functions marked `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod capture;
mod chart;
mod cli;
mod control;
mod crds;
mod fuzz;
mod gateway;
mod layering;
mod random;
mod webhook;
