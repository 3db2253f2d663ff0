//! The program in every pod: capture, Envoy's bootstrap and supervision, health.
