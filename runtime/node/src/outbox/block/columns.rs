//! What the columns of events and records share: writing texts and rows once, and taking columns apart without trusting
//! them. Owns no field of either.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::de::DeserializeOwned;

use super::{BadBlock, MAX_WEIGHT};

/// Writes texts once each and numbers them from 1.
pub(super) struct TextWriter<'a> {
    numbers: HashMap<&'a str, u32, FixedState>,
    pub(super) text: String,
    pub(super) bytes: Vec<u32>,
}

/// Writes rows of numbers once each, by their bits, and numbers them from 1; 0 is the empty row.
pub(super) struct RowWriter<'a> {
    numbers: HashMap<Row<'a>, u32, FixedState>,
    pub(super) rows: Vec<&'a [f64]>,
}

/// A row compared by its bits, so that NaN equals NaN and -0 is not 0.
struct Row<'a>(&'a [f64]);

/// The texts of a block by number.
pub(super) struct Texts<'a> {
    text: &'a str,
    ends: Vec<usize>,
    shared: Vec<Option<Arc<str>>>,
}

/// A column being taken apart.
pub(super) struct Column<T> {
    values: std::vec::IntoIter<T>,
    name: &'static str,
}

/// What may still be built from the block.
pub(super) struct Budget {
    left: usize,
}

/// The next difference of a delta column.
pub(super) fn delta(value: u64, last: &mut u64) -> i64 {
    let difference = value.wrapping_sub(*last) as i64;
    *last = value;
    difference
}

/// The next value of a delta column.
pub(super) fn undelta(difference: i64, last: &mut u64) -> u64 {
    *last = last.wrapping_add(difference as u64);
    *last
}

/// Reads a struct of columns that must be all of `bytes`.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadBlock> {
    match postcard::take_from_bytes(bytes) {
        Ok((columns, [])) => Ok(columns),
        Ok((_, rest)) => Err(BadBlock::Columns(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(BadBlock::Columns(error.to_string())),
    }
}

// === impl TextWriter ===

impl<'a> TextWriter<'a> {
    /// A writer that has room for `texts` texts before it grows.
    pub(super) fn with_capacity(texts: usize) -> Self {
        let numbers = HashMap::with_capacity_and_hasher(texts, FixedState::default());
        Self { numbers, text: String::new(), bytes: Vec::with_capacity(texts) }
    }

    /// The number of `text`.
    pub(super) fn number(&mut self, text: &'a str) -> u32 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.text.push_str(text);
            self.bytes.push(text.len() as u32);
            self.bytes.len() as u32
        })
    }

    /// The number of `text`, 0 for none.
    pub(super) fn optional(&mut self, text: Option<&'a str>) -> u32 {
        text.map_or(0, |text| self.number(text))
    }
}

// === impl RowWriter ===

impl<'a> RowWriter<'a> {
    /// A writer that has room for `rows` rows before it grows.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { numbers: HashMap::with_capacity_and_hasher(rows, FixedState::default()), rows: Vec::with_capacity(rows) }
    }

    /// The number of `row`.
    pub(super) fn number(&mut self, row: &'a [f64]) -> u32 {
        if row.is_empty() {
            return 0;
        }
        *self.numbers.entry(Row(row)).or_insert_with(|| {
            self.rows.push(row);
            self.rows.len() as u32
        })
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(other.0).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

impl Eq for Row<'_> {}

impl Hash for Row<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for value in self.0 {
            state.write_u64(value.to_bits());
        }
    }
}

// === impl Texts ===

impl<'a> Texts<'a> {
    pub(super) fn new(text: &'a str, bytes: &[u32]) -> Result<Self, BadBlock> {
        let mut end = 0usize;
        let mut ends = Vec::with_capacity(bytes.len());
        for &length in bytes {
            end = end.saturating_add(length as usize);
            if !text.is_char_boundary(end) {
                return Err(BadBlock::Columns("texts are cut in the wrong place".to_owned()));
            }
            ends.push(end);
        }
        if end != text.len() {
            return Err(BadBlock::Columns("texts are longer than their lengths say".to_owned()));
        }
        let shared = vec![None; ends.len()];
        Ok(Self { text, ends, shared })
    }

    /// A copy of text `number`, which must be one.
    pub(super) fn take(&self, number: u32, budget: &mut Budget) -> Result<String, BadBlock> {
        self.optional(number, budget)?.ok_or_else(|| BadBlock::Columns("a text is missing".to_owned()))
    }

    /// A copy of text `number`, `None` for 0.
    pub(super) fn optional(&self, number: u32, budget: &mut Budget) -> Result<Option<String>, BadBlock> {
        let Some(index) = (number as usize).checked_sub(1) else { return Ok(None) };
        let text = self.at(index)?;
        budget.take(text.len())?;
        Ok(Some(text.to_owned()))
    }

    /// Text `number`, which must be one, shared by all who ask.
    pub(super) fn shared(&mut self, number: u32, budget: &mut Budget) -> Result<Arc<str>, BadBlock> {
        let text = self.shared_optional(number, budget)?;
        text.ok_or_else(|| BadBlock::Columns("a text is missing".to_owned()))
    }

    /// Text `number`, shared by all who ask, `None` for 0.
    pub(super) fn shared_optional(&mut self, number: u32, budget: &mut Budget) -> Result<Option<Arc<str>>, BadBlock> {
        let Some(index) = (number as usize).checked_sub(1) else { return Ok(None) };
        if let Some(Some(text)) = self.shared.get(index) {
            return Ok(Some(Arc::clone(text)));
        }
        let text = self.at(index)?;
        budget.take(text.len())?;
        let text: Arc<str> = text.into();
        self.shared[index] = Some(Arc::clone(&text));
        Ok(Some(text))
    }

    fn at(&self, index: usize) -> Result<&'a str, BadBlock> {
        let end = *self.ends.get(index).ok_or_else(|| BadBlock::Columns(format!("there is no text {}", index + 1)))?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Ok(&self.text[start..end])
    }
}

// === impl Column ===

impl<T> Column<T> {
    pub(super) fn new(name: &'static str, values: Vec<T>) -> Self {
        Self { values: values.into_iter(), name }
    }

    /// The next value.
    pub(super) fn one(&mut self) -> Result<T, BadBlock> {
        self.values.next().ok_or_else(|| BadBlock::Columns(format!("{} is too short", self.name)))
    }

    /// The next `count` values.
    pub(super) fn many(&mut self, count: u32) -> Result<std::iter::Take<&mut std::vec::IntoIter<T>>, BadBlock> {
        if self.values.len() < count as usize {
            return Err(BadBlock::Columns(format!("{} is too short", self.name)));
        }
        Ok(self.values.by_ref().take(count as usize))
    }

    /// Refuses what is left over.
    pub(super) fn end(self) -> Result<(), BadBlock> {
        if self.values.len() == 0 { Ok(()) } else { Err(BadBlock::Columns(format!("{} is too long", self.name))) }
    }
}

// === impl Budget ===

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: MAX_WEIGHT }
    }

    /// Asks for `bytes` before they are allocated.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), BadBlock> {
        self.left = self.left.checked_sub(bytes).ok_or(BadBlock::TooLarge)?;
        Ok(())
    }
}
