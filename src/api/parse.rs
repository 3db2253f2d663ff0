//! Parsing of durations, hosts and ports, in one place.
