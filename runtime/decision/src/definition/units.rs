//! Lengths of time and sizes as people write them. Owns their units.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString as _;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{TimeUs, rfc3339};

/// A length of time, written `5ms`, `10s`, `2m`, `1h`, `7d`; in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    us: i64,
}

/// A moment, written as RFC 3339 has it, such as `2026-12-01T08:00:00Z`; in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time {
    us: TimeUs,
}

/// A number of bytes, written `64KiB`, `256MiB`, `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize {
    bytes: u64,
}

const SPANS: [(&str, i64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

// === impl Span ===

impl Span {
    /// From microseconds.
    pub const fn from_us(us: i64) -> Self {
        Self { us }
    }

    /// In microseconds.
    pub const fn us(self) -> i64 {
        self.us
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split(&text);
        let us = SPANS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, us)| number.parse::<i64>().ok()?.checked_mul(*us));
        us.map(Self::from_us).ok_or_else(|| format!("{text:?} is not a time such as 5ms, 10s, 2m, 1h or 7d"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, us): &&(&str, i64)| self.us % us == 0;
        let (name, us) = SPANS.iter().rev().find(fits).unwrap_or(&SPANS[0]);
        if self.us == 0 { f.write_str("0s") } else { write!(f, "{}{name}", self.us / us) }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

// === impl Time ===

impl Time {
    /// From microseconds since 1970.
    pub const fn from_us(us: TimeUs) -> Self {
        Self { us }
    }

    /// In microseconds since 1970.
    pub const fn us(self) -> TimeUs {
        self.us
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let us = rfc3339::parse(&text).ok_or_else(|| format!("{text:?} is not a time such as 2026-12-01T08:00:00Z"))?;
        Ok(Self { us })
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        rfc3339::format(time.us)
    }
}

// === impl ByteSize ===

impl ByteSize {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split(&text);
        let bytes = SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, scale)| number.parse::<u64>().ok()?.checked_mul(*scale));
        bytes.map(Self::from_bytes).ok_or_else(|| format!("{text:?} is not a size such as 64KiB, 256MiB or 4GiB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&str, u64)| self.bytes.is_multiple_of(*scale);
        let (name, scale) = SIZES.iter().rev().find(fits).unwrap_or(&SIZES[0]);
        if self.bytes == 0 { f.write_str("0B") } else { write!(f, "{}{name}", self.bytes / scale) }
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// The digits and what follows them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_back_as_written() {
        let span = |text: &str, us| {
            assert_eq!(Span::try_from(text.to_owned()), Ok(Span::from_us(us)), "{text}");
            assert_eq!(String::from(Span::from_us(us)), text);
        };
        span("5ms", 5_000);
        span("7d", 604_800_000_000);
        span("0s", 0);
        let size = |text: &str, bytes| {
            assert_eq!(ByteSize::try_from(text.to_owned()), Ok(ByteSize::from_bytes(bytes)), "{text}");
            assert_eq!(String::from(ByteSize::from_bytes(bytes)), text);
        };
        size("1000B", 1_000);
        size("64KiB", 65_536);
        size("3GiB", 3 << 30);
        size("0B", 0);
        for bad in ["", "5", "ms", "1 s", "-1s", "99999999999999999999d", "3 GiB", "3GB"] {
            assert!(Span::try_from(bad.to_owned()).is_err() && ByteSize::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
