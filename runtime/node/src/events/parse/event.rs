//! One event in the words of this API and in those of Segment, which are told apart field by field: a sender may mix them. Owns
//! what the fields mean.

use std::borrow::Cow;

use selvedge_decision::{DecisionId, TimeUs};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{Field, Fields, kind, text};
use super::hints::Hints;
use super::{BadField, DEPTH, ID_BYTES, NAME_BYTES, Parsed, Reading};
use crate::events::time::Clocks;
use crate::events::{Event, RejectCode, names, rfc3339};

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The event that the fields are.
    pub(super) fn event(&self, reading: Reading<'_>) -> Result<Parsed, BadField> {
        if let Some(field) = self.twice() {
            return Err((RejectCode::DuplicateField, field.as_str(), "it is given twice".to_owned()));
        }
        let name = name(&self.name()?, Field::Event.as_str())?;
        let properties = self.properties()?;
        let item = self.text(Field::Item, ID_BYTES)?;
        let decision = self.text(Field::DecisionId, 64)?;
        let hints = Hints::of(&properties, item.is_none(), decision.is_none());
        // Where nobody asks for one, it is a field like any other that means nothing.
        let token = match reading.tokens {
            Some(_) => self.text(Field::Token, ID_BYTES)?,
            None => None,
        };
        let event = Event {
            time_us: self.happened(reading)?,
            received_us: reading.clocks.received_us,
            name,
            subject: self.subject()?.map(Cow::into_owned),
            session: self.session()?.map(Cow::into_owned),
            item: item.or(hints.item).map(Cow::into_owned),
            decision_id: match decision {
                Some(text) => Some(decision_id(&text, Field::DecisionId.as_str())?),
                None => hints.decision_id,
            },
            message_id: self.text(Field::MessageId, ID_BYTES)?.map(Cow::into_owned),
            properties: properties.into_owned(),
            joined: None,
        };
        reading.check_token(event, token.as_deref())
    }

    /// A time.
    pub(super) fn time(&self, field: Field) -> Result<Option<TimeUs>, BadField> {
        self.text(field, 64)?.map(|text| time(&text, field.as_str())).transpose()
    }

    /// What happened. Of Segment's calls only `track` names an event; a page's `name` is the page's.
    fn name(&self) -> Result<Cow<'a, str>, BadField> {
        if self.get(Field::Event).is_none() {
            match self.get(Field::Type) {
                Some("\"page\"") => return Ok(Cow::Borrowed(names::PAGE)),
                Some("\"screen\"") => return Ok(Cow::Borrowed(names::SCREEN)),
                Some("\"identify\"") => return Ok(Cow::Borrowed(names::IDENTIFY)),
                _ => {}
            }
        } else if self.get(Field::Name).is_some() && self.get(Field::Type).is_none() {
            let message = "it is given twice, as \"event\" and as \"name\"".to_owned();
            return Err((RejectCode::DuplicateField, Field::Event.as_str(), message));
        }
        let named = match self.text(Field::Event, NAME_BYTES)? {
            Some(name) => Some(name),
            None => self.text(Field::Name, NAME_BYTES)?,
        };
        let missing = || "every event has a name, such as \"event\": \"view_item\"".to_owned();
        named.ok_or_else(|| (RejectCode::MissingField, Field::Event.as_str(), missing()))
    }

    fn happened(&self, reading: Reading<'_>) -> Result<TimeUs, BadField> {
        let sent_us = self.time(Field::SentAt)?.or(reading.clocks.sent_us);
        let clocks = Clocks { sent_us, ..reading.clocks };
        match self.time(Field::Timestamp)? {
            // Whoever stamped when it received the event has put its time right with `sentAt`; once is enough.
            Some(said_us) if self.get(Field::ReceivedAt).is_some() => {
                reading.happened(Clocks { sent_us: None, ..clocks }, Some(said_us))
            }
            Some(said_us) => reading.happened(clocks, Some(said_us)),
            None => reading.happened(clocks, self.time(Field::OriginalTimestamp)?),
        }
    }

    fn subject(&self) -> Result<Option<Cow<'a, str>>, BadField> {
        match self.text(Field::Subject, ID_BYTES)? {
            Some(subject) => Ok(Some(subject)),
            None => self.text(Field::AnonymousId, ID_BYTES),
        }
    }

    /// The session. Segment has none: then it is what the sender's tracker puts into the context, and else the browser's id.
    fn session(&self) -> Result<Option<Cow<'a, str>>, BadField> {
        if let Some(session) = self.text(Field::Session, ID_BYTES)? {
            return Ok(Some(session));
        }
        match self.get(Field::Context).and_then(session_of) {
            Some(session) => Ok(Some(session)),
            None => self.text(Field::AnonymousId, ID_BYTES),
        }
    }

    /// A JSON object on one line.
    fn properties(&self) -> Result<Cow<'a, str>, BadField> {
        if self.get(Field::Event).is_some() {
            return properties(self.get(Field::Properties), Field::Properties.as_str());
        }
        match (self.get(Field::Properties), self.get(Field::Type)) {
            (None, Some("\"identify\"")) => properties(self.get(Field::Traits), Field::Traits.as_str()),
            (raw, Some("\"page\"" | "\"screen\"")) => {
                let properties = properties(raw, Field::Properties.as_str())?;
                Ok(match self.get(Field::Name).filter(|raw| raw.starts_with('"')) {
                    Some(name) => with_name(properties, name),
                    None => properties,
                })
            }
            (raw, _) => properties(raw, Field::Properties.as_str()),
        }
    }
}

