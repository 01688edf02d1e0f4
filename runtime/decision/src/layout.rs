//! How a row of features lies in memory: 64-bit cells, so that a table can hold them as atomics and a reader can copy a row
//! without a lock. Owns the mapping from a view's features to cells; the node's tables and the gather plan both follow it.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The type of a feature as `features.toml` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// f64; one cell, NaN when missing.
    Number,
    /// f32, widened at gather; one cell, NaN when missing.
    F32,
    /// 0 or 1 as f64; one cell, NaN when missing.
    Flag,
    /// Microseconds since the epoch as i64; one cell, [`NO_TIME`] when missing.
    Time,
    /// A text, interned by the node: the cell is its number, [`NO_SYMBOL`] when missing.
    Symbol,
    /// `len` f32, two a cell, the first in the low half; NaN when missing.
    Vector,
    /// At most `len` ids, each as its [`id_hash`], 0 behind the last; the first cell is [`NO_IDS`] when missing.
    Ids,
    /// A text that no module reads: it is kept at the core and on disk, and has no cell.
    Text,
}

impl core::fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::F32 => "f32",
            Self::Flag => "flag",
            Self::Time => "time",
            Self::Symbol => "symbol",
            Self::Vector => "vector",
            Self::Ids => "list of ids",
            Self::Text => "text",
        })
    }
}

/// The cell of a symbol that is missing.
pub const NO_SYMBOL: u64 = u64::MAX;

/// The cell of a time that is missing.
pub const NO_TIME: u64 = i64::MIN as u64;

/// The first cell of a list of ids that is missing.
pub const NO_IDS: u64 = u64::MAX;

/// The number of a text that the node has no room to intern.
pub const OTHER_SYMBOL: u64 = u32::MAX as u64;

/// Where one feature lies in a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The feature's name.
    pub name: String,
    /// Its type.
    pub kind: FeatureKind,
    /// 1, the length of a vector, or the most ids of a list.
    pub len: u32,
    /// The first cell.
    pub cell: u32,
}

/// The cells of one view's rows, in the order the features were declared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RowLayout {
    fields: Vec<Field>,
    cells: u32,
}

// === impl RowLayout ===

impl RowLayout {
    /// The layout of features given as (name, type, length), the length being 1 for all but vectors and lists.
    pub fn new(features: impl IntoIterator<Item = (String, FeatureKind, u32)>) -> Self {
        let mut layout = Self::default();
        for (name, kind, len) in features {
            let field = Field { name, kind, len, cell: layout.cells };
            layout.cells += field.cells() as u32;
            layout.fields.push(field);
        }
        layout
    }

    /// Cells of a row.
    pub fn cells(&self) -> usize {
        self.cells as usize
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of feature `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A row of which every value is missing.
    pub fn missing_row(&self) -> Vec<u64> {
        let mut row = Vec::with_capacity(self.cells());
        for field in &self.fields {
            row.extend(core::iter::repeat_n(field.missing(), field.cells()));
        }
        row
    }
}

// === impl Field ===

impl Field {
    /// How many cells it has.
    pub fn cells(&self) -> usize {
        match self.kind {
            FeatureKind::Number | FeatureKind::F32 | FeatureKind::Flag | FeatureKind::Time | FeatureKind::Symbol => 1,
            FeatureKind::Vector => self.len.div_ceil(2) as usize,
            FeatureKind::Ids => self.len as usize,
            FeatureKind::Text => 0,
        }
    }

    /// What stands in each of its cells when it is missing.
    pub fn missing(&self) -> u64 {
        match self.kind {
            FeatureKind::Number | FeatureKind::Flag => f64::NAN.to_bits(),
            FeatureKind::F32 => u64::from(f32::NAN.to_bits()),
            FeatureKind::Time => NO_TIME,
            FeatureKind::Symbol => NO_SYMBOL,
            FeatureKind::Vector => pack(f32::NAN, f32::NAN),
            FeatureKind::Ids => NO_IDS,
            FeatureKind::Text => 0,
        }
    }
}

/// An id in a list, as its cell: 64-bit FNV-1a of its UTF-8 (Fowler, Noll, Vo; offset 0xcbf29ce484222325, prime 0x100000001b3),
/// with the two values that mean something else moved to their neighbours.
pub fn id_hash(id: &str) -> u64 {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.clamp(1, NO_IDS - 1)
}

/// Two f32 in one cell.
pub fn pack(low: f32, high: f32) -> u64 {
    u64::from(high.to_bits()) << 32 | u64::from(low.to_bits())
}

/// The two f32 of a cell, low half first.
pub fn unpack(cell: u64) -> [f32; 2] {
    [f32::from_bits(cell as u32), f32::from_bits((cell >> 32) as u32)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hash_as_the_algorithm_says() {
        // From the authors' test vectors.
        for (id, expected) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(id_hash(id), expected, "{id:?}");
        }
    }

    #[test]
    fn a_row_has_the_cells_of_its_fields() {
        let kinds = [
            ("flag", FeatureKind::Flag, 1),
            ("ids", FeatureKind::Ids, 3),
            ("text", FeatureKind::Text, 1),
            ("time", FeatureKind::Time, 1),
            ("vector", FeatureKind::Vector, 3),
        ];
        let layout = RowLayout::new(kinds.map(|(name, kind, len)| (name.to_owned(), kind, len)));
        let cells: Vec<_> = layout.fields().iter().map(|field| (field.cell, field.cells())).collect();
        assert_eq!(cells, [(0, 1), (1, 3), (4, 0), (4, 1), (5, 2)]);
        assert_eq!((layout.cells(), layout.missing_row().len()), (7, 7));
    }
}
