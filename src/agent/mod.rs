//! The program in every pod: capture, Envoy's bootstrap and supervision, health.
//!
//! It answers to the subcommands and flags of Istio's `pilot-agent`, today's and those of older versions: what they
//! ask for and this version lacks is either refused by name or accepted and logged as being without effect.

mod application;
mod bootstrap;
mod capture;
pub mod cli;
mod client;
mod drain;
mod gateway;
mod metrics;
mod places;
mod probe;
mod probes;
mod proxy;
mod redirect;
mod settings;
mod status;
mod tls;

pub use bootstrap::{Stack, bootstrap};
pub use gateway::{listeners, read_ports};
pub use probes::unreadable as unreadable_probes;
pub use settings::{ProxySettings, Role};
