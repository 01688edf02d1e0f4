//! Events: something that happened, as its sender says it. Owns what an event is, its limits and which lane it takes. How
//! senders write events is in `events/parse.rs`, what they call them in `events/names.rs`, when they happened in
//! `events/time.rs`, which of them no release knows in `events/unknown.rs`, what they brought a decision in `events/reward.rs`. Must not store anything: that is the outbox's.

pub mod names;
pub mod parse;
pub mod reward;
mod time;
mod unknown;

use selvedge_decision::{DecisionId, TimeUs};
use serde::Serialize;

pub use parse::{Parsed, parse};
pub use selvedge_decision::rfc3339;
pub use unknown::{Unknown, UnknownEvent};

use crate::ids::{Ids, Kind};
use crate::outbox::Lane;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened, by the node's clock as far as that can be known; never after it was received.
    pub time_us: TimeUs,
    /// When the node received it, by the node's clock.
    pub received_us: TimeUs,
    /// What happened (`view_item`, `add_to_cart`, `$reward`).
    pub name: String,
    /// Who did it.
    pub subject: Option<String>,
    /// In which session.
    pub session: Option<String>,
    /// What it was done to.
    pub item: Option<String>,
    /// The decision it follows from.
    pub decision_id: Option<DecisionId>,
    /// The sender's id of this event, by which a second copy is recognised; of a CloudEvent its source, a space and its id.
    pub message_id: Option<String>,
    /// A JSON object on one line, as sent; `{}` when there was none.
    pub properties: String,
    /// What the node knew of its item when it came, as far as aggregates ask for it: a JSON object, `view.feature` to value.
    pub joined: Option<String>,
}

/// What a batch of events and each of them may measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of JSON of one event.
    pub event_bytes: usize,
    /// Bytes of a request's body.
    pub batch_bytes: usize,
    /// Events in a request.
    pub events: usize,
    /// How long before it was received an event may have happened, in microseconds.
    pub max_age_us: i64,
}

/// What a request's headers say of its body. Wherever the body says for itself what it is, that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// `Content-Type`, empty when there is none.
    pub content_type: &'a str,
    /// `Content-Encoding`, empty when there is none.
    pub content_encoding: &'a str,
    /// The attributes of a CloudEvent in binary mode, without the `ce-` that begins their headers; names in lower case.
    pub attributes: Vec<(&'a str, &'a [u8])>,
}

/// Why one event of a batch was not taken; the others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("event {index}: {message}")]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What is wrong.
    pub code: RejectCode,
    /// The field it is wrong with.
    pub field: Option<&'static str>,
    /// What was found, what is allowed.
    pub message: String,
}

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// More bytes than one event may have.
    EventTooLarge,
    /// A line that is not JSON.
    InvalidJson,
    /// Not a JSON object.
    NotAnObject,
    /// A field that must be there is not, or is empty.
    MissingField,
    /// One field given twice, perhaps by two of its names.
    DuplicateField,
    /// A field of another JSON type than it should be.
    WrongType,
    /// A text longer than its limit.
    TooLong,
    /// A text with control characters or broken escapes.
    BadText,
    /// A name that begins with `$` and is none of the node's own.
    ReservedName,
    /// A CloudEvent of another version than 1.0.
    BadVersion,
    /// Not an RFC 3339 time.
    BadTime,
    /// It happened too long ago.
    TooOld,
    /// Not a decision id.
    BadId,
    /// Properties nested too deeply.
    TooDeep,
    /// It names a decision, and does not show that it knows of it.
    NoToken,
    /// What it shows is not that decision's.
    ForgedToken,
    /// What it shows counted once.
    ExpiredToken,
}

/// Why a whole batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadBatch {
    /// What is wrong.
    pub code: BatchCode,
    /// What was found, where, what is allowed.
    pub message: String,
    /// The limit it broke, in the unit the message names.
    pub limit: Option<usize>,
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchCode {
    /// More bytes than a request may have (HTTP 413).
    BodyTooLarge,
    /// More events than a request may have (HTTP 413).
    TooManyEvents,
    /// Packed in a way that is not taken (HTTP 415).
    UnsupportedEncoding,
    /// Not what it is packed as.
    InvalidEncoding,
    /// Not UTF-8.
    InvalidUtf8,
    /// Not JSON, or not an event, an array of events, `{"batch":[…]}` or an event a line.
    InvalidJson,
    /// A `sentAt` that is no RFC 3339 time.
    BadTime,
}

// === impl Event ===

impl Event {
    /// The lane it takes to the core.
    pub fn lane(&self) -> Lane {
        if self.name == names::REWARD { Lane::Rewards } else { Lane::Events }
    }

    /// The same event with the ids of people as the node knows them.
    #[must_use]
    pub fn known_as(mut self, ids: &Ids) -> Self {
        ids.replace(Kind::Subject, &mut self.subject);
        ids.replace(Kind::Session, &mut self.session);
        self
    }

    /// What it weighs in memory, in bytes: the measure of every bound on events that are not on disk yet.
    pub fn weight(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        64 + self.name.len()
            + optional(&self.subject)
            + optional(&self.session)
            + optional(&self.item)
            + optional(&self.message_id)
            + self.properties.len()
            + optional(&self.joined)
    }
}

// === impl Limits ===

impl Default for Limits {
    /// 32 KB an event, 500 KB and 1,000 events a batch, none older than 30 days.
    fn default() -> Self {
        let day_us = 24 * 3600 * 1_000_000;
        Self { event_bytes: 32 * 1024, batch_bytes: 500 * 1024, events: 1000, max_age_us: 30 * day_us }
    }
}

// === impl RejectCode ===

impl RejectCode {
    /// Every code, in the order of declaration.
    pub const ALL: [Self; 17] = [
        Self::EventTooLarge,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::MissingField,
        Self::DuplicateField,
        Self::WrongType,
        Self::TooLong,
        Self::BadText,
        Self::ReservedName,
        Self::BadVersion,
        Self::BadTime,
        Self::TooOld,
        Self::BadId,
        Self::TooDeep,
        Self::NoToken,
        Self::ForgedToken,
        Self::ExpiredToken,
    ];

    /// Its name in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventTooLarge => "event_too_large",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::DuplicateField => "duplicate_field",
            Self::WrongType => "wrong_type",
            Self::TooLong => "too_long",
            Self::BadText => "bad_text",
            Self::ReservedName => "reserved_name",
            Self::BadVersion => "bad_version",
            Self::BadTime => "bad_time",
            Self::TooOld => "too_old",
            Self::BadId => "bad_id",
            Self::TooDeep => "too_deep",
            Self::NoToken => "no_token",
            Self::ForgedToken => "forged_token",
            Self::ExpiredToken => "expired_token",
        }
    }
}

// === impl BatchCode ===

impl BatchCode {
    /// Its name in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyEvents => "too_many_events",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::InvalidEncoding => "invalid_encoding",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::BadTime => "bad_time",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_code_is_in_the_interface_and_on_the_page() {
        let interface: serde_json::Value = serde_json::from_str(include_str!("api/openapi.json")).unwrap();
        let rejected = &interface["components"]["schemas"]["Taken"]["properties"]["rejected"]["items"];
        let codes = rejected["properties"]["code"]["enum"].as_array().unwrap();
        let listed: Vec<&str> = codes.iter().filter_map(|code| code.as_str()).collect();
        assert_eq!(listed, RejectCode::ALL.map(RejectCode::as_str));
        let page = include_str!("../../../docs/events.md");
        for code in RejectCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(page.contains(&format!("\n| `{}` |", code.as_str())), "no row {} in docs/events.md", code.as_str());
        }
    }
}
