//! A row as it is sent, a flat JSON object by feature name or the compact form of one, into the cells of one layout. Owns what
//! counts as a right value; must not know tables or streams.
//!
//! The JSON is read in one pass straight into cells, without a tree in between: that pass is what an update costs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use selvedge_decision::layout::{FeatureKind, Field, NO_TIME, RowLayout, pack};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::features::symbols::Symbols;

pub mod binary;
mod elements;
mod time;

use binary::SchemaHash;
use elements::{Component, Id};
pub use time::parse_rfc3339;

/// Reads rows of one layout. Keeps what it needs for the next row, so that one row allocates nothing.
pub struct RowReader {
    layout: Arc<RowLayout>,
    symbols: Arc<Symbols>,
    by_name: HashMap<String, u32, RandomState>,
    missing: Vec<u64>,
    cells: Vec<u64>,
    schema: SchemaHash,
    /// The fields by name, as compact rows have them.
    sorted: Vec<u32>,
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
    /// Lists of ids that were longer than theirs may be; the first ids count.
    pub cut: u32,
    /// Names that the view does not have; they are left out.
    pub unknown: u32,
}

/// The bytes are no row of this view; it is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum BadRow {
    /// They are not a JSON object.
    #[error("a row must be one flat JSON object by feature name: {0}")]
    Json(#[from] serde_json::Error),
    /// They begin like a compact row and are none.
    #[error("a binary row is broken: {0}")]
    Binary(&'static str),
    /// They are a compact row of another schema. JSON rows are read whatever the schema.
    #[error("a binary row was written for another schema, {found}; the view has {expected}. Write it anew, or as JSON")]
    Schema {
        /// The schema it names.
        found: SchemaHash,
        /// The schema of the view.
        expected: SchemaHash,
    },
}

/// Microseconds beyond which a number is no time: the year 292,000.
const MAX_TIME_US: f64 = 9.2e18;

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
        let (schema, sorted) = (SchemaHash::of(&layout), binary::sorted(&layout));
        Self { cells: missing.clone(), missing, by_name, symbols, schema, sorted, order, layout }
    }

    /// The schema that compact rows must name.
    pub fn schema(&self) -> SchemaHash {
        self.schema
    }

    /// Reads one row of either form. Every feature it does not name is missing.
    pub fn read(&mut self, row: &[u8]) -> Result<Row<'_>, BadRow> {
        self.cells.copy_from_slice(&self.missing);
        let mut read = Read { time_us: None, wrong: 0, cut: 0, unknown: 0 };
        if binary::is_binary(row) {
            self.read_binary(row, &mut read)?;
        } else {
            let mut json = serde_json::Deserializer::from_slice(row);
            json.deserialize_map(RowVisitor { reader: self, read: &mut read })?;
            json.end()?;
        }
        let Read { time_us, wrong, cut, unknown } = read;
        Ok(Row { cells: &self.cells, time_us, wrong, cut, unknown })
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
    cut: u32,
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
                    let cells = &mut reader.cells[field.cell as usize..][..field.cells()];
                    match map.next_value_seed(ValueSeed { field, cells, symbols: &reader.symbols })? {
                        Found::Right => {}
                        Found::Cut => read.cut += 1,
                        Found::Wrong => {
                            cells.fill(field.missing());
                            read.wrong += 1;
                        }
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

/// What a value was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Of the field's type; so is `null`, which means missing.
    Right,
    /// A list of ids that was too long: its first ids are there.
    Cut,
    /// Of another type, or a vector of another length.
    Wrong,
}

/// Fills the cells of one field.
struct ValueSeed<'v> {
    field: &'v Field,
    cells: &'v mut [u64],
    symbols: &'v Symbols,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Found, D::Error> {
        json.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    /// Fills the one cell of a field.
    fn cell(self, cell: Option<u64>) -> Found {
        let Some(cell) = cell else { return Found::Wrong };
        self.cells[0] = cell;
        Found::Right
    }

    /// A number; a time takes it as microseconds.
    fn number(self, number: f64) -> Found {
        match self.field.kind {
            FeatureKind::Number => self.cell(Some(number.to_bits())),
            FeatureKind::F32 => {
                let number = number as f32;
                self.cell(number.is_finite().then(|| u64::from(number.to_bits())))
            }
            FeatureKind::Time => self.time((number.abs() < MAX_TIME_US).then_some(number as i64)),
            FeatureKind::Flag | FeatureKind::Symbol | FeatureKind::Vector | FeatureKind::Ids | FeatureKind::Text => {
                Found::Wrong
            }
        }
    }

    /// A whole number, which as a time is exact.
    fn integer(self, number: i64) -> Found {
        if self.field.kind == FeatureKind::Time { self.time(Some(number)) } else { self.number(number as f64) }
    }

    fn time(self, time_us: Option<i64>) -> Found {
        self.cell(time_us.map(|time_us| time_us as u64).filter(|cell| *cell != NO_TIME))
    }

    fn vector<'de, A: SeqAccess<'de>>(self, seq: &mut A) -> Result<Found, A::Error> {
        let wanted = self.field.len as usize;
        let (mut found, mut low) = (0, 0.0);
        while let Some(Component(component)) = seq.next_element()? {
            let Some(value) = component.filter(|_| found < wanted) else { return Ok(Found::Wrong) };
            if found % 2 == 0 {
                low = value;
            }
            let high = if found % 2 == 1 { value } else { f32::NAN };
            self.cells[found / 2] = pack(low, high);
            found += 1;
        }
        Ok(if found == wanted { Found::Right } else { Found::Wrong })
    }

    fn ids<'de, A: SeqAccess<'de>>(self, seq: &mut A) -> Result<Found, A::Error> {
        self.cells.fill(0);
        let mut cells = self.cells.iter_mut();
        while let Some(Id(hash)) = seq.next_element()? {
            match (cells.next(), hash) {
                (Some(cell), Some(hash)) => *cell = hash,
                (None, Some(_)) => return Ok(Found::Cut),
                (_, None) => return Ok(Found::Wrong),
            }
        }
        Ok(Found::Right)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Found, E> {
        let is_flag = self.field.kind == FeatureKind::Flag;
        Ok(self.cell(is_flag.then(|| f64::from(flag).to_bits())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(match i64::try_from(number) {
            Ok(integer) => self.integer(integer),
            Err(_) => self.number(number as f64),
        })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Found, E> {
        Ok(self.integer(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Found, E> {
        Ok(self.number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(match self.field.kind {
            FeatureKind::Symbol => {
                let number = self.symbols.intern(text);
                self.cell(Some(u64::from(number)))
            }
            FeatureKind::Time => self.time(parse_rfc3339(text)),
            FeatureKind::Text => Found::Right,
            FeatureKind::Number | FeatureKind::F32 | FeatureKind::Flag | FeatureKind::Vector | FeatureKind::Ids => {
                Found::Wrong
            }
        })
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        self.cells.fill(self.field.missing());
        Ok(Found::Right)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        let found = match self.field.kind {
            FeatureKind::Vector => self.vector(&mut seq)?,
            FeatureKind::Ids => self.ids(&mut seq)?,
            _ => Found::Wrong,
        };
        // What was not looked at is drained: what follows the list in the row still counts.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Wrong)
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
        Ok((us.abs() < MAX_TIME_US).then_some(us as TimeUs))
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
