//! The fit of the forest that the module carries, on made-up sessions. Runs on the author's machine, never in the module.

use smartcore::ensemble::random_forest_regressor::RandomForestRegressorParameters;
use smartcore::error::Failed;
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::Forest;

/// Visits, spend, price and discount of 600 sessions.
pub fn rows() -> Vec<Vec<f64>> {
    let mut state = 0x5e1f_ed9e_u64;
    let mut draw = move |below: f64| {
        // A linear congruential generator (Knuth): the same sessions on every machine.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f64 / f64::from(1 << 24) * below).floor()
    };
    (0..600).map(|_| vec![draw(30.0), draw(400.0), draw(120.0), draw(5.0) / 10.0]).collect()
}

/// The forest: whether a visitor clicks, who comes often, or whose usual spend the discounted price does not reach.
///
/// # Errors
///
/// When smartcore refuses the rows.
pub fn forest() -> Result<Forest, Failed> {
    let rows = rows();
    let clicks = rows.iter().map(|row| {
        let price = row[2] * (1.0 - row[3]);
        f64::from(row[0] > 20.0 || price * 4.0 < row[1])
    });
    let clicks = clicks.collect();
    let parameters = RandomForestRegressorParameters::default().with_n_trees(10).with_max_depth(5).with_seed(7);
    Forest::fit(&DenseMatrix::from_2d_vec(&rows)?, &clicks, parameters)
}
