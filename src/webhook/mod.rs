//! The HTTPS server of the admission webhooks.
