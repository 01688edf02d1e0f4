//! Ids: what names a decision, a node's run, a release. Owns their text forms; must not read a clock or draw a number,
//! so every id here is made from values the caller hands in.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::assign::murmur3_x86_32;
use crate::form::{Form, Reader};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type TimeUs = i64;

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: expected {expected}")]
pub struct BadId {
    what: &'static str,
    text: String,
    expected: &'static str,
}

/// A SHA-256 digest, written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// A node's name as its operator gave it: 1 to 32 characters of `a-z 0-9 -`, so that it can stand in a NATS subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

/// One run of a node: a counter in the high 32 bits, raised durably at every start, and 32 random bits drawn with it, so
/// that a cloned disk never repeats an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A decision's id: a UUIDv7 (RFC 9562) whose random part is 32 bits that name node and epoch, a bit that says whether a page
/// decided it, and a 29-bit counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DecisionId(pub [u8; 16]);

// === forms ===

impl<'a> Form<'a> for Digest {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        Self(Form::read(from))
    }
}

impl<'a> Form<'a> for DecisionId {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        Self(Form::read(from))
    }
}

// === impl Digest ===

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits alone, as used in file names.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.strip_prefix("sha256:")
            .and_then(unhex::<32>)
            .map(Self)
            .ok_or_else(|| bad("digest", text, "sha256: and 64 hex digits"))
    }
}

// === impl NodeId ===

impl NodeId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bits by which ids minted in this node's `epoch` name it.
    pub fn tag(&self, epoch: Epoch) -> u32 {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.0.as_bytes())
            .chain_update([0])
            .chain_update(epoch.0.to_le_bytes())
            .finalize()
            .into();
        u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl TryFrom<String> for NodeId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text)) } else { Err(bad("node name", &text, "1 to 32 characters of a-z, 0-9 and -")) }
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

impl FromStr for NodeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Epoch ===

impl Epoch {
    /// An epoch from its durable counter and the 32 bits drawn with it.
    pub fn new(counter: u32, random: u32) -> Self {
        Self(u64::from(counter) << 32 | u64::from(random))
    }

    /// How many times this node's data directory was started.
    pub fn counter(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        unhex::<8>(text).map(|bytes| Self(u64::from_be_bytes(bytes))).ok_or_else(|| bad("epoch", text, "16 hex digits"))
    }
}

// === impl DecisionId ===

impl DecisionId {
    /// Mints an id. `tag` is [`NodeId::tag`]; `count` goes up by one with every id of the epoch, its low 29 bits are used.
    pub fn new(time_us: TimeUs, tag: u32, count: u32) -> Self {
        Self::mint(time_us, tag, count & (Self::OF_A_PAGE - 1))
    }

    /// Mints an id in a page, which has no name: `tag` is 32 random bits of the page, and `count` goes up by one from a random
    /// number, so that pages do not meet by chance. No node mints such an id.
    pub fn of_a_page(time_us: TimeUs, tag: u32, count: u32) -> Self {
        Self::mint(time_us, tag, count & (Self::OF_A_PAGE - 1) | Self::OF_A_PAGE)
    }

    /// Whether a page decided it, and no node.
    pub fn is_of_a_page(self) -> bool {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d]) & Self::OF_A_PAGE != 0
    }

    /// The highest of the 30 bits behind the tag.
    const OF_A_PAGE: u32 = 1 << 29;

    fn mint(time_us: TimeUs, tag: u32, count: u32) -> Self {
        let ms = (time_us.max(0) / 1000) as u64;
        // RFC 9562, method 3: the 12 bits after the version carry the fraction of the millisecond.
        let fraction = (time_us.max(0) % 1000) as u64 * 4096 / 1000;
        let high = ms << 16 | 0x7000 | fraction;
        let low = 0b10 << 62 | u64::from(tag) << 30 | u64::from(count);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&low.to_be_bytes());
        Self(id)
    }

    /// The millisecond in which it was minted, as microseconds.
    pub fn time_us(self) -> TimeUs {
        let [a, b, c, d, e, f, ..] = self.0;
        (u64::from_be_bytes([0, 0, a, b, c, d, e, f]) * 1000) as TimeUs
    }

    /// The node's tag it was minted with.
    pub fn tag(self) -> u32 {
        let low = u64::from_be_bytes(core::array::from_fn(|i| self.0[8 + i]));
        (low >> 30) as u32
    }

    /// Whether this decision is in a share of all, from 0 to 1: by a hash of the id, so that every reader can tell which are.
    pub fn is_among(self, share: f64) -> bool {
        f64::from(murmur3_x86_32(&self.0)) / 4_294_967_296.0 < share
    }

    /// The seed of one random purpose of this decision: the first 8 bytes, little-endian, of
    /// SHA-256(id ‖ placement ‖ purpose).
    pub fn seed(self, placement: &str, purpose: &str) -> u64 {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.0)
            .chain_update(placement.as_bytes())
            .chain_update(purpose.as_bytes())
            .finalize()
            .into();
        u64::from_le_bytes(core::array::from_fn(|i| hash[i]))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(36);
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.extend(hex_digits(*byte));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DecisionId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|&i| text.as_bytes()[i] == b'-');
        dashed
            .then(|| text.replace('-', ""))
            .and_then(|digits| unhex::<16>(&digits))
            .map(Self)
            .ok_or_else(|| bad("decision id", text, "a UUID such as 0190a0f2-7e1c-7abc-8def-0123456789ab"))
    }
}

fn bad(what: &'static str, text: &str, expected: &'static str) -> BadId {
    BadId { what, text: text.chars().take(80).collect(), expected }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex_digits(*byte)).collect()
}

fn hex_digits(byte: u8) -> [char; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]))
}

/// Bytes from twice as many hex digits.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written() {
        let id = DecisionId::new(1_700_000_000_123_456, 0xdead_beef, 7);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.tag(), 0xdead_beef);
        assert!(!id.is_of_a_page() && !DecisionId::new(0, u32::MAX, u32::MAX).is_of_a_page());
        let of_a_page = DecisionId::of_a_page(1_700_000_000_123_456, 0xdead_beef, 7);
        assert!(of_a_page.is_of_a_page() && of_a_page != id);
        assert_eq!((of_a_page.tag(), of_a_page.time_us()), (id.tag(), id.time_us()));
        assert_eq!(id.time_us(), 1_700_000_000_123_000);
        assert_eq!(id.to_string().as_bytes()[14], b'7', "a UUID of version 7");
        assert!(id < DecisionId::new(1_700_000_000_123_789, 0, 0), "ordered inside a millisecond");
        let epoch = Epoch::new(3, 9);
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn what_is_not_an_id_is_refused_with_what_was_expected() {
        assert!("0190a0f2".parse::<DecisionId>().is_err());
        assert!("sha256:zz".parse::<Digest>().is_err());
        let error = "Edge 1".parse::<NodeId>().map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("\"Edge 1\" is not a node name: expected 1 to 32 characters of a-z, 0-9 and -".to_owned())
        );
    }
}
