//! The bodies of `POST /v1/events`, taken apart: one event, an array, `{"batch":[…],"sentAt":…}`, one event a line, a CloudEvent
//! in binary mode; each as it is or packed. A body says itself which it is. One event's fault rejects that event and no other.
//! Owns the shapes of bodies; what the fields of an event mean is in `parse/event.rs` and `parse/cloud.rs`. Texts are borrowed
//! until an event is whole.

mod cloud;
mod event;
mod fields;
mod gzip;
mod hints;

use selvedge_decision::TimeUs;
use serde::de::DeserializeSeed;

use self::cloud::Attributes;
use self::fields::{Elements, Field, Fields, kind};
use super::time::Clocks;
use super::{BadBatch, BatchCode, Event, Headers, Limits, RejectCode, Rejected, names, rfc3339};
use crate::tokens::{BadToken, Tokens};

/// Bytes of an event's name.
pub const NAME_BYTES: usize = 128;
/// Bytes of a subject, session, item or message id, and of each part of a CloudEvent's id.
pub const ID_BYTES: usize = 256;
/// How deep properties may nest.
pub const DEPTH: usize = 32;

/// What is the same for all events of a body.
#[derive(Debug, Clone, Copy)]
struct Reading<'l> {
    clocks: Clocks,
    limits: &'l Limits,
    /// Whether the headers say that it is all CloudEvents.
    cloud: bool,
    /// What an event that names a decision must show, where anybody may send.
    tokens: Option<&'l Tokens>,
}

/// An event that is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The event.
    pub event: Event,
    /// Why it is taken without the decision that it named: its token's time is over. What happened did happen.
    pub expired: Option<String>,
}

/// Why an event was not taken: what is wrong with which field, in words.
type BadField = (RejectCode, &'static str, String);

/// Takes apart a request's body that arrived at `now_us`. With `tokens`, an event that names a decision must show the token of its
/// choice. What comes out is in the order of the body. Outer error: nothing of it was taken.
pub fn parse(
    body: &[u8],
    headers: &Headers<'_>,
    now_us: TimeUs,
    limits: &Limits,
    tokens: Option<&Tokens>,
) -> Result<Vec<Result<Parsed, Rejected>>, BadBatch> {
    if body.len() > limits.batch_bytes {
        let message =
            format!("the batch has {} bytes, {} are allowed: send smaller batches", body.len(), limits.batch_bytes);
        return Err(BadBatch { code: BatchCode::BodyTooLarge, message, limit: Some(limits.batch_bytes) });
    }
    let body = gzip::unpack(body, headers.content_encoding, limits.batch_bytes)?;
    let text = std::str::from_utf8(&body).map_err(|error| BadBatch {
        code: BatchCode::InvalidUtf8,
        message: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
        limit: None,
    })?;
    let cloud = headers.says("application/cloudevents");
    let mut reading = Reading { clocks: Clocks { received_us: now_us, sent_us: None }, limits, cloud, tokens };
    if !headers.attributes.is_empty() && !cloud {
        return Ok(vec![reading.bound(text, &headers.attributes)]);
    }
    let texts = match text.trim_start().as_bytes().first() {
        Some(b'[') => elements(text, limits)?,
        Some(b'{') => match serde_json::from_str::<Fields<'_>>(text) {
            Ok(fields) => match fields.get(Field::Batch) {
                Some(batch) if batch.starts_with('[') => {
                    reading.clocks.sent_us = sent(&fields)?;
                    elements(batch, limits)?
                }
                Some(_) => return Err(not_events("\"batch\" must be an array of events")),
                None => return Ok(vec![reading.event(0, text.trim(), Some(fields))]),
            },
            Err(error) => lines(text, headers, limits)?.ok_or_else(|| invalid_json(&error))?,
        },
        _ => lines(text, headers, limits)?
            .ok_or_else(|| not_events("expected an event, an array of events, {\"batch\":[…]} or an event a line"))?,
    };
    Ok(texts.into_iter().enumerate().map(|(index, text)| reading.event(index, text, None)).collect())
}

/// The elements of an array.
fn elements<'a>(text: &'a str, limits: &Limits) -> Result<Vec<&'a str>, BadBatch> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let (raws, count) = Elements { limit: limits.events }
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| invalid_json(&error))?;
    check_count(count, limits)?;
    Ok(raws)
}

/// The lines of a text that is not one JSON value, if it is an event a line: because its type says so, or because a line that
/// ends an object is followed by one that begins one, which no JSON value has.
fn lines<'a>(text: &'a str, headers: &Headers<'_>, limits: &Limits) -> Result<Option<Vec<&'a str>>, BadBatch> {
    let whole = || text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    let said = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];
    let said = said.iter().any(|said| headers.says(said)) && whole().next().is_some();
    if !said && !whole().zip(whole().skip(1)).any(|(line, next)| line.ends_with('}') && next.starts_with('{')) {
        return Ok(None);
    }
    check_count(whole().count(), limits)?;
    Ok(Some(whole().collect()))
}

