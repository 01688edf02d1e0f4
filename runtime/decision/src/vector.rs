//! Golden vectors: what a module must answer. Owns the type alone; the bytes are `runtime/build`'s, the check is
//! `runtime/host`'s.

use alloc::vec::Vec;

/// One call and the answer that must come out, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// The request's row.
    pub shared: Vec<f64>,
    /// The candidates' rows, row-major.
    pub candidates: Vec<f64>,
    /// How many candidates.
    pub count: u32,
    /// The answer, row-major: `count` rows of the manifest's outputs.
    pub outputs: Vec<f64>,
}
