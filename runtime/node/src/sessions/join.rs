//! What of an event aggregates ask for, and whose they are. Owns the reading of properties, and of the item's features: they are joined to the
//! event as they are when it comes, and stored with it, so that whoever counts it again counts the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::{Aggregates, Of, Value};
use selvedge_decision::definition::By;
use selvedge_decision::layout::{FeatureKind, NO_SYMBOL, NO_TIME, unpack};
use serde_json::json;
use serde_json::value::RawValue;

use crate::events::Event;
use crate::features::entity::entity;
use crate::features::{Symbols, View};

/// A feature of the event's item.
#[derive(Clone)]
pub struct Join {
    /// `view.feature`.
    pub(super) name: String,
    /// The view of items.
    pub(super) view: Arc<View>,
    /// The field in its layout.
    pub(super) field: usize,
}

/// What an event has of all that aggregates ask for, in the order of [`Aggregates::sources`]; empty when they ask nothing of an
/// event of its name.
pub fn values(aggregates: &Aggregates, event: &Event) -> Vec<Option<Value>> {
    if !aggregates.asks_of(&event.name) {
        return Vec::new();
    }
    let mut read = Read::default();
    let value = |of: &Of| match of {
        Of::Item => Some(Value::Text(event.item.as_deref()?.into())),
        Of::Property(name) => read.property(event, name),
        Of::Feature { name, .. } => read.joined(event, name),
    };
    aggregates.sources().iter().map(value).collect()
}

/// Whose aggregates an event counts for; `None` when neither it nor what is joined to it says so, or says what cannot be an entity.
pub fn entity_of(by: &By, event: &Event) -> Option<String> {
    let part = |name: &String| match told(name, event) {
        Some(part) => part.map(Cow::Borrowed),
        None => match Read::default().joined(event, name)? {
            Value::Text(text) => Some(Cow::Owned(text.to_string())),
            _ => None,
        },
    };
    match by {
        By::One(one) => entity([&*part(one)?]).ok(),
        By::Pair([a, b]) => entity([&*part(a)?, &*part(b)?]).ok(),
    }
}

/// Whether an event says whose aggregates it counts for, as far as it is the sender who says it: its item may have the rest.
pub(super) fn names_entity(by: &By, event: &Event) -> bool {
    by.names().iter().all(|name| told(name, event).unwrap_or(event.item.as_deref()).is_some())
}

/// What of an entity's parts the sender says; `None` of a part that is a feature of the item.
fn told<'a>(name: &str, event: &'a Event) -> Option<Option<&'a str>> {
    match name {
        "subject" => Some(event.subject.as_deref()),
        "session" => Some(event.session.as_deref()),
        "item" => Some(event.item.as_deref()),
        _ => None,
    }
}

/// The properties of an event and what is joined to it by name, read once for all who ask.
#[derive(Default)]
struct Read<'a> {
    properties: Option<HashMap<&'a str, &'a RawValue>>,
    joined: Option<HashMap<&'a str, &'a RawValue>>,
}

// === impl Join ===

impl Join {
    /// What the node knows now of the event's item: the feature's name and the value.
    pub(super) fn now(&self, event: &Event, symbols: &Symbols) -> Option<(&str, Value)> {
        let value = feature(&self.view, self.field, event.item.as_deref()?, event.received_us, symbols)?;
        Some((&self.name, value))
    }

    /// Whether it is for this feature.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether both give the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.view.is(&other.view) && self.field == other.field
    }
}

fn feature(view: &View, field: usize, item: &str, now_us: TimeUs, symbols: &Symbols) -> Option<Value> {
    let mut cells = vec![0; view.layout().cells()];
    view.read(item, &mut cells, now_us)?;
    let field = view.layout().fields().get(field)?;
    let cells = cells.get(field.cell as usize..)?;
    let cell = *cells.first()?;
    let number = |value: f64| (!value.is_nan()).then_some(value);
    Some(match field.kind {
        FeatureKind::Number => Value::Number(number(f64::from_bits(cell))?),
        FeatureKind::Time if cell == NO_TIME => return None,
        FeatureKind::Time => Value::Time(cell as TimeUs),
        FeatureKind::F32 => Value::Number(number(f64::from(unpack(cell)[0]))?),
        FeatureKind::Flag => Value::Flag(number(f64::from_bits(cell))? != 0.0),
        FeatureKind::Symbol if cell == NO_SYMBOL => return None,
        FeatureKind::Symbol => Value::Text(symbols.text(u32::try_from(cell).ok()?)?),
        FeatureKind::Vector => {
            let halves = cells.iter().flat_map(|cell| unpack(*cell)).take(field.len as usize);
            let vector: Arc<[f32]> = halves.collect();
            if vector.iter().any(|x| x.is_nan()) {
                return None;
            }
            Value::Vector(vector)
        }
        // Refused when the release is made.
        FeatureKind::Ids | FeatureKind::Text => return None,
    })
}

