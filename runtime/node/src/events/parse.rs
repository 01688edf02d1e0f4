//! The JSON of events: an object, an array or `{"batch":[…]}`. One event's fault rejects that event and no other. Owns the
//! field names (camelCase, snake_case and the names other trackers use); texts are borrowed until an event is whole.

use std::borrow::Cow;
use std::fmt;

use selvedge_decision::{DecisionId, TimeUs};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{BadBatch, BatchCode, Event, Limits, RejectCode, Rejected, rfc3339};

/// Bytes of an event's name.
pub const NAME_BYTES: usize = 128;
/// Bytes of a subject, session, item or message id.
pub const ID_BYTES: usize = 256;
/// How deep properties may nest.
pub const DEPTH: usize = 32;

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Time,
    Subject,
    Session,
    Item,
    DecisionId,
    MessageId,
    Properties,
    Batch,
    Unknown,
}

/// The raw values of one object by field.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a RawValue>; Field::Unknown as usize],
    twice: Option<Field>,
}

/// Takes apart a request's body that arrived at `now_us`. Outer error: nothing of it was taken.
pub fn parse(body: &[u8], now_us: TimeUs, limits: &Limits) -> Result<Vec<Result<Event, Rejected>>, BadBatch> {
    if body.len() > limits.batch_bytes {
        let message =
            format!("the batch has {} bytes, {} are allowed: send smaller batches", body.len(), limits.batch_bytes);
        return Err(BadBatch { code: BatchCode::BodyTooLarge, message, limit: Some(limits.batch_bytes) });
    }
    let text = std::str::from_utf8(body).map_err(|error| BadBatch {
        code: BatchCode::InvalidUtf8,
        message: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
        limit: None,
    })?;
    let raws = match text.trim_start().as_bytes().first() {
        Some(b'[') => elements(text, limits)?,
        Some(b'{') => {
            let fields: Fields<'_> = serde_json::from_str(text).map_err(invalid_json)?;
            match fields.get(Field::Batch) {
                Some(batch) if batch.get().starts_with('[') => elements(batch.get(), limits)?,
                Some(_) => return Err(not_events("\"batch\" must be an array of events")),
                None => return Ok(vec![event(0, text.trim(), now_us, limits)]),
            }
        }
        _ => return Err(not_events("expected an event, an array of events or {\"batch\":[…]}")),
    };
    Ok(raws.into_iter().enumerate().map(|(index, raw)| event(index, raw.get(), now_us, limits)).collect())
}

fn elements<'a>(text: &'a str, limits: &Limits) -> Result<Vec<&'a RawValue>, BadBatch> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let (raws, count) = Elements { limit: limits.events }
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(invalid_json)?;
    if count > limits.events {
        let message = format!("the batch has {count} events, {} are allowed: send smaller batches", limits.events);
        return Err(BadBatch { code: BatchCode::TooManyEvents, message, limit: Some(limits.events) });
    }
    Ok(raws)
}

fn invalid_json(error: serde_json::Error) -> BadBatch {
    BadBatch { code: BatchCode::InvalidJson, message: format!("the body is not JSON: {error}"), limit: None }
}

fn not_events(message: &str) -> BadBatch {
    BadBatch { code: BatchCode::InvalidJson, message: message.to_owned(), limit: None }
}

fn event(index: usize, text: &str, now_us: TimeUs, limits: &Limits) -> Result<Event, Rejected> {
    let reject = |code, field, message| Rejected { index, code, field, message };
    if text.len() > limits.event_bytes {
        let message = format!("it has {} bytes, {} are allowed", text.len(), limits.event_bytes);
        return Err(reject(RejectCode::EventTooLarge, None, message));
    }
    let fields: Fields<'_> = match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text)
            .map_err(|error| reject(RejectCode::NotAnObject, None, format!("it is not an object: {error}")))?,
        _ => return Err(reject(RejectCode::NotAnObject, None, format!("it is {}, not an object", kind(text)))),
    };
    fields.event(now_us).map_err(|(code, field, message)| reject(code, Some(field.as_str()), message))
}

/// Why a field was not taken.
type BadField = (RejectCode, Field, String);

// === impl Fields ===

