//! `outriggerd`: the control plane.
fn main() {}
