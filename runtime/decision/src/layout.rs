//! How a row of features lies in memory: 64-bit cells, so that a table can hold them as atomics and a reader can copy a row
//! without a lock. Owns the mapping from a view's features to cells; the node's tables and the gather plan both follow it.

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
    /// Microseconds since the epoch as f64; one cell, NaN when missing.
    Time,
    /// A text, interned by the node: the cell is its number, [`NO_SYMBOL`] when missing.
    Symbol,
    /// `len` f32, two a cell, the first in the low half; NaN when missing.
    Vector,
}

impl std::fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::F32 => "f32",
            Self::Flag => "flag",
            Self::Time => "time",
            Self::Symbol => "symbol",
            Self::Vector => "vector",
        })
    }
}

/// The cell of a symbol that is missing.
pub const NO_SYMBOL: u64 = u64::MAX;

/// The number of a text that the node has no room to intern.
pub const OTHER_SYMBOL: u64 = u32::MAX as u64;

/// Where one feature lies in a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The feature's name.
    pub name: String,
    /// Its type.
    pub kind: FeatureKind,
    /// 1, or the length of a vector.
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
    /// The layout of features given as (name, type, length), the length being 1 for all but vectors.
    pub fn new(features: impl IntoIterator<Item = (String, FeatureKind, u32)>) -> Self {
        let mut layout = Self::default();
        for (name, kind, len) in features {
            let cells = if kind == FeatureKind::Vector { len.div_ceil(2) } else { 1 };
            layout.fields.push(Field { name, kind, len, cell: layout.cells });
            layout.cells += cells;
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
            match field.kind {
                FeatureKind::Symbol => row.push(NO_SYMBOL),
                FeatureKind::Number | FeatureKind::Flag | FeatureKind::Time => row.push(f64::NAN.to_bits()),
                FeatureKind::F32 => row.push(u64::from(f32::NAN.to_bits())),
                FeatureKind::Vector => row.extend((0..field.len.div_ceil(2)).map(|_| pack(f32::NAN, f32::NAN))),
            }
        }
        row
    }
}

/// Two f32 in one cell.
pub fn pack(low: f32, high: f32) -> u64 {
    u64::from(high.to_bits()) << 32 | u64::from(low.to_bits())
}

/// The two f32 of a cell, low half first.
pub fn unpack(cell: u64) -> [f32; 2] {
    [f32::from_bits(cell as u32), f32::from_bits((cell >> 32) as u32)]
}
