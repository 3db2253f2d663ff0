//! `outrigger`: the command line.
fn main() {}
