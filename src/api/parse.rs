//! Parsing of durations, hosts, ports and the like, in one place.

mod duration;
mod host;

pub use duration::{Duration, DurationError};
pub use host::{HostError, dns_label, dns_name, ip_or_subnet, wildcard_name};

/// A boolean in the spellings that Go's `strconv.ParseBool` takes.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether a number can be a TCP or UDP port.
pub fn is_port(number: u32) -> bool {
    (1..=65535).contains(&number)
}
