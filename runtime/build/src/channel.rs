//! Channels: named, signed pointers to a release. Owns the pointer's text, its signature and what makes one unacceptable;
//! where pointers live and who follows them is the node's.
//!
//! The value in the KV bucket is JSON: `{"release":"sha256:…","canary":null,"counter":7,"expires":"2026-12-01T00:00:00Z",
//! "sig":"selvedge-ed25519-signature:…"}`. Signed is a text of lines that begins with the channel's name, so that a pointer
//! signed for one channel cannot be served on another.

use selvedge_decision::{Digest, TimeUs};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::keys::{Signature, SigningKey, TrustStore, Untrusted};

/// The largest pointer that is read, in bytes.
pub const MAX_POINTER_BYTES: usize = 16 << 10;

/// Which release a channel's nodes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The release.
    pub release: Digest,
    /// A release for a share of the nodes; none in this version of the runtime.
    pub canary: Option<NoCanary>,
    /// Goes up with every write; a node never follows a lower one than it has seen.
    pub counter: u64,
    /// From then on the pointer is not followed any more; what runs goes on.
    pub expires_us: TimeUs,
}

/// A canary, which this runtime cannot follow yet: no value of it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCanary {}

/// Why a pointer is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPointer {
    /// It is not a pointer at all.
    #[error("channel {channel}: not a pointer: {why}")]
    Text {
        /// The channel.
        channel: String,
        /// What is wrong.
        why: String,
    },
    /// It carries a canary.
    #[error("channel {channel}: the pointer has a canary, which this runtime does not know; update the node")]
    Canary {
        /// The channel.
        channel: String,
    },
    /// No trusted key signed it for this channel.
    #[error("channel {channel}: the pointer is not signed for this channel by a trusted key: {why}")]
    Signature {
        /// The channel.
        channel: String,
        /// Which key signed, which are trusted.
        why: Untrusted,
    },
    /// Its time is over.
    #[error("channel {channel}: the pointer expired at {expired}; deploy again")]
    Expired {
        /// The channel.
        channel: String,
        /// RFC 3339.
        expired: String,
    },
    /// An older one is served again.
    #[error(
        "channel {channel}: the pointer's counter {counter} is below {highest}, the highest seen: an old pointer is played back; \
         deploy again"
    )]
    PlayedBack {
        /// The channel.
        channel: String,
        /// What the pointer says.
        counter: u64,
        /// What the node has seen.
        highest: u64,
    },
}

/// The JSON in the bucket.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    release: String,
    #[serde(default)]
    canary: Option<serde_json::Value>,
    counter: u64,
    expires: String,
    sig: String,
}

// === impl Pointer ===

impl Pointer {
    /// The value for the bucket, signed for `channel`.
    pub fn sign(&self, channel: &str, key: &SigningKey) -> Vec<u8> {
        let expires = time_text(self.expires_us);
        let sig = key.sign(&signed_text(channel, &self.release.to_string(), self.counter, &expires)).to_string();
        let value = Value { release: self.release.to_string(), canary: None, counter: self.counter, expires, sig };
        // Text and numbers only: writing them cannot fail.
        serde_json::to_vec(&value).unwrap_or_default()
    }

    /// Reads a value without believing it: for those who show it or replace it.
    pub fn read(channel: &str, value: &[u8]) -> Result<Self, BadPointer> {
        parse(channel, value).map(|(pointer, _)| pointer)
    }

    /// Reads a value and checks that a trusted key signed it for `channel` and that it is neither expired at `now_us` nor
    /// below `highest`, the highest counter seen.
    pub fn verify(
        channel: &str,
        value: &[u8],
        trust: &TrustStore,
        now_us: TimeUs,
        highest: u64,
    ) -> Result<Self, BadPointer> {
        let (pointer, written) = parse(channel, value)?;
        let name = || channel.to_owned();
        let sig: Signature = written.sig.parse().map_err(|error| bad(channel, error))?;
        let text = signed_text(channel, &written.release, written.counter, &written.expires);
        trust.verify(&text, &sig).map_err(|why| BadPointer::Signature { channel: name(), why })?;
        if pointer.expires_us <= now_us {
            return Err(BadPointer::Expired { channel: name(), expired: written.expires });
        }
        if pointer.counter < highest {
            return Err(BadPointer::PlayedBack { channel: name(), counter: pointer.counter, highest });
        }
        Ok(pointer)
    }
}

