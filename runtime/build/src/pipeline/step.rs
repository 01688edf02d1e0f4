//! One step of a pipeline: what it reads, what it appends. Owns the shapes and the meaning of every step but the trees'.

mod read;

use serde::{Deserialize, Serialize};

use super::trees::Trees;

/// A column of the tape.
pub type Column = u32;

/// What LightGBM takes for zero: at most this far from it, the f32 next to 1e-35.
pub const ZERO: f64 = 1e-35_f32 as f64;

/// Reads columns that stand before it and appends its own. In JSON `step`, its name, is the first key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A column each: its value, or `values` where it is NaN.
    Impute {
        /// The columns.
        columns: Vec<Column>,
        /// What stands in for NaN, one a column.
        values: Vec<f64>,
    },
    /// A column each: 1 where it is NaN, else 0.
    IsMissing {
        /// The columns.
        columns: Vec<Column>,
    },
    /// A column each: NaN where its absolute value is at most [`ZERO`], else its value.
    ZeroIsMissing {
        /// The columns.
        columns: Vec<Column>,
    },
    /// A column each: `((x - subtract) / divide) * multiply + add`; a list that is empty is left out, the others have one
    /// value a column. Every operation rounds to f64.
    Scale {
        /// The columns.
        columns: Vec<Column>,
        /// First.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        subtract: Vec<f64>,
        /// Second.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        divide: Vec<f64>,
        /// Third.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        multiply: Vec<f64>,
        /// Last.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        add: Vec<f64>,
    },
    /// A column each: not below `low`, not above `high`; NaN stays.
    Clip {
        /// The columns.
        columns: Vec<Column>,
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
    },
    /// A column each: a function of it.
    Apply {
        /// The columns.
        columns: Vec<Column>,
        /// The function.
        function: Function,
    },
    /// A column a term: the product of its columns from left to right; 1 for an empty term.
    Products {
        /// The terms.
        terms: Vec<Vec<Column>>,
    },
    /// A column a term: the sum of its columns from left to right; 0 for an empty term.
    Sums {
        /// The terms.
        terms: Vec<Vec<Column>>,
    },
    /// One column: the index of the equal value, -1 when there is none, NaN when it is missing. -0 equals 0.
    Index {
        /// The column.
        column: Column,
        /// Ascending.
        values: Vec<f64>,
    },
    /// One column: how many edges are at most the value; NaN when it is missing.
    Bins {
        /// The column.
        column: Column,
        /// Ascending; the outer edges are left out.
        edges: Vec<f64>,
    },
    /// `width` columns of 0, but one of them 1: of the symbol index `slots[index]`.
    OneHot {
        /// A column of symbol indices: cut to an integer; below 0 or beyond `slots` is another text.
        column: Column,
        /// How many columns.
        width: u32,
        /// The slot of each symbol, -1 for none.
        slots: Vec<i32>,
        /// The slot of any other text, -1 for none.
        other: i32,
        /// The slot of a missing value, -1 for none.
        missing: i32,
    },
    /// `width` columns: the row of the symbol index.
    Table {
        /// A column of symbol indices, as for `OneHot`.
        column: Column,
        /// How many columns.
        width: u32,
        /// Row-major, `width` values a symbol; NaN is written as `null`.
        #[serde(with = "nullable")]
        rows: Vec<f64>,
        /// The row of any other text.
        #[serde(with = "nullable")]
        other: Vec<f64>,
        /// The row of a missing value.
        #[serde(with = "nullable")]
        missing: Vec<f64>,
    },
    /// A column for each value of `intercept`: `intercept + Σ weight × column`. A NaN makes the sum NaN.
    ///
    /// With `f64`: the products of the shared columns (`Pipeline::scopes`) are summed in eight lanes that begin with 0 (column
    /// i of the shared ones into lane i mod 8), the lanes then as `((0+4)+(2+6))+((1+5)+(3+7))`; so are the candidate's; the
    /// answer is `(intercept + shared) + candidate`, a side without columns left out. With `f32`: columns and weights are rounded to
    /// f32, there are 16 lanes of f32, the lanes are first added i with i + 8, then as above.
    Linear {
        /// The columns.
        columns: Vec<Column>,
        /// Row-major: a row of `columns` weights for each output.
        weights: Vec<f64>,
        /// One an output.
        intercept: Vec<f64>,
        /// What it is computed in.
        precision: Precision,
    },
    /// A column each: `e^(x - max) / Σ`, summed from left to right. With `f32` the differences, the exponentials, their sum
    /// (which is taken in f64) and the quotients are rounded to f32, as XGBoost does.
    Softmax {
        /// The columns.
        columns: Vec<Column>,
        /// What it is computed in.
        precision: Precision,
    },
    /// A column each: divided by their sum, from left to right; `1 / n` each when the sum is 0.
    Normalize {
        /// The columns.
        columns: Vec<Column>,
    },
    /// A column each: linear interpolation between the points, the outer values beyond them; NaN stays. Between points 0
    /// and 1 it is `(y1 - y0) / (x1 - x0) * (x - x0) + y0`; of points with one x the last counts.
    Interpolate {
        /// The columns.
        columns: Vec<Column>,
        /// Ascending.
        x: Vec<f64>,
        /// One a point.
        y: Vec<f64>,
    },
    /// A column each: the probability `p` of a model that saw only the share `kept` of the negatives, corrected to
    /// `p / (p + (1 - p) / kept)`.
    Prior {
        /// The columns.
        columns: Vec<Column>,
        /// The share of the negatives that was kept, above 0 and at most 1.
        kept: f64,
    },
    /// One column: the dot product of `columns` with the symbol's vector, in f32: 16 lanes as for `Linear`, no split by
    /// scope. 0 for a symbol without a vector and for a missing one.
    Embedding {
        /// A column of symbol indices, as for `OneHot`.
        column: Column,
        /// The other vector's columns, `len` of them.
        columns: Vec<Column>,
        /// Row-major, `len` values a symbol, rounded to f32.
        vectors: Vec<f64>,
        /// Whether the dot product is divided by the length of `columns` (0 when that is 0); the symbols' vectors are
        /// then of length 1 already, and the answer is the cosine.
        cosine: bool,
    },
    /// One column: the dot product of two vectors, in f32, 16 lanes as for `Linear`, no split by scope.
    Dot {
        /// One vector's columns.
        a: Vec<Column>,
        /// The other's, as many.
        b: Vec<Column>,
    },
    /// A column an output: the sums of an ensemble.
    Trees(Trees),
}

