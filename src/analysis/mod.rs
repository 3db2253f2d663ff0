//! What is wrong with the objects of a [`crate::world::World`], and the status that says so.
//!
//! [`Snapshot`] holds a World, its Model and a verdict on every object, and is updated change by change. The controller,
//! admission ([`preview`], [`preview_delete`]) and the command line read the same verdicts, so they cannot disagree.

pub mod attachments;
pub mod conditions;
pub mod credentials;
mod dependents;
pub mod diagnoses;
pub mod entrances;
pub mod examples;
pub mod gateway_status;
mod matching;
mod merged;
mod message;
mod preview;
pub mod removal;
mod rules;
mod snapshot;
mod standing;
mod suppression;
pub mod validation;
mod view;

pub use message::{Aspect, Diagnosis, Level, Message};
pub use preview::{preview, preview_delete};
pub use rules::{RULES, Rule};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
