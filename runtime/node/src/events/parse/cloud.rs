//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>): in structured mode an object is
//! the event, in binary mode the headers are its attributes and the body its data. Owns what the attributes mean.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::event::{decision_id, name, properties, time};
use super::fields::{Field, Fields, check_text, kind};
use super::hints::Hints;
use super::{BadField, ID_BYTES, NAME_BYTES, Parsed, Reading};
use crate::events::{Event, RejectCode};

const VERSION: &str = "1.0";

/// The attributes of an event. `session`, `item`, `decisionid` and `token` are extensions.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    version: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    session: Option<Cow<'a, str>>,
    item: Option<Cow<'a, str>>,
    decision_id: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
}

/// The data of an event in structured mode: a JSON object.
pub(super) fn data<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, BadField> {
    if fields.get(Field::DataBase64).is_some() {
        let message = "an event's data is a JSON object: send it as \"data\"".to_owned();
        return Err((RejectCode::WrongType, Field::DataBase64.as_str(), message));
    }
    properties(fields.get(Field::Data), Field::Data.as_str())
}

/// The data of an event in binary mode.
pub(super) fn body(body: &str) -> Result<Cow<'_, str>, BadField> {
    let (body, field) = (body.trim(), Field::Data.as_str());
    if body.is_empty() {
        return properties(None, field);
    }
    if let Err(error) = serde_json::from_str::<&RawValue>(body) {
        let message = format!("the data, which is the body, is not JSON, but {}: {error}", kind(body));
        return Err((RejectCode::InvalidJson, field, message));
    }
    properties(Some(body), field)
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Those of an event in structured mode.
    pub(super) fn of(fields: &Fields<'a>, reading: Reading<'_>) -> Result<Self, BadField> {
        if let Some(field) = fields.twice() {
            return Err((RejectCode::DuplicateField, field.as_str(), "it is given twice".to_owned()));
        }
        Ok(Self {
            version: fields.text(Field::SpecVersion, 64)?,
            kind: fields.text(Field::Type, NAME_BYTES)?,
            source: fields.text(Field::Source, ID_BYTES)?,
            id: fields.text(Field::Id, ID_BYTES)?,
            time: fields.text(Field::Timestamp, 64)?,
            subject: fields.text(Field::Subject, ID_BYTES)?,
            session: fields.text(Field::Session, ID_BYTES)?,
            item: fields.text(Field::Item, ID_BYTES)?,
            decision_id: fields.text(Field::DecisionId, 64)?,
            token: match reading.tokens {
                Some(_) => fields.text(Field::Token, ID_BYTES)?,
                None => None,
            },
        })
    }

    /// Those of an event in binary mode, from the headers. Others than these are not kept.
    pub(super) fn bound(headers: &[(&str, &'a [u8])]) -> Result<Self, BadField> {
        let mut attributes = Self::default();
        for (header, value) in headers {
            let (place, field, limit) = match *header {
                "specversion" => (&mut attributes.version, "specversion", 64),
                "type" => (&mut attributes.kind, "type", NAME_BYTES),
                "source" => (&mut attributes.source, "source", ID_BYTES),
                "id" => (&mut attributes.id, "id", ID_BYTES),
                "time" => (&mut attributes.time, "time", 64),
                "subject" => (&mut attributes.subject, "subject", ID_BYTES),
                "session" => (&mut attributes.session, "session", ID_BYTES),
                "item" => (&mut attributes.item, "item", ID_BYTES),
                "decisionid" => (&mut attributes.decision_id, "decisionid", 64),
                "token" => (&mut attributes.token, "token", ID_BYTES),
                _ => continue,
            };
            let text = percent_decoded(value);
            let text = text.ok_or_else(|| (RejectCode::BadText, field, "it is not UTF-8".to_owned()))?;
            check_text(&text, limit).map_err(|(code, message)| (code, field, message))?;
            if place.replace(text).is_some() {
                return Err((RejectCode::DuplicateField, field, "it is given twice".to_owned()));
            }
        }
        Ok(attributes)
    }

    /// The event with these attributes and `data`.
    pub(super) fn event(self, data: Cow<'_, str>, reading: Reading<'_>) -> Result<Parsed, BadField> {
        let missing = |field| (RejectCode::MissingField, field, "every CloudEvent has one".to_owned());
        let version = self.version.ok_or_else(|| missing("specversion"))?;
        if version != VERSION {
            let message = format!("version {version:?} is not taken, {VERSION:?} is");
            return Err((RejectCode::BadVersion, "specversion", message));
        }
        let kind = self.kind.ok_or_else(|| missing("type"))?;
        let source = self.source.ok_or_else(|| missing("source"))?;
        let id = self.id.ok_or_else(|| missing("id"))?;
        let said_us = self.time.map(|text| time(&text, "time")).transpose()?;
        let hints = Hints::of(&data, self.item.is_none(), self.decision_id.is_none());
        let event = Event {
            time_us: reading.happened(reading.clocks, said_us)?,
            received_us: reading.clocks.received_us,
            name: name(&kind, "type")?,
            subject: self.subject.map(Cow::into_owned),
            session: self.session.map(Cow::into_owned),
            item: self.item.or(hints.item).map(Cow::into_owned),
            decision_id: match self.decision_id {
                Some(text) => Some(decision_id(&text, "decisionid")?),
                None => hints.decision_id,
            },
            // An id is one only together with its source, which as a URI has no space.
            message_id: Some(format!("{source} {id}")),
            properties: data.into_owned(),
            joined: None,
        };
        reading.check_token(event, self.token.as_deref())
    }
}

/// A header's value as it was before `%` stood for what headers cannot hold. `None` when that is not UTF-8.
fn percent_decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    if !value.contains(&b'%') {
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    let digit = |at: usize| value.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}
