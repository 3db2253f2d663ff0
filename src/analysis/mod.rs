//! What is wrong with the objects of a [`crate::world::World`], and the status that says so.
