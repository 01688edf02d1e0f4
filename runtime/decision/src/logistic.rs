//! A logistic model of each action: how likely a reward is, by what is known of the request and the candidate. Owns what a model sees
//! of a decision, in which steps, and what it says of it; how its weights are found is `fit`'s.
//!
//! **Thompson sampling with a logistic model**, as Chapelle and Li have it ("An Empirical Evaluation of Thompson Sampling", 2011,
//! algorithm 3): for each weight a mean and a precision, those of Laplace's approximation with the diagonal of the Hessian alone
//! (Bishop, "Pattern Recognition and Machine Learning", 2006, 4.4 and 4.5). Three things are other than there. Weights are no common
//! ones of all actions: each action has its own, so that what is the same for all of them can tell them apart. Nothing is drawn from
//! the weights: the logit of each action is a normal distribution of mean `m·x` and variance `Σ x²/q`, and the probability of being the
//! best of those, taken as independent, comes first (`contest`), then one draw. And the mean is that of all that is remembered, fitted
//! anew each time, and not of the last batch alone: so it does not depend on the order in which rewards came (`fit`).
//!
//! The diagonal leaves out how weights go together: where features do, deviations are smaller than they ought to be. What this
//! changes is how long it explores, and never whether a propensity is true.

#[cfg(feature = "std")]
mod fit;

use alloc::vec::Vec;

#[cfg(feature = "std")]
pub use fit::{Group, MAX_STEPS, Posterior, Prior, Site, fit};

use serde::{Deserialize, Serialize};

use crate::manifest::Scope;

/// The most features of a model, a symbol's values counted one by one.
pub const MAX_FEATURES: usize = 64;
/// The most weights of all actions of a model together: what was learned of them is one message.
pub const MAX_WEIGHTS: usize = 4_096;
/// Steps of a unit: a model sees its features in sixteenths, from [`LOWEST`] to [`HIGHEST`].
pub const STEPS: f64 = 16.0;
/// The least that is seen of a feature: 127 sixteenths below its center, in units of its scale.
pub const LOWEST: f64 = -127.0 / STEPS;
/// The most.
pub const HIGHEST: f64 = 127.0 / STEPS;

/// What all who learn for a model must agree about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// A hash of its features, their centers and scales: under another, the same numbers mean something else.
    pub id: u32,
    /// Features that are the same for all candidates.
    pub shared: usize,
    /// Features of each candidate.
    pub own: usize,
    /// The precision that each weight begins with, but for that of the intercept.
    pub precision: f64,
}

/// A model, compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// What it is about.
    pub shape: Shape,
    /// Its features in order, those that all candidates share first.
    pub terms: Vec<Term>,
}

/// One feature of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// The row.
    pub scope: Scope,
    /// Its column.
    pub column: usize,
    /// What of it.
    pub sees: Sees,
}

/// What a model sees of a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Sees {
    /// The number, so many scales above the center; a missing one is at the center.
    Number {
        /// What counts as 0.
        center: f64,
        /// What counts as 1.
        scale: f64,
    },
    /// 1 where the column holds this symbol, else 0.
    Is(f64),
}

// === impl Shape ===

impl Shape {
    /// How many features.
    pub fn features(&self) -> usize {
        self.shared + self.own
    }

    /// How many weights an action has: one a feature, and the intercept.
    pub fn weights(&self) -> usize {
        self.features() + 1
    }

    /// What it saw of each of so many choices, out of what a record has of all of them; `None` when that is not of this shape.
    pub fn split<'a>(&self, x: &'a [i8], choices: usize) -> Option<impl Fn(usize) -> Vec<i8> + use<'a>> {
        let (shared, own) = (self.shared, self.own);
        (x.len() == shared + own * choices).then_some(move |choice: usize| {
            let start = shared + own * choice;
            [&x[..shared], &x[start..start + own]].concat()
        })
    }
}

// === impl Model ===

impl Model {
    /// What it sees of each candidate, row-major.
    pub(crate) fn rows(&self, shared: &[f64], rows: &[f64], width: usize, count: usize) -> Vec<i8> {
        let mut x = Vec::with_capacity(count * self.terms.len());
        let (common, own) = self.terms.split_at(self.shape.shared.min(self.terms.len()));
        x.extend(common.iter().map(|term| term.sees.of(shared[term.column])));
        let common = x.clone();
        for row in 0..count {
            if row > 0 {
                x.extend_from_slice(&common);
            }
            x.extend(own.iter().map(|term| term.sees.of(rows[row * width + term.column])));
        }
        x.truncate(count * self.terms.len());
        x
    }

