//! The part of an object's metadata that the pure layers read.
