//! The kinds of objects that Outrigger reads, and how the API server names them.