impl<'a> Fields<'a> {
    fn get(&self, field: Field) -> Option<&'a RawValue> {
        // `null` says the same as leaving the field out.
        self.values[field as usize].filter(|raw| raw.get() != "null")
    }

    fn event(&self, now_us: TimeUs) -> Result<Event, BadField> {
        if let Some(field) = self.twice {
            return Err((RejectCode::DuplicateField, field, "it is given twice".to_owned()));
        }
        let name = self.text(Field::Name, NAME_BYTES)?;
        let name = name.ok_or_else(|| (RejectCode::MissingField, Field::Name, "every event has a name".to_owned()))?;
        let time_us = match self.text(Field::Time, 64)? {
            None => now_us,
            Some(text) => rfc3339::parse(&text).ok_or_else(|| {
                let message = format!("{text:?} is not an RFC 3339 time such as 2026-03-01T12:00:00Z");
                (RejectCode::BadTime, Field::Time, message)
            })?,
        };
        let decision_id = match self.text(Field::DecisionId, 64)? {
            None => None,
            Some(text) => Some(
                text.parse::<DecisionId>()
                    .map_err(|error| (RejectCode::BadId, Field::DecisionId, error.to_string()))?,
            ),
        };
        Ok(Event {
            time_us,
            received_us: now_us,
            name: name.into_owned(),
            subject: self.text(Field::Subject, ID_BYTES)?.map(Cow::into_owned),
            session: self.text(Field::Session, ID_BYTES)?.map(Cow::into_owned),
            item: self.text(Field::Item, ID_BYTES)?.map(Cow::into_owned),
            decision_id,
            message_id: self.text(Field::MessageId, ID_BYTES)?.map(Cow::into_owned),
            properties: self.properties()?,
        })
    }

    /// A text of 1 to `limit` bytes without control characters.
    fn text(&self, field: Field, limit: usize) -> Result<Option<Cow<'a, str>>, BadField> {
        let Some(raw) = self.get(field).map(RawValue::get) else { return Ok(None) };
        let Some(inner) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
            return Err((RejectCode::WrongType, field, format!("it must be a text, found {}", kind(raw))));
        };
        let text = if inner.contains('\\') {
            let bad = |error| (RejectCode::BadText, field, format!("its escapes are broken: {error}"));
            Cow::Owned(serde_json::from_str::<String>(raw).map_err(bad)?)
        } else {
            Cow::Borrowed(inner)
        };
        if text.is_empty() {
            return Err((RejectCode::MissingField, field, "it is empty".to_owned()));
        }
        if text.len() > limit {
            return Err((RejectCode::TooLong, field, format!("it has {} bytes, {limit} are allowed", text.len())));
        }
        // Control characters would break keys (pairs of entities are joined by NUL) and lines of text further on.
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err((RejectCode::BadText, field, "it has control characters".to_owned()));
        }
        Ok(Some(text))
    }

    fn properties(&self) -> Result<String, BadField> {
        let Some(raw) = self.get(Field::Properties).map(RawValue::get) else { return Ok("{}".to_owned()) };
        if !raw.starts_with('{') {
            return Err((
                RejectCode::WrongType,
                Field::Properties,
                format!("it must be an object, found {}", kind(raw)),
            ));
        }
        let (depth, multiline) = shape(raw);
        if depth > DEPTH {
            let message = format!("it nests {depth} deep, {DEPTH} are allowed");
            return Err((RejectCode::TooDeep, Field::Properties, message));
        }
        // Line breaks can only stand between JSON's tokens, where a space says the same.
        Ok(if multiline { raw.replace(['\n', '\r'], " ") } else { raw.to_owned() })
    }
}

/// How deep valid JSON nests, and whether it has line breaks.
fn shape(json: &str) -> (usize, bool) {
    let (mut depth, mut deepest, mut in_text, mut escaped, mut multiline) = (0usize, 0usize, false, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            b'\n' | b'\r' => multiline = true,
            _ => {}
        }
    }
    (deepest, multiline)
}

/// What a JSON value is, in words.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(field) = map.next_key::<Field>()? {
                    match fields.values.get_mut(field as usize) {
                        None => drop(map.next_value::<IgnoredAny>()?),
                        Some(value) => {
                            if value.replace(map.next_value()?).is_some() {
                                fields.twice.get_or_insert(field);
                            }
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

// === impl Field ===

impl Field {
    fn as_str(self) -> &'static str {
        match self {
            Self::Name => "event",
            Self::Time => "timestamp",
            Self::Subject => "subject",
            Self::Session => "session",
            Self::Item => "item",
            Self::DecisionId => "decision_id",
            Self::MessageId => "message_id",
            Self::Properties => "properties",
            Self::Batch => "batch",
            Self::Unknown => "",
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "event" | "name" => Field::Name,
                    "timestamp" | "time" => Field::Time,
                    "subject" | "userId" | "user_id" => Field::Subject,
                    "session" | "sessionId" | "session_id" => Field::Session,
                    "item" | "itemId" | "item_id" => Field::Item,
                    "decision_id" | "decisionId" => Field::DecisionId,
                    "message_id" | "messageId" => Field::MessageId,
                    "properties" => Field::Properties,
                    "batch" => Field::Batch,
                    _ => Field::Unknown,
                })
            }
        }
        deserializer.deserialize_identifier(Key)
    }
}

/// The elements of an array as they stand, kept up to a limit and counted beyond it.
struct Elements {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut raws = Vec::with_capacity(64.min(self.limit));
        while raws.len() < self.limit {
            match seq.next_element()? {
                Some(raw) => raws.push(raw),
                None => {
                    let count = raws.len();
                    return Ok((raws, count));
                }
            }
        }
        let mut count = raws.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((raws, count))
    }
}

#[cfg(test)]
mod tests;
