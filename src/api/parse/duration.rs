//! Lengths of time.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time as Istio's objects write it: Go's form (`1.5s`, `100ms`, `1m30s`, `1h`), of which protobuf's
/// (`1.5s`) is a part. Istio decodes durations with Go's `time.ParseDuration`, so that both forms are in use.
///
/// Whole nanoseconds, up to about 292 years either way; a negative one can be read, so that validation can name the
/// field. Written in protobuf's form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    nanoseconds: i64,
}

impl Duration {
    /// A duration of whole milliseconds.
    pub const fn from_millis(milliseconds: i32) -> Duration {
        Duration {
            nanoseconds: milliseconds as i64 * 1_000_000,
        }
    }

    /// The whole of it, in nanoseconds.
    pub fn as_nanos(self) -> i64 {
        self.nanoseconds
    }

    /// As the standard library's type; `None` for negative ones.
    pub fn to_std(self) -> Option<std::time::Duration> {
        u64::try_from(self.nanoseconds)
            .ok()
            .map(std::time::Duration::from_nanos)
    }
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration; it needs numbers with units, such as \"1.5s\", \"100ms\" or \"1m30s\""
)]
pub struct DurationError {
    text: String,
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DurationError {
            text: text.to_owned(),
        };
        let (negative, magnitude) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let nanoseconds = if magnitude == "0" {
            0
        } else {
            nanoseconds(magnitude).ok_or_else(error)?
        };
        let signed = if negative { -nanoseconds } else { nanoseconds };
        Ok(Duration {
            nanoseconds: i64::try_from(signed).map_err(|_| error())?,
        })
    }
}

/// Adds up the terms of an unsigned duration; `None` where it is malformed or too long.
fn nanoseconds(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut sum: i128 = 0;
    while !rest.is_empty() || text.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        sum = sum.checked_add(term(number, unit_nanoseconds(unit)?)?)?;
        if sum > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = next;
    }
    Some(sum)
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`; what is below a nanosecond is cut off, as Go does.
fn term(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // More than 18 digits after the point are below a nanosecond in every unit.
    let digits = &fraction[..fraction.len().min(18)];
    let fraction: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    whole
        .checked_mul(unit)?
        .checked_add(fraction * unit / scale)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanoseconds.unsigned_abs();
        let sign = if self.nanoseconds < 0 { "-" } else { "" };
        let (seconds, fraction) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
        if fraction == 0 {
            return write!(f, "{sign}{seconds}s");
        }
        let fraction = format!("{fraction:09}");
        write!(f, "{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> Option<i64> {
        text.parse::<Duration>().ok().map(Duration::as_nanos)
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+5s", 5_000_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_refused() {
        for text in [
            "",
            "5",
            "s",
            "-",
            "+",
            ".s",
            "1..5s",
            "1.2.3s",
            "5 s",
            " 5s",
            "1d",
            "1e3s",
            "5sec",
            "--5s",
            "9223372036854775808ns",
            "3000000h",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_protobufs_form() {
        for (text, expected) in [
            ("1m30s", "90s"),
            ("100ms", "0.1s"),
            ("-1.5s", "-1.5s"),
            ("0", "0s"),
            ("1ns", "0.000000001s"),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn written_durations_read_back_equal(nanoseconds: i64) {
            let duration = Duration { nanoseconds };
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_duration_parser_panic(text in "[-+0-9.a-z\u{b5} ]{0,40}|\\PC*") {
            let _ = text.parse::<Duration>();
        }
    }
}
