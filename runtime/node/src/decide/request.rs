//! A decision request as it comes over the wire, and as the core takes it. Owns the bounds of every field and the typing of
//! the context by the placement; each refusal names field and limit.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::ids::{Ids, Kind as IdKind};
use selvedge_decision::gather::{ContextValue, Request};
use selvedge_decision::manifest::Kind;
use selvedge_decision::plan::Placement;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The longest id of a subject, session or candidate, in bytes.
const MAX_ID: usize = 512;
/// The longest text of a context value, in bytes.
const MAX_TEXT: usize = 4_096;
/// The most choices one may ask for.
const MAX_SLOTS: u32 = 1_000;

/// `POST /v1/decide`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire<'a> {
    /// The placement's key.
    #[serde(borrow)]
    pub placement: Text<'a>,
    /// Whom it is for.
    #[serde(borrow, default)]
    pub subject: Option<Text<'a>>,
    /// The session it belongs to.
    #[serde(borrow, default)]
    pub session: Option<Text<'a>>,
    /// Values by name; those that the placement does not declare are ignored.
    #[serde(borrow, default)]
    pub context: Context<'a>,
    /// The items or actions to choose from.
    #[serde(borrow, default)]
    pub candidates: Option<Vec<Text<'a>>>,
    /// How many choices.
    #[serde(default)]
    pub slots: Option<u32>,
    /// Whether to tell how it came about.
    #[serde(default)]
    pub explain: bool,
    /// The caller's offset from UTC, in minutes.
    #[serde(default)]
    pub tz_offset_min: i32,
}

/// `POST /v1/decide/batch`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<'a> {
    /// The placements of the page.
    #[serde(borrow)]
    pub placements: Vec<Part<'a>>,
    /// Whom they are for.
    #[serde(borrow, default)]
    pub subject: Option<Text<'a>>,
    /// The session they belong to.
    #[serde(borrow, default)]
    pub session: Option<Text<'a>>,
    /// Values by name, for all of them.
    #[serde(borrow, default)]
    pub context: Context<'a>,
    /// Whether no choice may stand twice on the page.
    #[serde(default)]
    pub distinct: bool,
    /// Whether to tell how each came about.
    #[serde(default)]
    pub explain: bool,
    /// The caller's offset from UTC, in minutes.
    #[serde(default)]
    pub tz_offset_min: i32,
}

/// One placement of a page.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part<'a> {
    /// The placement's key.
    #[serde(borrow)]
    pub placement: Text<'a>,
    /// The items or actions to choose from.
    #[serde(borrow, default)]
    pub candidates: Option<Vec<Text<'a>>>,
    /// How many choices.
    #[serde(default)]
    pub slots: Option<u32>,
}

/// A text, borrowed from the body where it has no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The context: names and values in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Context<'a>(pub Vec<(Text<'a>, Value<'a>)>);

/// A value of the context.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Text<'a>),
    /// A list or object: no context value has that type.
    Other,
}

/// A value that is out of bounds or of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadValue {
    /// Where, such as `context.country`.
    pub field: String,
    /// What is wrong and what is expected.
    pub why: String,
    /// The limit that was passed, if it was one.
    pub limit: Option<usize>,
}

// === impl Text ===

impl<'a> Text<'a> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

// === impl Wire ===

impl Wire<'_> {
    /// The same request with the ids of people as the node knows them.
    #[must_use]
    pub fn known_as(mut self, ids: &Ids) -> Self {
        hash_ids(&mut self.subject, &mut self.session, ids);
        self
    }

    /// Whom a canary may have: the subject, or the session where there is none.
    pub(super) fn unit(&self) -> Option<&str> {
        unit(self.subject.as_ref(), self.session.as_ref())
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    /// The same request with the ids of people as the node knows them.
    #[must_use]
    pub fn known_as(mut self, ids: &Ids) -> Self {
        hash_ids(&mut self.subject, &mut self.session, ids);
        self
    }

    /// As [`Wire::unit`].
    pub(super) fn unit(&self) -> Option<&str> {
        unit(self.subject.as_ref(), self.session.as_ref())
    }

    /// Each part as a request of its own.
    pub fn wires(&self) -> impl Iterator<Item = Wire<'a>> {
        self.placements.iter().map(|part| Wire {
            placement: part.placement.clone(),
            subject: self.subject.clone(),
            session: self.session.clone(),
            context: self.context.clone(),
            candidates: part.candidates.clone(),
            slots: part.slots,
            explain: self.explain,
            tz_offset_min: self.tz_offset_min,
        })
    }
}

fn unit<'u>(subject: Option<&'u Text<'_>>, session: Option<&'u Text<'_>>) -> Option<&'u str> {
    subject.or(session).map(Text::as_str)
}