    /// What a record has of these rows: what is shared once, then what is each choice's own.
    pub(crate) fn recorded(&self, x: &[i8], choices: impl Iterator<Item = u32>) -> Vec<i8> {
        let (width, shared) = (self.terms.len(), self.shape.shared);
        let mut recorded = x.get(..shared).unwrap_or_default().to_vec();
        for row in choices {
            let start = row as usize * width;
            recorded.extend_from_slice(x.get(start + shared..start + width).unwrap_or_default());
        }
        recorded
    }
}

// === impl Sees ===

impl Sees {
    /// In sixteenths of a unit.
    fn of(self, value: f64) -> i8 {
        match self {
            // Not a number becomes 0.
            Self::Number { center, scale } => {
                let steps = libm::round((value - center) / scale * STEPS);
                steps.clamp(LOWEST * STEPS, HIGHEST * STEPS) as i8
            }
            Self::Is(symbol) => i8::from(value == symbol) * STEPS as i8,
        }
    }
}

/// The mean rate of a logit that is normally distributed: Bishop's 4.153, for the logistic function in place of the probit.
pub(crate) fn rate([mean, variance]: [f64; 2]) -> f64 {
    sigmoid(mean / libm::sqrt(1.0 + core::f64::consts::FRAC_PI_8 * variance))
}

/// 1 / (1 + e^-z).
pub(crate) fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + libm::exp(-z))
    } else {
        let e = libm::exp(z);
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn model() -> Model {
        let term = |scope, column, sees| Term { scope, column, sees };
        let number = |center, scale| Sees::Number { center, scale };
        let terms = vec![
            term(Scope::Shared, 1, number(50.0, 25.0)),
            term(Scope::Shared, 0, Sees::Is(3.0)),
            term(Scope::Candidate, 0, number(0.0, 1.0)),
        ];
        Model { shape: Shape { id: 7, shared: 2, own: 1, precision: 1.0 }, terms }
    }

    #[test]
    fn numbers_are_seen_in_steps_and_symbols_one_by_one() {
        let check = |sees: Sees, value: f64, expected: i8| assert_eq!(sees.of(value), expected, "{sees:?} of {value}");
        let number = Sees::Number { center: 50.0, scale: 25.0 };
        for (value, expected) in
            [(50.0, 0), (75.0, 16), (25.0, -16), (51.0, 1), (1e9, 127), (-1e9, -127), (f64::INFINITY, 127)]
        {
            check(number, value, expected);
        }
        check(number, f64::NAN, 0);
        check(Sees::Is(3.0), 3.0, 16);
        check(Sees::Is(3.0), -1.0, 0);
        check(Sees::Is(3.0), f64::NAN, 0);
    }

    #[test]
    fn a_record_has_what_is_shared_once() {
        let model = model();
        let x = model.rows(&[3.0, 75.0], &[1.0, 9.0, -1.0, 9.0, 0.5, 9.0], 2, 3);
        assert_eq!(x, [16, 16, 16, 16, 16, -16, 16, 16, 8]);
        let recorded = model.recorded(&x, [2, 0].into_iter());
        assert_eq!(recorded, [16, 16, 8, 16]);
        let of = model.shape.split(&recorded, 2).unwrap();
        assert_eq!((of(0), of(1)), (vec![16, 16, 8], vec![16, 16, 16]));
        assert!(model.shape.split(&recorded, 1).is_none() && model.shape.split(&[], 0).is_none());
        assert!(model.rows(&[3.0, 75.0], &[], 2, 0).is_empty());
    }

    #[test]
    fn what_is_not_known_is_nearer_to_a_half() {
        assert!((rate([-2.0, 0.0]) - sigmoid(-2.0)).abs() < 1e-15);
        assert!(rate([-2.0, 4.0]) > rate([-2.0, 0.0]) && rate([-2.0, 4.0]) < 0.5);
        assert_eq!((sigmoid(0.0), sigmoid(1e3), sigmoid(-1e3)), (0.5, 1.0, 0.0));
    }
}
