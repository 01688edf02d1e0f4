//! What of an event an aggregate asks for. Owns the reading of properties, and of the item's features: they are joined to the
//! event as they are when it comes, and stored with it, so that whoever counts it again counts the same.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::Value;
use selvedge_decision::layout::{FeatureKind, NO_SYMBOL, NO_TIME, unpack};
use serde_json::json;
use serde_json::value::RawValue;

use crate::events::Event;
use crate::features::{Symbols, View};

/// Where a value comes from.
#[derive(Clone)]
pub enum Join {
    /// The event's item.
    Item,
    /// A property.
    Property(String),
    /// A feature of the event's item.
    Feature {
        /// `view.feature`.
        name: String,
        /// The view of items.
        view: Arc<View>,
        /// The field in its layout.
        field: usize,
    },
}

/// The properties of an event and what is joined to it by name, read once for all who ask.
#[derive(Default)]
pub(super) struct Read<'a> {
    properties: Option<HashMap<&'a str, &'a RawValue>>,
    joined: Option<HashMap<&'a str, &'a RawValue>>,
}

// === impl Join ===

impl Join {
    /// The event's value; `None` where it has none.
    pub(super) fn value<'a>(&self, event: &'a Event, read: &mut Read<'a>) -> Option<Value> {
        match self {
            Self::Item => Some(Value::Text(event.item.as_deref()?.into())),
            Self::Property(name) => read.property(event, name),
            Self::Feature { name, .. } => read.joined(event, name),
        }
    }

    /// What the node knows now of the event's item, if that is asked: its name and the value.
    pub(super) fn now(&self, event: &Event, symbols: &Symbols) -> Option<(&str, Value)> {
        match self {
            Self::Item | Self::Property(_) => None,
            Self::Feature { name, view, field } => {
                let value = feature(view, *field, event.item.as_deref()?, event.received_us, symbols)?;
                Some((name, value))
            }
        }
    }

    /// Whether both give the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Item, Self::Item) => true,
            (Self::Property(a), Self::Property(b)) => a == b,
            (Self::Feature { view: a, field: x, .. }, Self::Feature { view: b, field: y, .. }) => a.is(b) && x == y,
            _ => false,
        }
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
