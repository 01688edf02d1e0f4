//! The compact form of a row, for bulk: values by their place, without names. Owns its bytes, which `docs/publishing.md` lists
//! one by one; what counts as a right value is [`super`]'s, for both forms.
//!
//! Places mean something by a schema alone, so a row names its schema, and one of another schema is refused as a whole.

use std::fmt;

use selvedge_decision::TimeUs;
use selvedge_decision::layout::{FeatureKind, Field, RowLayout, id_hash, pack};
use sha2::{Digest as _, Sha256};

use super::{BadRow, Found, RowReader, ValueSeed};

mod show;
mod write;

pub use show::to_json;
pub use write::{BinaryWriter, Unwritable};

/// The first byte: no text of UTF-8 has it, and so no JSON.
const MAGIC: u8 = 0xfb;
const VERSION: u8 = 1;
/// The one flag: the row names its event's time.
const HAS_TIME: u8 = 1;

/// Names, types and lengths of a view's features, as 8 bytes: the first of the SHA-256 over `name:type:len` and a line feed
/// for each feature, in the order of their names. Defaults and what else does not change the bytes of a row is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemaHash(pub(crate) [u8; 8]);

/// What a row is made of, as it goes by.
pub(super) struct Pieces<'b> {
    rest: &'b [u8],
}

/// A value as it lies there.
#[derive(Clone, Copy)]
pub(super) enum Value<'b> {
    Number(f64),
    F32(f32),
    Flag(u8),
    Time(i64),
    Text(&'b str),
    /// f32, little-endian, as many as the field has.
    Vector(&'b [u8]),
    Ids(Texts<'b>),
}

/// Texts one after the other, looked through before.
#[derive(Clone, Copy)]
pub(super) struct Texts<'b> {
    left: usize,
    rest: &'b [u8],
}

/// The bytes are not a row of any schema: what is wrong.
type Broken = &'static str;

/// Whether a row is of this form.
pub fn is_binary(row: &[u8]) -> bool {
    row.first() == Some(&MAGIC)
}

/// Which schema a row was written for; none when it is of another form or version.
pub fn schema_of(row: &[u8]) -> Option<SchemaHash> {
    Pieces { rest: row }.head().ok()
}

// === impl SchemaHash ===

impl SchemaHash {
    /// Of the features at these places.
    pub fn of(layout: &RowLayout) -> Self {
        let mut hash = Sha256::new();
        for field in in_order(layout) {
            hash.update(format!("{}:{}:{}\n", field.name, word(field.kind), field.len));
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d, e, f, g, h])
    }

    /// As it stands in a row.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for SchemaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SchemaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fields by name: a layout has them so, but for those of tests.
fn in_order(layout: &RowLayout) -> Vec<&Field> {
    let mut fields: Vec<_> = layout.fields().iter().collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

/// A type as features.toml names it.
fn word(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Number => "number",
        FeatureKind::F32 => "f32",
        FeatureKind::Flag => "flag",
        FeatureKind::Time => "time",
        FeatureKind::Symbol => "symbol",
        FeatureKind::Vector => "vector",
        FeatureKind::Ids => "ids",
        FeatureKind::Text => "text",
    }
}

// === impl Pieces ===

impl<'b> Pieces<'b> {
    /// A row of a schema, and the time it names.
    pub(super) fn of(row: &'b [u8], schema: SchemaHash) -> Result<(Self, Option<TimeUs>), BadRow> {
        let mut pieces = Self { rest: row };
        let found = pieces.head().map_err(BadRow::Binary)?;
        if found != schema {
            return Err(BadRow::Schema { found, expected: schema });
        }
        let time_us = pieces.time().map_err(BadRow::Binary)?;
        Ok((pieces, time_us))
    }

    fn head(&mut self) -> Result<SchemaHash, Broken> {
        match self.take::<2>()? {
            [MAGIC, VERSION] => self.take().map(SchemaHash),
            _ => Err("it is of another version"),
        }
    }

    fn time(&mut self) -> Result<Option<TimeUs>, Broken> {
        match self.take::<1>()? {
            [0] => Ok(None),
            [HAS_TIME] => self.take().map(|time| Some(TimeUs::from_le_bytes(time))),
            _ => Err("it has flags that mean nothing"),
        }
    }

    /// Hands out the values of the fields that have one.
    pub(super) fn values(
        mut self,
        fields: usize,
        mut each: impl FnMut(usize, &mut Self) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let present = self.bytes(fields.div_ceil(8))?;
        if let Some(last) = present.last()
            && !fields.is_multiple_of(8)
            && last >> (fields % 8) > 0
        {
            return Err("it has more values than the view has features");
        }
        for at in (0..fields).filter(|at| present[at / 8] >> (at % 8) & 1 > 0) {
            each(at, &mut self)?;
        }
        if self.rest.is_empty() { Ok(()) } else { Err("something stands behind its last value") }
    }

    pub(super) fn value(&mut self, field: &Field) -> Result<Value<'b>, Broken> {
        Ok(match field.kind {
            FeatureKind::Number => Value::Number(f64::from_le_bytes(self.take()?)),
            FeatureKind::F32 => Value::F32(f32::from_le_bytes(self.take()?)),
            FeatureKind::Flag => Value::Flag(self.take::<1>()?[0]),
            FeatureKind::Time => Value::Time(i64::from_le_bytes(self.take()?)),
            FeatureKind::Symbol | FeatureKind::Text => Value::Text(self.text()?),
            FeatureKind::Vector => Value::Vector(self.bytes(field.len as usize * 4)?),
            FeatureKind::Ids => {
                let left = self.length()?;
                let texts = Texts { left, rest: self.rest };
                for _ in 0..left {
                    self.text()?;
                }
                Value::Ids(texts)
            }
        })
    }

    fn text(&mut self) -> Result<&'b str, Broken> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| "a text of it is not UTF-8")
    }

    /// A length: LEB128, at most 32 bits in at most five bytes.
    fn length(&mut self) -> Result<usize, Broken> {
        let mut length = 0u64;
        for at in 0..5 {
            let [byte] = self.take::<1>()?;
            length |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return u32::try_from(length).map(|length| length as usize).map_err(|_| "a length of it is too large");
            }
        }
        Err("a length of it is too large")
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn bytes(&mut self, length: usize) -> Result<&'b [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }
}