fn check_count(count: usize, limits: &Limits) -> Result<(), BadBatch> {
    if count <= limits.events {
        return Ok(());
    }
    let message = format!("the batch has {count} events, {} are allowed: send smaller batches", limits.events);
    Err(BadBatch { code: BatchCode::TooManyEvents, message, limit: Some(limits.events) })
}

/// When a batch was sent, by its sender's clock.
fn sent(fields: &Fields<'_>) -> Result<Option<TimeUs>, BadBatch> {
    fields.time(Field::SentAt).map_err(|(_, _, message)| BadBatch { code: BatchCode::BadTime, message, limit: None })
}

fn invalid_json(error: &serde_json::Error) -> BadBatch {
    BadBatch { code: BatchCode::InvalidJson, message: format!("the body is not JSON: {error}"), limit: None }
}

fn not_events(message: &str) -> BadBatch {
    BadBatch { code: BatchCode::InvalidJson, message: message.to_owned(), limit: None }
}

// === impl Headers ===

impl Headers<'_> {
    /// Whether the content type begins with `kind`, which is in lower case.
    fn says(&self, kind: &str) -> bool {
        self.content_type.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// The event that `text` is; its `fields`, if they are known already.
    fn event(self, index: usize, text: &str, fields: Option<Fields<'_>>) -> Result<Parsed, Rejected> {
        let reject = |code, field, message| Rejected { index, code, field, message };
        self.check_size(text).map_err(|message| reject(RejectCode::EventTooLarge, None, message))?;
        let fields = match fields {
            Some(fields) => fields,
            None if text.starts_with('{') => serde_json::from_str(text)
                .map_err(|error| reject(RejectCode::InvalidJson, None, format!("it is not JSON: {error}")))?,
            None => return Err(reject(RejectCode::NotAnObject, None, format!("it is {}, not an object", kind(text)))),
        };
        let event = if self.cloud || fields.get(Field::SpecVersion).is_some() {
            Attributes::of(&fields, self).and_then(|attributes| attributes.event(cloud::data(&fields)?, self))
        } else {
            fields.event(self)
        };
        event.map_err(|(code, field, message)| reject(code, Some(field), message))
    }

    /// The event whose attributes are in the headers and whose data is the body.
    fn bound(self, body: &str, attributes: &[(&str, &[u8])]) -> Result<Parsed, Rejected> {
        let reject = |code, field, message| Rejected { index: 0, code, field, message };
        self.check_size(body).map_err(|message| reject(RejectCode::EventTooLarge, None, message))?;
        Attributes::bound(attributes)
            .and_then(|attributes| attributes.event(cloud::body(body)?, self))
            .map_err(|(code, field, message)| reject(code, Some(field), message))
    }

    fn check_size(self, text: &str) -> Result<(), String> {
        let limit = self.limits.event_bytes;
        if text.len() > limit {
            return Err(format!("it has {} bytes, {limit} are allowed", text.len()));
        }
        Ok(())
    }

    /// Refuses an event that follows from a decision and does not show that it does. That a decision was seen needs no proof: nobody
    /// learns from it. Who shows it too late has still bought: of that all but the decision is taken.
    fn check_token(self, event: Event, token: Option<&str>) -> Result<Parsed, BadField> {
        let whole = |event| Parsed { event, expired: None };
        let (Some(tokens), Some(id)) = (self.tokens, event.decision_id) else { return Ok(whole(event)) };
        // Of what a page decided itself the node has given no token, and learns nothing.
        if event.name == names::EXPOSURE || id.is_of_a_page() {
            return Ok(whole(event));
        }
        match tokens.check(token, id, event.item.as_deref(), event.received_us) {
            Ok(()) => Ok(whole(event)),
            Err(bad @ BadToken::Expired(_)) if event.name != names::REWARD => {
                Ok(Parsed { event: Event { decision_id: None, ..event }, expired: Some(bad.to_string()) })
            }
            Err(bad) => {
                let (code, field) = bad.code();
                Err((code, field, bad.to_string()))
            }
        }
    }

    /// When what its sender says happened at `said_us` happened by the node's clock.
    fn happened(self, clocks: Clocks, said_us: Option<TimeUs>) -> Result<TimeUs, BadField> {
        let (time_us, max_age_us) = (clocks.happened(said_us), self.limits.max_age_us);
        if clocks.received_us.saturating_sub(time_us) > max_age_us {
            let oldest = rfc3339::format(clocks.received_us.saturating_sub(max_age_us));
            let time = rfc3339::format(time_us);
            let message = format!("it happened at {time}; nothing from before {oldest} is taken (events.max_age)");
            return Err((RejectCode::TooOld, Field::Timestamp.as_str(), message));
        }
        Ok(time_us)
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
