//! Labels that are read or written.
