//! Everything that talks to the API server: watches, writers, lease, events.
