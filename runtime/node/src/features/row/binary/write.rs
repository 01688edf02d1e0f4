//! A row as JSON, written in the compact form. Owns that nothing is lost on the way: what cannot be written is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::layout::{FeatureKind, Field, NO_TIME, RowLayout};
use serde_json::Value;

use super::{HAS_TIME, MAGIC, SchemaHash, VERSION, sorted};
use crate::features::row::{MAX_TIME_US, TIME_NAME, parse_rfc3339};

/// Writes rows of one schema.
pub struct BinaryWriter {
    layout: Arc<RowLayout>,
    sorted: Vec<u32>,
    schema: SchemaHash,
}

/// A row cannot be written in the compact form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// It is no row.
    #[error("not a JSON object with the features by name: {0}")]
    Json(String),
    /// A value is not what its feature asks for.
    #[error("{name:?}: not what a {kind} is")]
    Value {
        /// The feature, or `_time`.
        name: String,
        /// Its type.
        kind: FeatureKind,
    },
    /// The schema does not have a feature of this name.
    #[error("{name:?}: the view has no such feature")]
    Name {
        /// The name.
        name: String,
    },
}

// === impl BinaryWriter ===

impl BinaryWriter {
    /// A writer for rows of a view's features.
    pub fn new(layout: Arc<RowLayout>) -> Self {
        Self { sorted: sorted(&layout), schema: SchemaHash::of(&layout), layout }
    }

    /// Writes a flat JSON object by feature name. Names that begin with `_` are left out, but for the time.
    pub fn write(&self, json: &[u8]) -> Result<Vec<u8>, Unwritable> {
        let row: BTreeMap<String, Value> =
            serde_json::from_slice(json).map_err(|error| Unwritable::Json(error.to_string()))?;
        if let Some(name) = row.keys().find(|name| !name.starts_with('_') && self.layout.field(name).is_none()) {
            return Err(Unwritable::Name { name: name.clone() });
        }
        let mut bytes = vec![MAGIC, VERSION];
        bytes.extend_from_slice(&self.schema.0);
        let wrong = |name: &str, kind| Unwritable::Value { name: name.to_owned(), kind };
        match row.get(TIME_NAME) {
            None => bytes.push(0),
            Some(time) => {
                bytes.push(HAS_TIME);
                let time_us = time_us(time).ok_or_else(|| wrong(TIME_NAME, FeatureKind::Time))?;
                bytes.extend_from_slice(&time_us.to_le_bytes());
            }
        }
        let present = bytes.len();
        bytes.resize(present + self.sorted.len().div_ceil(8), 0);
        for (at, place) in self.sorted.iter().enumerate() {
            let field = &self.layout.fields()[*place as usize];
            let Some(value) = row.get(&field.name).filter(|value| !value.is_null()) else { continue };
            bytes[present + at / 8] |= 1 << (at % 8);
            put(&mut bytes, field, value).ok_or_else(|| wrong(&field.name, field.kind))?;
        }
        Ok(bytes)
    }
}

fn put(bytes: &mut Vec<u8>, field: &Field, value: &Value) -> Option<()> {
    match field.kind {
        FeatureKind::Number => bytes.extend_from_slice(&value.as_f64()?.to_le_bytes()),
        FeatureKind::F32 => bytes.extend_from_slice(&single(value)?.to_le_bytes()),
        FeatureKind::Flag => bytes.push(u8::from(value.as_bool()?)),
        FeatureKind::Time => {
            let time_us = time_us(value).filter(|time_us| *time_us as u64 != NO_TIME)?;
            bytes.extend_from_slice(&time_us.to_le_bytes());
        }
        FeatureKind::Symbol | FeatureKind::Text => text(bytes, value.as_str()?)?,
        FeatureKind::Vector => {
            let components = value.as_array().filter(|all| all.len() == field.len as usize)?;
            for component in components {
                bytes.extend_from_slice(&single(component)?.to_le_bytes());
            }
        }
        FeatureKind::Ids => {
            let ids = value.as_array()?;
            length(bytes, ids.len())?;
            for id in ids {
                text(bytes, id.as_str()?)?;
            }
        }
    }
    Some(())
}

/// A finite f32.
fn single(value: &Value) -> Option<f32> {
    Some(value.as_f64()? as f32).filter(|number| number.is_finite())
}

fn time_us(value: &Value) -> Option<TimeUs> {
    match value {
        Value::String(text) => parse_rfc3339(text),
        _ => match value.as_i64() {
            Some(time_us) => Some(time_us),
            None => value.as_f64().filter(|time_us| time_us.abs() < MAX_TIME_US).map(|time_us| time_us as TimeUs),
        },
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    length(bytes, text.len())?;
    bytes.extend_from_slice(text.as_bytes());
    Some(())
}

fn length(bytes: &mut Vec<u8>, length: usize) -> Option<()> {
    let mut left = u32::try_from(length).ok()?;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    Some(())
}
