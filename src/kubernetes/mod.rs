//! Everything that talks to the API server: watches, writers, lease, events.

pub mod announcements;
pub mod cabundle;
pub mod certificates;
pub mod engine;
pub mod events;
pub mod healer;
pub mod lease;
pub mod nodes;
pub mod owners;
mod pace;
pub mod services;
pub mod status;
pub mod watch;
mod writer;
