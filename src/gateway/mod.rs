//! Which ports the Services of gateways must have.
