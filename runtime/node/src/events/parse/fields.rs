//! An object's values by field, as they stand. Owns the names of the fields: camelCase, snake_case and those of other trackers.
//! Knows nothing of what the values mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::BadField;
use crate::events::RejectCode;

/// A field of an event, or of a batch of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Event,
    Name,
    Type,
    Timestamp,
    OriginalTimestamp,
    ReceivedAt,
    SentAt,
    Subject,
    AnonymousId,
    Session,
    Item,
    DecisionId,
    Token,
    MessageId,
    Properties,
    Traits,
    Context,
    SpecVersion,
    Source,
    Id,
    Data,
    DataBase64,
    Batch,
    Unknown,
}

/// The raw values of one object by field.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: [Option<&'a RawValue>; Field::Unknown as usize],
    twice: Option<Field>,
}

/// The elements of an array as they stand, kept up to a limit and counted beyond it.
pub(super) struct Elements {
    pub(super) limit: usize,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The raw JSON of a field's value.
    pub(super) fn get(&self, field: Field) -> Option<&'a str> {
        // `null` says the same as leaving the field out.
        self.values[field as usize].map(RawValue::get).filter(|raw| *raw != "null")
    }

    /// The first field that was given twice, perhaps by two of its names.
    pub(super) fn twice(&self) -> Option<Field> {
        self.twice
    }

    /// A text of 1 to `limit` bytes without control characters.
    pub(super) fn text(&self, field: Field, limit: usize) -> Result<Option<Cow<'a, str>>, BadField> {
        let bad = |code, message| (code, field.as_str(), message);
        self.get(field).map(|raw| text(raw, limit).map_err(|(code, message)| bad(code, message))).transpose()
    }
}

/// The text that the JSON `raw` is: 1 to `limit` bytes without control characters.
pub(super) fn text(raw: &str, limit: usize) -> Result<Cow<'_, str>, (RejectCode, String)> {
    let Some(inner) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        return Err((RejectCode::WrongType, format!("it must be a text, found {}", kind(raw))));
    };
    let text = if inner.contains('\\') {
        let bad = |error| (RejectCode::BadText, format!("its escapes are broken: {error}"));
        Cow::Owned(serde_json::from_str::<String>(raw).map_err(bad)?)
    } else {
        Cow::Borrowed(inner)
    };
    check_text(&text, limit)?;
    Ok(text)
}

/// Refuses a text that is empty, longer than `limit` bytes or has control characters.
pub(super) fn check_text(text: &str, limit: usize) -> Result<(), (RejectCode, String)> {
    if text.is_empty() {
        return Err((RejectCode::MissingField, "it is empty".to_owned()));
    }
    if text.len() > limit {
        return Err((RejectCode::TooLong, format!("it has {} bytes, {limit} are allowed", text.len())));
    }
    // Control characters would break keys (pairs of entities are joined by NUL) and lines of text further on.
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err((RejectCode::BadText, "it has control characters".to_owned()));
    }
    Ok(())
}

/// What a JSON value is, in words.
pub(super) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        _ => "no JSON",
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
    /// What it is called in answers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Name => "name",
            Self::Type => "type",
            Self::Timestamp => "timestamp",
            Self::OriginalTimestamp => "originalTimestamp",
            Self::ReceivedAt => "receivedAt",
            Self::SentAt => "sentAt",
            Self::Subject => "subject",
            Self::AnonymousId => "anonymousId",
            Self::Session => "session",
            Self::Item => "item",
            Self::DecisionId => "decision_id",
            Self::Token => "token",
            Self::MessageId => "message_id",
            Self::Properties => "properties",
            Self::Traits => "traits",
            Self::Context => "context",
            Self::SpecVersion => "specversion",
            Self::Source => "source",
            Self::Id => "id",
            Self::Data => "data",
            Self::DataBase64 => "data_base64",
            Self::Batch => "batch",
            Self::Unknown => "",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "event" => Self::Event,
            "name" => Self::Name,
            "type" => Self::Type,
            "timestamp" | "time" => Self::Timestamp,
            "originalTimestamp" => Self::OriginalTimestamp,
            "receivedAt" => Self::ReceivedAt,
            "sentAt" | "sent_at" => Self::SentAt,
            "subject" | "userId" | "user_id" => Self::Subject,
            "anonymousId" => Self::AnonymousId,
            "session" | "sessionId" | "session_id" | "sessionid" => Self::Session,
            "item" | "itemId" | "item_id" | "itemid" => Self::Item,
            "decision_id" | "decisionId" | "decisionid" => Self::DecisionId,
            "token" => Self::Token,
            "message_id" | "messageId" => Self::MessageId,
            "properties" => Self::Properties,
            "traits" => Self::Traits,
            "context" => Self::Context,
            "specversion" => Self::SpecVersion,
            "source" => Self::Source,
            "id" => Self::Id,
            "data" => Self::Data,
            "data_base64" => Self::DataBase64,
            "batch" => Self::Batch,
            _ => Self::Unknown,
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
                Ok(Field::of(name))
            }
        }
        deserializer.deserialize_identifier(Key)
    }
}

// === impl Elements ===

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = (Vec<&'de str>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de str>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut raws = Vec::with_capacity(64.min(self.limit));
        while raws.len() < self.limit {
            match seq.next_element::<&RawValue>()? {
                Some(raw) => raws.push(raw.get()),
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
