//! What of an event an aggregate asks for. Owns the reading of properties and of the item's features as they are now.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::Value;
use selvedge_decision::layout::{FeatureKind, NO_SYMBOL, NO_TIME, unpack};
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
        /// The view of items.
        view: Arc<View>,
        /// The field in its layout.
        field: usize,
    },
}

/// The properties of an event by name, read once for all who ask.
#[derive(Default)]
pub(super) struct Properties<'a> {
    read: Option<HashMap<&'a str, &'a RawValue>>,
}

// === impl Join ===

impl Join {
    /// The event's value; `None` where it has none.
    pub(super) fn value<'a>(
        &self,
        event: &'a Event,
        properties: &mut Properties<'a>,
        symbols: &Symbols,
    ) -> Option<Value> {
        match self {
            Self::Item => Some(Value::Text(event.item.as_deref()?.into())),
            Self::Property(name) => properties.get(event, name),
            Self::Feature { view, field } => feature(view, *field, event.item.as_deref()?, event.received_us, symbols),
        }
    }

    /// Whether both give the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Item, Self::Item) => true,
            (Self::Property(a), Self::Property(b)) => a == b,
            (Self::Feature { view: a, field: x }, Self::Feature { view: b, field: y }) => a.is(b) && x == y,
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

// === impl Properties ===

impl<'a> Properties<'a> {
    fn get(&mut self, event: &'a Event, name: &str) -> Option<Value> {
        // They were JSON when they were taken; a name with an escape in it is no name of an aggregate.
        let read = self.read.get_or_insert_with(|| serde_json::from_str(&event.properties).unwrap_or_default());
        let raw = read.get(name)?.get();
        match raw.as_bytes().first()? {
            b'"' => Some(Value::Text(serde_json::from_str::<String>(raw).ok()?.into())),
            b't' => Some(Value::Flag(true)),
            b'f' => Some(Value::Flag(false)),
            b'-' | b'0'..=b'9' => Some(Value::Number(serde_json::from_str(raw).ok()?)),
            _ => None,
        }
    }
}