/// The name as it is kept: GA4's for what Segment calls otherwise.
pub(super) fn name(said: &str, field: &'static str) -> Result<String, BadField> {
    let name = names::canonical(said);
    if names::is_reserved(name) {
        let message = format!(
            "{name:?} is not taken: names that begin with $ are the node's own, which are {}, {} and {}",
            names::DECISION,
            names::EXPOSURE,
            names::REWARD
        );
        return Err((RejectCode::ReservedName, field, message));
    }
    Ok(name.to_owned())
}

/// The time that `text` is.
pub(super) fn time(text: &str, field: &'static str) -> Result<TimeUs, BadField> {
    rfc3339::parse(text).ok_or_else(|| {
        let message = format!("{text:?} is not an RFC 3339 time such as 2026-03-01T12:00:00Z");
        (RejectCode::BadTime, field, message)
    })
}

/// The decision that `text` names.
pub(super) fn decision_id(text: &str, field: &'static str) -> Result<DecisionId, BadField> {
    text.parse().map_err(|error: selvedge_decision::BadId| (RejectCode::BadId, field, error.to_string()))
}

/// The object that valid JSON is, on one line; an empty one for none.
pub(super) fn properties<'a>(raw: Option<&'a str>, field: &'static str) -> Result<Cow<'a, str>, BadField> {
    let Some(raw) = raw else { return Ok(Cow::Borrowed("{}")) };
    if !raw.starts_with('{') {
        return Err((RejectCode::WrongType, field, format!("it must be an object, found {}", kind(raw))));
    }
    let (depth, multiline) = shape(raw);
    if depth > DEPTH {
        return Err((RejectCode::TooDeep, field, format!("it nests {depth} deep, {DEPTH} are allowed")));
    }
    // Line breaks can only stand between JSON's tokens, where a space says the same.
    Ok(if multiline { Cow::Owned(raw.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(raw) })
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

/// `context.sessionId`, where trackers that know sessions put theirs, some as a number.
fn session_of(context: &'_ str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Context<'a> {
        #[serde(borrow, rename = "sessionId")]
        session: Option<&'a RawValue>,
    }
    // Contexts are long and seldom have it: looking for the word is cheaper than reading them.
    if !context.contains("\"sessionId\"") {
        return None;
    }
    id(serde_json::from_str::<Context<'_>>(context).ok()?.session?.get())
}

/// The id that a JSON text or whole number is; anything else is none.
pub(super) fn id(raw: &str) -> Option<Cow<'_, str>> {
    let is_number = !raw.is_empty() && raw.len() <= 20 && raw.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Some(Cow::Borrowed(raw)) } else { text(raw, ID_BYTES).ok() }
}

/// The properties with the page's name among them, unless they have one.
fn with_name<'a>(properties: Cow<'a, str>, name: &str) -> Cow<'a, str> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
    }
    let named = serde_json::from_str::<Named<'_>>(&properties).map_or(true, |named| named.name.is_some());
    let Some(rest) = properties.strip_prefix('{').filter(|_| !named).map(str::trim_start) else { return properties };
    let comma = if rest.starts_with('}') { "" } else { "," };
    Cow::Owned(format!("{{\"name\":{name}{comma}{rest}"))
}
