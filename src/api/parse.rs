//! Parsing of durations, hosts and ports, in one place.

mod duration;
mod host;

pub use duration::{Duration, DurationError};
pub use host::{HostError, dns_label, dns_name, ip_or_subnet, wildcard_name};

/// Whether a number can be a TCP or UDP port.
pub fn is_port(number: u32) -> bool {
    (1..=65535).contains(&number)
}