/// The request as the core takes it; candidates that are `taken` elsewhere on the page are left out.
pub(super) fn typed<'w>(
    placement: &'w Placement,
    wire: &'w Wire<'_>,
    taken: &'w [Arc<str>],
) -> Result<Request<'w>, BadValue> {
    let subject = id("subject", wire.subject.as_ref())?;
    let session = id("session", wire.session.as_ref())?;
    if let Some(slots) = wire.slots.filter(|slots| !(1..=MAX_SLOTS).contains(slots)) {
        return Err(too("slots", format!("is {slots}, expected 1 to {MAX_SLOTS}"), MAX_SLOTS as usize));
    }
    if !(-1_440..=1_440).contains(&wire.tz_offset_min) {
        return Err(too("tz_offset_min", format!("is {}, expected -1440 to 1440", wire.tz_offset_min), 1_440));
    }
    let candidates = match &wire.candidates {
        None => None,
        // Before looking at each: ten thousand candidates are refused by their number alone.
        Some(named) if named.len() > placement.max_candidates => {
            let limit = placement.max_candidates;
            return Err(too("candidates", format!("{} candidates, at most {limit}", named.len()), limit));
        }
        Some(named) => Some(named.iter().enumerate().map(candidate).collect::<Result<Vec<_>, _>>()?),
    };
    let context = placement.context.iter().map(|(name, kind)| context(wire, name, *kind)).collect::<Result<_, _>>()?;
    let slots = wire.slots.map(|slots| slots as usize);
    Ok(Request { subject, session, context, candidates, taken, slots, tz_offset_min: wire.tz_offset_min })
}

fn id<'w>(field: &str, text: Option<&'w Text<'_>>) -> Result<Option<&'w str>, BadValue> {
    match text.map(Text::as_str) {
        Some("") => {
            Err(BadValue { field: field.to_owned(), why: "is empty: leave it out or name it".into(), limit: None })
        }
        Some(text) if text.len() > MAX_ID => Err(too(field, format!("{} bytes, at most {MAX_ID}", text.len()), MAX_ID)),
        Some(text) if text.contains('\0') => Err(nul(field)),
        text => Ok(text),
    }
}

/// What cannot be an id stays, to be refused as it is.
fn hash_ids<'a>(subject: &mut Option<Text<'a>>, session: &mut Option<Text<'a>>, ids: &Ids) {
    if !ids.is_keyed() {
        return;
    }
    for (place, kind) in [(subject, IdKind::Subject), (session, IdKind::Session)] {
        if let Ok(Some(raw)) = id(kind.as_str(), place.as_ref()) {
            *place = Some(Text(Cow::Owned(ids.known_as(kind, raw).into_owned())));
        }
    }
}

/// U+0000 joins the parts of a pair's key, so no part may hold one.
fn nul(field: &str) -> BadValue {
    BadValue { field: field.to_owned(), why: "holds U+0000, which no id may".into(), limit: None }
}

fn candidate<'w>((at, text): (usize, &'w Text<'_>)) -> Result<&'w str, BadValue> {
    let text = text.as_str();
    if text.is_empty() || text.len() > MAX_ID {
        let why = format!("{} bytes, expected 1 to {MAX_ID}", text.len());
        return Err(too(&format!("candidates[{at}]"), why, MAX_ID));
    }
    if text.contains('\0') {
        return Err(nul(&format!("candidates[{at}]")));
    }
    Ok(text)
}

fn context<'w>(wire: &'w Wire<'_>, name: &str, kind: Kind) -> Result<ContextValue<'w>, BadValue> {
    let Some(value) = wire.context.value(name) else { return Ok(ContextValue::Missing) };
    let field = || format!("context.{name}");
    match (kind, value) {
        (_, Value::Null) => Ok(ContextValue::Missing),
        (Kind::Number, Value::Number(number)) => Ok(ContextValue::Number(*number)),
        (Kind::Flag, Value::Flag(flag)) => Ok(ContextValue::Flag(*flag)),
        (Kind::Symbol, Value::Text(text)) if text.as_str().len() > MAX_TEXT => {
            Err(too(&field(), format!("{} bytes, at most {MAX_TEXT}", text.as_str().len()), MAX_TEXT))
        }
        (Kind::Symbol, Value::Text(text)) if text.as_str().contains('\0') => Err(nul(&field())),
        (Kind::Symbol, Value::Text(text)) => Ok(ContextValue::Symbol(text.as_str())),
        (kind, value) => {
            let expected = match kind {
                Kind::Number | Kind::Vector => "a number",
                Kind::Flag => "true or false",
                Kind::Symbol => "a text",
            };
            let why = format!("is {}, but the placement declares {expected}", value.name());
            Err(BadValue { field: field(), why, limit: None })
        }
    }
}

fn too(field: &str, why: String, limit: usize) -> BadValue {
    BadValue { field: field.to_owned(), why, limit: Some(limit) }
}

// === impl Context ===

impl<'a> Context<'a> {
    /// The value of that name; the last of two equal names counts, as everywhere in JSON.
    pub(super) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }
}

// === impl Value ===

impl Value<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Other => "a list or object",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Context<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Context<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of values by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Context(pairs))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Context::default())
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Value::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Value::Number(number))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Value::Text(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Value::Text(Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Value::Null)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                // Not IgnoredAny, which skips any depth: the parser's limit counts only what is visited.
                while seq.next_element::<Value<'_>>()?.is_some() {}
                Ok(Value::Other)
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                while map.next_entry::<IgnoredAny, Value<'_>>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
