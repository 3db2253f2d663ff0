//! What the objects of a [`crate::world::World`] mean together.
