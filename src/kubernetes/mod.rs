//! Everything that talks to the API server: watches, writers, lease, events.

pub mod cabundle;
pub mod certificates;
pub mod lease;