// === impl Texts ===

impl<'b> Iterator for Texts<'b> {
    type Item = &'b str;

    fn next(&mut self) -> Option<&'b str> {
        self.left = self.left.checked_sub(1)?;
        let mut pieces = Pieces { rest: self.rest };
        let text = pieces.text().ok()?;
        self.rest = pieces.rest;
        Some(text)
    }
}

/// The components of a vector.
pub(super) fn components(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (all, _) = bytes.as_chunks();
    all.iter().map(|component| f32::from_le_bytes(*component))
}

// === impl RowReader ===

impl RowReader {
    /// Reads a row of this form into the cells.
    pub(super) fn read_binary(&mut self, row: &[u8], read: &mut super::Read) -> Result<(), BadRow> {
        let (pieces, time_us) = Pieces::of(row, self.schema)?;
        read.time_us = time_us;
        let Self { layout, cells, symbols, sorted, .. } = self;
        let each = |at: usize, pieces: &mut Pieces<'_>| {
            let field = &layout.fields()[sorted[at] as usize];
            let value = pieces.value(field)?;
            let cells = &mut cells[field.cell as usize..][..field.cells()];
            match (ValueSeed { field, cells, symbols }).binary(value) {
                Found::Right => {}
                Found::Cut => read.cut += 1,
                Found::Wrong => {
                    cells.fill(field.missing());
                    read.wrong += 1;
                }
            }
            Ok(())
        };
        pieces.values(sorted.len(), each).map_err(BadRow::Binary)
    }
}

/// The places of a layout's fields, by name.
pub(super) fn sorted(layout: &RowLayout) -> Vec<u32> {
    let mut places: Vec<u32> = (0..layout.fields().len() as u32).collect();
    places.sort_by(|a, b| layout.fields()[*a as usize].name.cmp(&layout.fields()[*b as usize].name));
    places
}

// === impl ValueSeed ===

impl ValueSeed<'_> {
    /// A value of the field's type; numbers may be none all the same.
    fn binary(self, value: Value<'_>) -> Found {
        match value {
            Value::Number(number) if number.is_finite() => self.number(number),
            Value::F32(number) if number.is_finite() => self.cell(Some(u64::from(number.to_bits()))),
            Value::Flag(flag @ (0 | 1)) => self.cell(Some(f64::from(flag).to_bits())),
            Value::Time(time_us) => self.time(Some(time_us)),
            Value::Text(text) if self.field.kind == FeatureKind::Symbol => {
                let number = self.symbols.intern(text);
                self.cell(Some(u64::from(number)))
            }
            Value::Text(_) => Found::Right,
            Value::Vector(bytes) => self.components(bytes),
            Value::Ids(ids) => {
                self.cells.fill(0);
                let is_cut = ids.left > self.cells.len();
                self.cells.iter_mut().zip(ids).for_each(|(cell, id)| *cell = id_hash(id));
                if is_cut { Found::Cut } else { Found::Right }
            }
            Value::Number(_) | Value::F32(_) | Value::Flag(_) => Found::Wrong,
        }
    }

    fn components(self, bytes: &[u8]) -> Found {
        let mut all = components(bytes);
        for cell in self.cells {
            let (Some(low), high) = (all.next(), all.next()) else { return Found::Wrong };
            if !low.is_finite() || high.is_some_and(|high| !high.is_finite()) {
                return Found::Wrong;
            }
            *cell = pack(low, high.unwrap_or(f32::NAN));
        }
        Found::Right
    }
}

#[cfg(test)]
mod tests;
