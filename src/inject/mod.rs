//! Sidecar injection: who gets one, and the patch that adds it.
