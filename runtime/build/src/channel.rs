//! Channels: named, signed pointers to a release. Owns the pointer's text, its signature and what makes one unacceptable;
//! where pointers live and who follows them is the node's.
//!
//! The value in the KV bucket is JSON: `{"release":"sha256:…","canary":null,"counter":7,"expires":"2026-12-01T00:00:00Z",
//! "sig":"selvedge-ed25519-signature:…"}`. Signed is a text of lines that begins with the channel's name, so that a pointer
//! signed for one channel cannot be served on another. A canary is `{"release":"sha256:…","share_bp":500,"salt":"next",
//! "where":{"region":"eu"}}`.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_decision::assign::{self, SLOTS};
use selvedge_decision::{Digest, TimeUs};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::keys::{Signature, SigningKey, TrustStore, Untrusted};

/// The largest pointer that is read, in bytes.
pub const MAX_POINTER_BYTES: usize = 16 << 10;

/// The most labels of a node, and the most that a canary asks for.
pub const MAX_LABELS: usize = 16;

/// What is said of a node, such as `region` and `eu`.
pub type Labels = BTreeMap<String, String>;

/// Which release a channel's nodes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The release.
    pub release: Digest,
    /// A release for a share of the subjects, beside the other.
    pub canary: Option<Canary>,
    /// Goes up with every write; a node never follows a lower one than it has seen.
    pub counter: u64,
    /// From then on the pointer is not followed any more; what runs goes on.
    pub expires_us: TimeUs,
}

/// A release that decides for a share of the subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The release.
    pub release: Digest,
    /// The share in hundredths of a percent, 1 to 10,000.
    pub share_bp: u16,
    /// What a subject is hashed with: as long as it stays, a larger share has those of a smaller.
    pub salt: String,
    /// The labels that a node must have to take part; any node when empty.
    pub on: Labels,
}

/// A canary as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CanaryValue {
    release: String,
    share_bp: u16,
    salt: String,
    #[serde(default, rename = "where")]
    on: Labels,
}

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
    canary: Option<CanaryValue>,
    counter: u64,
    expires: String,
    sig: String,
}

// === impl Pointer ===

impl Pointer {
    /// The value for the bucket, signed for `channel`.
    pub fn sign(&self, channel: &str, key: &SigningKey) -> Vec<u8> {
        let expires = time_text(self.expires_us);
        let sig = key.sign(&self.signed_text(channel, &self.release.to_string(), &expires)).to_string();
        let canary = self.canary.clone().map(CanaryValue::from);
        let value = Value { release: self.release.to_string(), canary, counter: self.counter, expires, sig };
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
        let text = pointer.signed_text(channel, &written.release, &written.expires);
        trust.verify(&text, &sig).map_err(|why| BadPointer::Signature { channel: name(), why })?;
        if pointer.expires_us <= now_us {
            return Err(BadPointer::Expired { channel: name(), expired: written.expires });
        }
        if pointer.counter < highest {
            return Err(BadPointer::PlayedBack { channel: name(), counter: pointer.counter, highest });
        }
        Ok(pointer)
    }

    /// What is signed: releases and times as they are written.
    fn signed_text(&self, channel: &str, release: &str, expires: &str) -> Vec<u8> {
        let canary = self.canary.as_ref().map_or_else(|| "-".to_owned(), Canary::to_string);
        let counter = self.counter;
        format!("selvedge-channel-v1\n{channel}\n{release}\n{canary}\n{counter}\n{expires}\n").into_bytes()
    }
}

// === impl Canary ===

impl Canary {
    /// Whether a node with these labels takes part.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.on.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// Whether it decides for a subject, or for a session where there is no subject.
    pub fn has(&self, unit: &str) -> bool {
        assign::bucket(&self.salt, unit) < self.share_bp
    }

    /// Its share as people write it, such as `5%`.
    pub fn share_text(&self) -> String {
        format!("{}%", f64::from(self.share_bp) / 100.0)
    }

    /// The labels it asks for as people write them; empty when it asks for none.
    pub fn labels_text(&self) -> String {
        labels_text(&self.on)
    }

    /// What is wrong with it, if anything is.
    pub fn problem(&self) -> Option<String> {
        let share = u32::from(self.share_bp);
        if share == 0 || share > SLOTS {
            return Some(format!("share_bp {share}: expected 1 to {SLOTS}, hundredths of a percent"));
        }
        if !is_label(&self.salt) {
            return Some(format!("salt {:?}: {LABEL}", self.salt));
        }
        labels_problem(&self.on).map(|why| format!("where: {why}"))
    }
}

impl fmt::Display for Canary {
    /// One line that says all of it, and of no other canary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.release, self.share_bp, self.salt, self.labels_text())
    }
}

impl From<Canary> for CanaryValue {
    fn from(Canary { release, share_bp, salt, on }: Canary) -> Self {
        Self { release: release.to_string(), share_bp, salt, on }
    }
}

impl TryFrom<CanaryValue> for Canary {
    type Error = String;

    fn try_from(CanaryValue { release, share_bp, salt, on }: CanaryValue) -> Result<Self, String> {
        let release = release.parse().map_err(|bad: selvedge_decision::BadId| bad.to_string())?;
        let canary = Self { release, share_bp, salt, on };
        canary.problem().map_or(Ok(canary), Err)
    }
}

