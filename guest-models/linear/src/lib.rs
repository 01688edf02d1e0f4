//! The linear kernel: `score = link(intercept + Σ weight × column)`, weights appended by the builder. Owns the evaluation,
//! which is also the builder's reference: the same code natively and as a module, hence the same bits.

pub mod model;

use model::{Link, Model, Side};
use selvedge_guest::Call;

selvedge_guest::export!(module);

/// The module: [`evaluate`] with the model that the builder appended.
///
/// # Errors
///
/// When no readable model is appended, or the rows are not as wide as the model.
pub fn module(call: Call<'_>) -> Result<Vec<f64>, String> {
    evaluate(&Model::read(selvedge_guest::memory::appended())?, call)
}

/// One score a row. A missing value contributes 0.
///
/// # Errors
///
/// When the rows are not as wide as the model.
pub fn evaluate(model: &Model<'_>, call: Call<'_>) -> Result<Vec<f64>, String> {
    let (shared, candidate) = (model.shared.width(), model.candidate.width());
    if call.shared().len() != shared || Some(call.candidates().len()) != call.count().checked_mul(candidate) {
        return Err(format!("the model takes {shared} shared columns and {candidate} a candidate"));
    }
    let base = model.intercept + sum(&model.shared, call.shared());
    Ok(call.rows().map(|row| link(model.link, base + sum(&model.candidate, row))).collect())
}

fn link(link: Link, margin: f64) -> f64 {
    match link {
        Link::Identity => margin,
        Link::Logistic => 1.0 / (1.0 + libm::exp(-margin)),
    }
}

fn sum(side: &Side<'_>, row: &[f64]) -> f64 {
    let mut sum = dot(side.weights, row);
    for term in side.symbols() {
        sum += term.weight(row[term.column]);
    }
    sum
}

/// Σ weight × column over what is not missing, in eight lanes, because one lane would wait for every addition.
fn dot(weights: &[[u8; 8]], row: &[f64]) -> f64 {
    let term = |weight: &[u8; 8], value: &f64| if value.is_nan() { 0.0 } else { f64::from_le_bytes(*weight) * value };
    let (weight_groups, weight_rest) = weights.as_chunks::<8>();
    let (value_groups, value_rest) = row.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (weights, values) in weight_groups.iter().zip(value_groups) {
        for (lane, (weight, value)) in lanes.iter_mut().zip(weights.iter().zip(values)) {
            *lane += term(weight, value);
        }
    }
    for (lane, (weight, value)) in lanes.iter_mut().zip(weight_rest.iter().zip(value_rest)) {
        *lane += term(weight, value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::model::{Term, Weights};

    const NAN: f64 = f64::NAN;

    fn weights() -> Weights {
        Weights {
            link: Link::Identity,
            intercept: 0.5,
            shared: vec![Term::Number(2.0), Term::Symbol { table: vec![10.0, 20.0], other: -1.0 }],
            candidate: vec![Term::Number(1.0), Term::Number(-1.0)],
        }
    }

    #[track_caller]
    fn check(weights: &Weights, shared: &[f64], candidates: &[f64], count: usize, expected: &[f64]) {
        let bytes = weights.to_bytes();
        let model = Model::read(&bytes).unwrap();
        assert_eq!(evaluate(&model, Call::new(shared, candidates, count)).as_deref(), Ok(expected));
    }

    #[test]
    fn scores_are_the_sum_of_what_is_there() {
        check(&weights(), &[1.0, 0.0], &[3.0, 1.0, 0.0, 0.0], 2, &[14.5, 12.5]);
        check(&weights(), &[1.0, 1.0], &[0.0, 0.0], 1, &[22.5]);
        check(&weights(), &[1.0, -1.0], &[0.0, 0.0], 1, &[1.5]);
        check(&weights(), &[1.0, 7.0], &[0.0, 0.0], 1, &[1.5]);
        check(&weights(), &[NAN, NAN], &[NAN, 1.0], 1, &[-0.5]);
        check(&weights(), &[0.0, NAN], &[], 0, &[]);
        check(&Weights { link: Link::Logistic, ..weights() }, &[-0.25, NAN], &[0.0, 0.0], 1, &[0.5]);
    }

    #[test]
    fn every_column_counts_once() {
        let wide = Weights {
            shared: (0..19).map(|i| Term::Number(f64::from(1 << i))).collect(),
            candidate: vec![],
            ..weights()
        };
        for column in 0..19 {
            let mut shared = [0.0; 19];
            shared[column] = 1.0;
            check(&wide, &shared, &[], 1, &[0.5 + f64::from(1 << column)]);
        }
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let bytes = weights().to_bytes();
        let model = Model::read(&bytes).unwrap();
        assert!(evaluate(&model, Call::new(&[1.0], &[0.0, 0.0], 1)).is_err());
        assert!(evaluate(&model, Call::new(&[1.0, 0.0], &[0.0], 1)).is_err());
    }
}
