//! A module that runs smartcore itself: it carries a fitted forest, and every call calls smartcore's `predict`. An example of
//! what the contract allows, for models that no exporter knows; README.md says what it costs.

#[cfg(not(target_arch = "wasm32"))]
pub mod fit;

use selvedge_guest::Call;
use smartcore::ensemble::random_forest_regressor::RandomForestRegressor;
use smartcore::linalg::basic::matrix::DenseMatrix;

/// A regression on 0 and 1, so that its mean is a probability.
pub type Forest = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// The forest as `examples/fit.rs` wrote it. smartcore's format changes with its version; it never leaves this module.
pub const FITTED: &[u8] = include_bytes!("../forest.postcard");

selvedge_guest::module!("manifest.json", evaluate);

/// The score of every candidate: the shared row, then its own.
///
/// # Errors
///
/// When the forest does not read, or smartcore refuses the rows.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if call.count() == 0 {
        return Ok(Vec::new());
    }
    let forest: Forest = postcard::from_bytes(FITTED).map_err(|error| error.to_string())?;
    let width = call.shared().len() + call.candidates().len() / call.count();
    let mut rows = Vec::with_capacity(width * call.count());
    for row in call.rows() {
        rows.extend_from_slice(call.shared());
        rows.extend_from_slice(row);
    }
    let rows = DenseMatrix::new(call.count(), width, rows, false).map_err(|error| error.to_string())?;
    forest.predict(&rows).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_forest_is_the_one_that_is_fitted() {
        assert_eq!(
            postcard::to_allocvec(&fit::forest().unwrap()).unwrap(),
            FITTED,
            "cargo run --example fit writes it"
        );
    }

    #[test]
    fn the_module_answers_as_the_forest_does() {
        let rows = fit::rows();
        let x = DenseMatrix::from_2d_vec(&rows).unwrap();
        let expected = fit::forest().unwrap().predict(&x).unwrap();
        for (row, expected) in rows.iter().zip(expected) {
            assert_eq!(evaluate(Call::new(&row[..2], &row[2..], 1)), Ok(vec![expected]));
        }
        assert_eq!(evaluate(Call::new(&[1.0, 2.0], &[], 0)), Ok(vec![]));
    }
}
