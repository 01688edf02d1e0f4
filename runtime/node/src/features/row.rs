//! A row as it is sent, a flat JSON object by feature name, into the cells of one layout. Owns what counts as a right value;
//! must not know tables or streams.
//!
//! The JSON is read in one pass straight into cells, without a tree in between: that pass is what an update costs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use selvedge_decision::layout::{FeatureKind, Field, NO_SYMBOL, RowLayout, pack};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::features::symbols::Symbols;

mod time;

pub use time::parse_rfc3339;

/// Reads rows of one layout. Keeps what it needs for the next row, so that one row allocates nothing.
pub struct RowReader {
    layout: Arc<RowLayout>,
    symbols: Arc<Symbols>,
    by_name: HashMap<String, u32, RandomState>,
    missing: Vec<u64>,
    cells: Vec<u64>,
    /// The fields as the last row named them: the next row most likely names them in the same order.
    order: Vec<u32>,
}

/// One row.
#[derive(Debug, PartialEq)]
pub struct Row<'r> {
    /// The layout's cells.
    pub cells: &'r [u64],
    /// The `_time` it names.
    pub time_us: Option<TimeUs>,
    /// Values that are not what the feature's type asks for; they count as missing.
    pub wrong: u32,
    /// Names that the view does not have; they are left out.
    pub unknown: u32,
}

/// The bytes are not a JSON object; the row is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[error("a row must be one flat JSON object by feature name: {0}")]
pub struct BadRow(#[from] serde_json::Error);

/// The name under which a row tells its event's time.
pub const TIME_NAME: &str = "_time";

/// Which value comes next.
#[derive(Clone, Copy)]
enum Name {
    Field(u32),
    Time,
    Reserved,
    Unknown,
}

// === impl RowReader ===

impl RowReader {
    /// A reader for rows of `layout`; symbols are interned in `symbols`.
    pub fn new(layout: Arc<RowLayout>, symbols: Arc<Symbols>) -> Self {
        let names = layout.fields().iter().enumerate();
        let by_name = names.map(|(index, field)| (field.name.clone(), index as u32)).collect();
        let missing = layout.missing_row();
        let order = (0..layout.fields().len() as u32).collect();
        Self { cells: missing.clone(), missing, by_name, symbols, order, layout }
    }

    /// Reads one row. Every feature it does not name is missing.
    pub fn read(&mut self, json: &[u8]) -> Result<Row<'_>, BadRow> {
        self.cells.copy_from_slice(&self.missing);
        let mut read = Read { time_us: None, wrong: 0, unknown: 0 };
        let mut json = serde_json::Deserializer::from_slice(json);
        json.deserialize_map(RowVisitor { reader: self, read: &mut read })?;
        json.end()?;
        Ok(Row { cells: &self.cells, time_us: read.time_us, wrong: read.wrong, unknown: read.unknown })
    }

    fn name(&self, position: usize, name: &str) -> Name {
        if let Some(&guess) = self.order.get(position)
            && self.layout.fields()[guess as usize].name == name
        {
            return Name::Field(guess);
        }
        match self.by_name.get(name) {
            Some(&index) => Name::Field(index),
            None if name == TIME_NAME => Name::Time,
            None if name.starts_with('_') => Name::Reserved,
            None => Name::Unknown,
        }
    }
}

struct Read {
    time_us: Option<TimeUs>,
    wrong: u32,
    unknown: u32,
}

// === the object ===

struct RowVisitor<'v> {
    reader: &'v mut RowReader,
    read: &'v mut Read,
}

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object by feature name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, read } = self;
        let mut position = 0;
        while let Some(name) = map.next_key_seed(NameSeed { reader, position })? {
            match name {
                Name::Field(index) => {
                    let field = &reader.layout.fields()[index as usize];
                    let cells = &mut reader.cells[field.cell as usize..][..width(field)];
                    let missing = &reader.missing[field.cell as usize..][..width(field)];
                    let right = map.next_value_seed(ValueSeed { field, cells, symbols: &reader.symbols })?;
                    if !right {
                        cells.copy_from_slice(missing);
                        read.wrong += 1;
                    }
                    if let Some(guess) = reader.order.get_mut(position) {
                        *guess = index;
                    }
                    position += 1;
                }
                Name::Time => match map.next_value_seed(TimeSeed)? {
                    Some(time_us) => read.time_us = Some(time_us),
                    None => read.wrong += 1,
                },
                Name::Reserved => {
                    map.next_value::<IgnoredAny>()?;
                }
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    read.unknown += 1;
                }
            }
        }
        Ok(())
    }
}