/// A function of one number, computed in plain arithmetic (`libm`, and an `exp` of the kernel) where IEEE 754 does not fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Natural logarithm.
    Log,
    /// Logarithm to base 2.
    Log2,
    /// Logarithm to base 10.
    Log10,
    /// `ln(1 + x)`.
    Log1p,
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// Square root.
    Sqrt,
    /// `x * x`.
    Square,
    /// Absolute value.
    Abs,
    /// `-x`.
    Negate,
    /// `1 / x`.
    Reciprocal,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x` above 0, else 0; NaN stays.
    Relu,
    /// Rounded to f32.
    RoundF32,
    /// Cut to an integer, towards 0.
    Trunc,
}

/// What a sum is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    #[default]
    F64,
}

fn no_slot() -> i32 {
    -1
}

// === impl Step ===

impl Step {
    /// How many columns it appends.
    pub fn width(&self) -> usize {
        match self {
            Self::Impute { columns, .. }
            | Self::IsMissing { columns }
            | Self::ZeroIsMissing { columns }
            | Self::Scale { columns, .. }
            | Self::Clip { columns, .. }
            | Self::Apply { columns, .. }
            | Self::Softmax { columns, .. }
            | Self::Normalize { columns }
            | Self::Interpolate { columns, .. }
            | Self::Prior { columns, .. } => columns.len(),
            Self::Products { terms } | Self::Sums { terms } => terms.len(),
            Self::Index { .. } | Self::Bins { .. } | Self::Embedding { .. } | Self::Dot { .. } => 1,
            Self::OneHot { width, .. } | Self::Table { width, .. } => *width as usize,
            Self::Linear { intercept, .. } => intercept.len(),
            Self::Trees(trees) => trees.outputs as usize,
        }
    }

    /// The columns of a step that works column by column: column i of its own comes from column i of these alone.
    pub fn each(&self) -> Option<&[Column]> {
        match self {
            Self::Impute { columns, .. }
            | Self::IsMissing { columns }
            | Self::ZeroIsMissing { columns }
            | Self::Scale { columns, .. }
            | Self::Clip { columns, .. }
            | Self::Apply { columns, .. }
            | Self::Interpolate { columns, .. }
            | Self::Prior { columns, .. } => Some(columns),
            Self::Products { .. }
            | Self::Sums { .. }
            | Self::Index { .. }
            | Self::Bins { .. }
            | Self::OneHot { .. }
            | Self::Table { .. }
            | Self::Linear { .. }
            | Self::Softmax { .. }
            | Self::Normalize { .. }
            | Self::Embedding { .. }
            | Self::Dot { .. }
            | Self::Trees(_) => None,
        }
    }

    /// Every column it reads, some perhaps twice.
    pub fn reads(&self) -> Box<dyn Iterator<Item = Column> + '_> {
        match self {
            Self::Impute { columns, .. }
            | Self::IsMissing { columns }
            | Self::ZeroIsMissing { columns }
            | Self::Scale { columns, .. }
            | Self::Clip { columns, .. }
            | Self::Apply { columns, .. }
            | Self::Softmax { columns, .. }
            | Self::Normalize { columns }
            | Self::Interpolate { columns, .. }
            | Self::Prior { columns, .. }
            | Self::Linear { columns, .. } => Box::new(columns.iter().copied()),
            Self::Products { terms } | Self::Sums { terms } => Box::new(terms.iter().flatten().copied()),
            Self::Index { column, .. }
            | Self::Bins { column, .. }
            | Self::OneHot { column, .. }
            | Self::Table { column, .. } => Box::new(std::iter::once(*column)),
            Self::Embedding { column, columns, .. } => {
                Box::new(std::iter::once(*column).chain(columns.iter().copied()))
            }
            Self::Dot { a, b } => Box::new(a.iter().chain(b).copied()),
            Self::Trees(trees) => Box::new(trees.columns.iter().copied()),
        }
    }
}

/// Numbers of which NaN is `null`, for which JSON has no other word.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let nullable: Vec<Option<f64>> = values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect();
        nullable.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let nullable = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(nullable.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    }
}