impl Serialize for Canary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CanaryValue::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Canary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CanaryValue::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// What [`is_label`] wants, for people.
const LABEL: &str = "expected 1 to 64 characters of a-z, A-Z, 0-9, `.`, `_` and `-`";

/// Whether `text` can be a label's name, its value, or a salt: what separates them in a text stands in none.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// What is wrong with labels, if anything is.
pub fn labels_problem(labels: &Labels) -> Option<String> {
    if labels.len() > MAX_LABELS {
        return Some(format!("{} labels, at most {MAX_LABELS}", labels.len()));
    }
    let bad = labels.iter().flat_map(|(name, value)| [name, value]).find(|text| !is_label(text));
    bad.map(|text| format!("label {text:?}: {LABEL}"))
}

/// Labels as people write them: `region=eu,zone=b`.
pub fn labels_text(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
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

fn parse(channel: &str, value: &[u8]) -> Result<(Pointer, Value), BadPointer> {
    if value.len() > MAX_POINTER_BYTES {
        return Err(bad(channel, format!("{} bytes, at most {MAX_POINTER_BYTES}", value.len())));
    }
    let mut value: Value = serde_json::from_slice(value).map_err(|error| bad(channel, error))?;
    let canary = value.canary.take().map(Canary::try_from).transpose();
    let canary = canary.map_err(|why| bad(channel, format!("canary: {why}")))?;
    let release: Digest = value.release.parse().map_err(|error| bad(channel, error))?;
    let expires = OffsetDateTime::parse(&value.expires, &Rfc3339).map_err(|error| bad(channel, error))?;
    let pointer = Pointer {
        release,
        canary,
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

    fn canary() -> Canary {
        let on = [("region", "eu"), ("zone", "b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Canary { release: Digest::of(b"next"), share_bp: 500, salt: "next".into(), on: on.into() }
    }

    #[test]
    fn a_pointer_reads_back_as_signed() {
        let key = SigningKey::generate().unwrap();
        let trust = TrustStore::of([key.public("ops")]);
        for pointer in [pointer(), Pointer { canary: Some(canary()), ..pointer() }] {
            let value = pointer.sign("prod", &key);
            assert_eq!(Pointer::verify("prod", &value, &trust, NOW_US, 7), Ok(pointer.clone()));
            assert_eq!(Pointer::read("prod", &value), Ok(pointer));
        }
    }

    #[test]
    fn a_canary_is_signed_whole_and_bounded() {
        let key = SigningKey::generate().unwrap();
        let trust = TrustStore::of([key.public("ops")]);
        let value = String::from_utf8(Pointer { canary: Some(canary()), ..pointer() }.sign("prod", &key)).unwrap();
        let check = |from: &str, to: &str, expected: &str| {
            assert!(value.contains(from), "{value}");
            let error = Pointer::verify("prod", value.replace(from, to).as_bytes(), &trust, NOW_US, 0);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        };
        let next = Digest::of(b"next").to_string();
        check(&next, &Digest::of(b"other").to_string(), "not signed");
        check(":500", ":501", "not signed");
        check("\"salt\":\"next\"", "\"salt\":\"text\"", "not signed");
        check("\"eu\"", "\"us\"", "not signed");
        check("\"zone\"", "\"line\"", "not signed");
        check(":500", ":0", "share_bp 0: expected 1 to 10000");
        check(":500", ":10001", "share_bp 10001");
        check("\"salt\":\"next\"", "\"salt\":\"a b\"", "salt \"a b\": expected 1 to 64");
        check("\"eu\"", "\"e=u\"", "where: label \"e=u\"");
        check("\"share_bp\"", "\"x\":1,\"share_bp\"", "unknown field");
    }

    #[test]
    fn a_canary_has_its_share_of_subjects_on_the_nodes_it_fits() {
        let check = |labels: &[(&str, &str)], fits: bool| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(canary().fits(&labels), fits, "{labels:?}");
        };
        check(&[("region", "eu"), ("zone", "b"), ("disk", "nvme")], true);
        check(&[("region", "us"), ("zone", "b")], false);
        check(&[("region", "eu")], false);
        assert!(Canary { on: Labels::new(), ..canary() }.fits(&Labels::new()));
        let units: Vec<String> = (0..10_000).map(|i| format!("u-{i}")).collect();
        let small: Vec<&String> = units.iter().filter(|unit| canary().has(unit)).collect();
        assert!((400..600).contains(&small.len()), "{}", small.len());
        let large = Canary { share_bp: 5_000, ..canary() };
        assert!(small.iter().all(|unit| large.has(unit)), "a larger share has those of a smaller");
        let all = Canary { share_bp: 10_000, ..canary() };
        assert!(units.iter().all(|unit| all.has(unit)));
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
        check("prod", &value.replace("null", "{\"share_bp\":100}"), NOW_US, 0, "missing field");
        check("prod", &value.replace('{', "{\"x\":1,"), NOW_US, 0, "unknown field");
        check("prod", "{}", NOW_US, 0, "not a pointer");
        check("prod", &" ".repeat(MAX_POINTER_BYTES + 1), NOW_US, 0, "at most 16384");
        let stranger = pointer().sign("prod", &SigningKey::generate().unwrap());
        check("prod", &String::from_utf8(stranger).unwrap(), NOW_US, 0, "not trusted");
    }
}