fn width(field: &Field) -> usize {
    if field.kind == FeatureKind::Vector { field.len.div_ceil(2) as usize } else { 1 }
}

// === a name ===

struct NameSeed<'v> {
    reader: &'v RowReader,
    position: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Name, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a feature's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(self.reader.name(self.position, name))
    }
}

// === a value ===

/// Fills the cells of one field; says whether the value was of the field's type. `null` is: it means missing.
struct ValueSeed<'v> {
    field: &'v Field,
    cells: &'v mut [u64],
    symbols: &'v Symbols,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn number(self, number: f64) -> bool {
        let cell = match self.field.kind {
            FeatureKind::Number | FeatureKind::Time => number.to_bits(),
            FeatureKind::F32 if (number as f32).is_finite() => u64::from((number as f32).to_bits()),
            FeatureKind::F32 | FeatureKind::Flag | FeatureKind::Symbol | FeatureKind::Vector => return false,
        };
        self.cells[0] = cell;
        true
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<bool, E> {
        if self.field.kind == FeatureKind::Flag {
            self.cells[0] = f64::from(flag).to_bits();
        }
        Ok(self.field.kind == FeatureKind::Flag)
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok(self.number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        Ok(self.number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        Ok(self.number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        match self.field.kind {
            FeatureKind::Symbol => {
                self.cells[0] = u64::from(self.symbols.intern(text));
                Ok(true)
            }
            FeatureKind::Time => match parse_rfc3339(text) {
                Some(time_us) => Ok(self.number(time_us as f64)),
                None => Ok(false),
            },
            FeatureKind::Number | FeatureKind::F32 | FeatureKind::Flag | FeatureKind::Vector => Ok(false),
        }
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        match self.field.kind {
            FeatureKind::Symbol => self.cells[0] = NO_SYMBOL,
            FeatureKind::Number | FeatureKind::Flag | FeatureKind::Time => self.cells[0] = f64::NAN.to_bits(),
            FeatureKind::F32 => self.cells[0] = u64::from(f32::NAN.to_bits()),
            FeatureKind::Vector => self.cells.fill(pack(f32::NAN, f32::NAN)),
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let wanted = if self.field.kind == FeatureKind::Vector { self.field.len as usize } else { 0 };
        let mut found = 0;
        let mut low = 0.0;
        // A list of another length or with something else in it is drained: what follows it in the row still counts.
        while let Some(Component(component)) = seq.next_element()? {
            let Some(value) = component.filter(|_| found < wanted) else {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(false);
            };
            if found % 2 == 0 {
                low = value;
            }
            let high = if found % 2 == 1 { value } else { f32::NAN };
            self.cells[found / 2] = pack(low, high);
            found += 1;
        }
        Ok(found == wanted && self.field.kind == FeatureKind::Vector)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}

// === one component of a vector ===

/// A finite f32, or something else.
struct Component(Option<f32>);

impl<'de> serde::Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ComponentVisitor)
    }
}

struct ComponentVisitor;

impl<'de> Visitor<'de> for ComponentVisitor {
    type Value = Component;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Component, E> {
        Ok(Component(Some(number as f32)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Component, E> {
        Ok(Component(Some(number as f32)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Component, E> {
        Ok(Component(Some(number as f32).filter(|number| number.is_finite())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_unit<E>(self) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Component, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Component(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Component, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Component(None))
    }
}

// === the time of the row ===

struct TimeSeed;

impl<'de> DeserializeSeed<'de> for TimeSeed {
    type Value = Option<TimeUs>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TimeSeed {
    type Value = Option<TimeUs>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_u64<E>(self, us: u64) -> Result<Self::Value, E> {
        Ok(TimeUs::try_from(us).ok())
    }

    fn visit_i64<E>(self, us: i64) -> Result<Self::Value, E> {
        Ok(Some(us))
    }

    fn visit_f64<E>(self, us: f64) -> Result<Self::Value, E> {
        Ok(Some(us as TimeUs).filter(|_| us.is_finite()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(parse_rfc3339(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
