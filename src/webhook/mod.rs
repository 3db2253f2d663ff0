//! The HTTPS server of the admission webhooks: [`server`] takes the connections, one module answers each path.

pub mod inject;
pub mod review;
pub mod server;
pub mod validate;
