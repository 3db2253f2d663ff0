//! The admission webhooks: the server by itself, and called by a real API server.

mod api_server;
mod faults;
mod matrix;
mod policies;
mod server;
mod serving;
mod validation;