/// Whether `name` can name a channel: 1 to 64 characters of `a-z 0-9 -`.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// `time_us` as RFC 3339 in UTC, whole seconds.
pub fn time_text(time_us: TimeUs) -> String {
    let time = OffsetDateTime::from_unix_timestamp(time_us.div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

fn signed_text(channel: &str, release: &str, counter: u64, expires: &str) -> Vec<u8> {
    format!("selvedge-channel-v1\n{channel}\n{release}\n-\n{counter}\n{expires}\n").into_bytes()
}

fn parse(channel: &str, value: &[u8]) -> Result<(Pointer, Value), BadPointer> {
    if value.len() > MAX_POINTER_BYTES {
        return Err(bad(channel, format!("{} bytes, at most {MAX_POINTER_BYTES}", value.len())));
    }
    let value: Value = serde_json::from_slice(value).map_err(|error| bad(channel, error))?;
    if value.canary.is_some() {
        return Err(BadPointer::Canary { channel: channel.to_owned() });
    }
    let release: Digest = value.release.parse().map_err(|error| bad(channel, error))?;
    let expires = OffsetDateTime::parse(&value.expires, &Rfc3339).map_err(|error| bad(channel, error))?;
    let pointer = Pointer {
        release,
        canary: None,
        counter: value.counter,
        expires_us: expires.unix_timestamp().saturating_mul(1_000_000),
    };
    Ok((pointer, value))
}

fn bad(channel: &str, why: impl ToString) -> BadPointer {
    BadPointer::Text { channel: channel.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW_US: TimeUs = 1_700_000_000_000_000;

    fn pointer() -> Pointer {
        Pointer { release: Digest::of(b"r"), canary: None, counter: 7, expires_us: NOW_US + 60_000_000 }
    }

    #[test]
    fn a_pointer_reads_back_as_signed() {
        let key = SigningKey::generate().unwrap();
        let trust = TrustStore::of([key.public("ops")]);
        let value = pointer().sign("prod", &key);
        assert_eq!(Pointer::verify("prod", &value, &trust, NOW_US, 7), Ok(pointer()));
        assert_eq!(Pointer::read("prod", &value), Ok(pointer()));
    }

    #[test]
    fn what_must_not_be_followed_is_refused_with_the_reason() {
        let key = SigningKey::generate().unwrap();
        let trust = TrustStore::of([key.public("ops")]);
        let value = String::from_utf8(pointer().sign("prod", &key)).unwrap();
        let check = |channel: &str, value: &str, now_us, highest, expected: &str| {
            let error = Pointer::verify(channel, value.as_bytes(), &trust, now_us, highest).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        };
        check("prod", &value, NOW_US, 8, "counter 7 is below 8");
        check("prod", &value, NOW_US + 60_000_000, 0, "expired at 2023-11-14T22:14:20Z");
        check("prod-eu", &value, NOW_US, 0, "not signed for this channel");
        check("prod", &value.replace(":7,", ":8,"), NOW_US, 0, "not signed");
        check("prod", &value.replace("22:14:20Z", "22:14:21Z"), NOW_US, 0, "not signed");
        // Another text for the same moment is another text.
        check("prod", &value.replace("22:14:20Z", "23:14:20+01:00"), NOW_US, 0, "not signed");
        check("prod", &value.replace("null", "{\"share_bp\":100}"), NOW_US, 0, "canary");
        check("prod", &value.replace('{', "{\"x\":1,"), NOW_US, 0, "unknown field");
        check("prod", "{}", NOW_US, 0, "not a pointer");
        check("prod", &" ".repeat(MAX_POINTER_BYTES + 1), NOW_US, 0, "at most 16384");
        let stranger = pointer().sign("prod", &SigningKey::generate().unwrap());
        check("prod", &String::from_utf8(stranger).unwrap(), NOW_US, 0, "not trusted");
    }
}
