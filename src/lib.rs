//! Outrigger: a service-mesh control plane for Kubernetes.
//!
//! Three programs share this library: `outriggerd` (the control plane), `outrigger-agent` (capture and proxy in
//! every pod) and `outrigger` (the command line). A Cargo feature per program gates whole modules, here and nowhere else.
//!
//! Data flows one way: `kubernetes` watches (or files) → [`world`] → [`model`] → [`analysis`], [`gateway`], `webhook`.
//! The layers up to and including those outputs are pure: no client, no async runtime, no file system, no clock.

/// Names and types of the APIs that Outrigger serves: labels, annotations, values and their parsing, object kinds.
pub mod api {
    pub mod annotations;
    pub mod labels;
    pub mod parse;
    pub mod ports;

    #[cfg(feature = "objects")]
    pub mod conditions;
    #[cfg(feature = "objects")]
    pub mod crd;
    #[cfg(feature = "objects")]
    pub mod depth;
    #[cfg(feature = "objects")]
    pub mod kind;
    #[cfg(feature = "objects")]
    pub mod mesh;
    #[cfg(feature = "objects")]
    pub mod metadata;
    #[cfg(feature = "objects")]
    pub mod networking;
    #[cfg(feature = "objects")]
    pub mod ownership;
    #[cfg(feature = "objects")]
    pub mod policies;
    #[cfg(feature = "objects")]
    pub mod strict;
    #[cfg(feature = "objects")]
    pub mod text;
    #[cfg(feature = "objects")]
    pub mod yaml;
}

#[cfg(feature = "objects")]
pub mod analysis;
#[cfg(feature = "objects")]
pub mod audit;
#[cfg(feature = "objects")]
pub mod gateway;
#[cfg(feature = "objects")]
pub mod inject;
#[cfg(feature = "objects")]
pub mod model;
#[cfg(feature = "objects")]
pub mod world;

#[cfg(any(feature = "agent", feature = "cli"))]
pub mod capture;

/// Everything that talks to the API server: watches, writers, lease, events.
#[cfg(any(feature = "control", feature = "cli"))]
pub mod kubernetes {
    pub mod lease;
    pub mod removal;
    mod resource;
    mod shallow;

    pub use resource::{Page, Pages, resource};

    #[cfg(feature = "control")]
    pub mod announcements;
    #[cfg(feature = "control")]
    pub mod cabundle;
    #[cfg(feature = "control")]
    pub mod certificates;
    #[cfg(feature = "control")]
    pub mod engine;
    #[cfg(feature = "control")]
    pub mod events;
    #[cfg(feature = "control")]
    pub mod healer;
    #[cfg(feature = "control")]
    pub mod nodes;
    #[cfg(feature = "control")]
    pub mod owners;
    #[cfg(feature = "control")]
    mod pace;
    #[cfg(feature = "control")]
    mod retries;
    #[cfg(feature = "control")]
    pub mod services;
    #[cfg(feature = "control")]
    pub mod status;
    #[cfg(feature = "control")]
    pub mod watch;
    #[cfg(feature = "control")]
    mod writer;
}
#[cfg(feature = "control")]
pub mod webhook;

#[cfg(feature = "agent")]
pub mod agent;

#[cfg(feature = "cli")]
pub mod cli;

/// What a running process needs around its work: logs, metrics, admin port, readiness, shutdown, and the wiring.
#[cfg(any(feature = "agent", feature = "control"))]
pub mod runtime {
    pub mod logs;

    #[cfg(feature = "control")]
    pub mod admin;
    #[cfg(feature = "control")]
    pub mod app;
    #[cfg(feature = "control")]
    pub mod args;
    #[cfg(feature = "control")]
    pub mod config;
    #[cfg(feature = "control")]
    pub mod debug;
    #[cfg(feature = "control")]
    pub mod readiness;
    #[cfg(feature = "control")]
    pub mod self_check;
    #[cfg(feature = "control")]
    pub mod shutdown;
    #[cfg(feature = "control")]
    pub mod tasks;
}