/// A joined value as JSON.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Number(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::Text(text) => json!(**text),
        Value::Time(time_us) => json!({ TIME: time_us }),
        Value::Vector(vector) => vector.iter().map(|x| f64::from(*x)).collect(),
    }
}

/// The only key of a time.
const TIME: &str = "time_us";

// === impl Read ===

impl<'a> Read<'a> {
    fn property(&mut self, event: &'a Event, name: &str) -> Option<Value> {
        // They were JSON when they were taken; a name with an escape in it is no name of an aggregate.
        let read = self.properties.get_or_insert_with(|| serde_json::from_str(&event.properties).unwrap_or_default());
        scalar(read.get(name)?.get())
    }

    fn joined(&mut self, event: &'a Event, name: &str) -> Option<Value> {
        let joined = event.joined.as_deref()?;
        let read = self.joined.get_or_insert_with(|| serde_json::from_str(joined).unwrap_or_default());
        let raw = read.get(name)?.get();
        match raw.as_bytes().first()? {
            b'[' => Some(Value::Vector(serde_json::from_str::<Vec<f32>>(raw).ok()?.into())),
            b'{' => serde_json::from_str::<HashMap<&str, TimeUs>>(raw).ok()?.get(TIME).copied().map(Value::Time),
            _ => scalar(raw),
        }
    }
}

fn scalar(raw: &str) -> Option<Value> {
    match raw.as_bytes().first()? {
        b'"' => Some(Value::Text(serde_json::from_str::<String>(raw).ok()?.into())),
        b't' => Some(Value::Flag(true)),
        b'f' => Some(Value::Flag(false)),
        b'-' | b'0'..=b'9' => Some(Value::Number(serde_json::from_str(raw).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::outbox::samples::event;

    #[test]
    fn a_pair_with_a_feature_of_the_item_is_what_was_stored_with_the_event() {
        let by = By::Pair(["subject".into(), "item.category".into()]);
        let check = |item: Option<&str>, joined: Option<&str>, is_named: bool, expected: Option<&str>| {
            let (item, joined) = (item.map(str::to_owned), joined.map(str::to_owned));
            let event = Event { subject: Some("u-1".into()), item, joined, ..event(1) };
            assert_eq!(names_entity(&by, &event), is_named, "{event:?}");
            assert_eq!(entity_of(&by, &event).as_deref(), expected, "{event:?}");
        };
        check(Some("sku-1"), Some("{\"item.category\":\"shoes\"}"), true, Some("u-1\0shoes"));
        check(Some("sku-1"), Some("{\"item.category\":7}"), true, None);
        check(Some("sku-1"), Some("{\"item.price\":1.0}"), true, None);
        check(Some("sku-1"), None, true, None);
        check(None, None, false, None);
        let nobody = Event { subject: None, item: Some("sku-1".into()), ..event(1) };
        assert!(!names_entity(&by, &nobody));
    }

    #[test]
    fn a_joined_value_reads_back_to_the_bit() {
        for value in [
            Value::Number(0.1),
            Value::Number(-0.0),
            Value::Flag(true),
            Value::Text("\"Schuhe\" ü".into()),
            Value::Time(-5),
            Value::Vector([0.1f32, -3.5e-20, 16_777_217.0].into()),
        ] {
            let joined = json!({ "item.x": to_json(&value) }).to_string();
            let event = Event { joined: Some(joined), ..event(1) };
            let found = Read::default().joined(&event, "item.x").unwrap();
            assert_eq!(format!("{found:?}"), format!("{value:?}"));
            assert_eq!(Read::default().joined(&event, "item.y"), None);
        }
    }
}
