//! What a policy would have earned on decisions that another one made: estimates from logged propensities, how sure they are, and
//! when nothing can be said. Pure: no I/O, no clock; the bootstrap's draws follow from a constant.
//!
//! A *draw* is one logged decision. With `w` the probability of what was logged under the policy asked about, over the logged
//! propensity, `r` the reward, `q` a model of rewards and `n` draws:
//!
//! - IPW `Σ w r / n` (Horvitz, Thompson: A generalization of sampling without replacement from a finite universe, 1952),
//! - SNIPS `Σ w r / Σ w` (Swaminathan, Joachims: The self-normalized estimator for counterfactual learning, 2015),
//! - doubly robust `Σ (q(policy's choice) + w (r − q(logged choice))) / n` (Dudík, Langford, Li: Doubly robust policy evaluation and
//!   learning, 2011),
//! - effective sample size `(Σ w)² / Σ w²` (Kish: Survey sampling, 1965; Owen: Monte Carlo theory, methods and examples, 2013, 9.3).
//!
//! Each is a ratio of two sums, so each has the influence function `(numerator − value · denominator) / Σ denominator`, summed over
//! the draws of one person first, because they are not independent (Liang, Zeger: Longitudinal data analysis using generalized
//! linear models, 1986). Intervals of 95 % are normal ones by it; where little is there, they are widened to the percentiles of a
//! bootstrap that draws persons (Efron: Bootstrap methods, 1979; Field, Welsh: Bootstrapping clustered data, 2007).

mod interval;
mod model;

use std::collections::BTreeSet;

pub use interval::Interval;
use interval::{Ratio, interval};
pub use model::Means;
use serde::Serialize;

/// One logged decision, as a policy is asked about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// The probability of what was logged under the policy, over the logged propensity.
    pub weight: f64,
    /// What it earned.
    pub reward: f64,
    /// What a model fitted without this draw expects of the policy's choice.
    pub expected: f64,
    /// What it expects of the logged choice.
    pub expected_logged: f64,
    /// The policy's probability of choices that the log can not have: those whose logging propensity is 0.
    pub unsupported: f64,
    /// Whose decision it is: draws of one person are not independent.
    pub person: u64,
}

/// When nothing is concluded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The least effective sample size.
    pub min_ess: f64,
    /// The largest share of the policy's choices whose logging propensity is 0.
    pub max_unsupported: f64,
    /// The fewest draws with a reward and a weight.
    pub min_rewarded: u64,
    /// The fewest persons: of a few, neither a spread nor a bootstrap says how the next ones will be.
    pub min_persons: u64,
}

/// What a policy is worth on a log, a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worth {
    /// Draws.
    pub decisions: u64,
    /// Of how many persons.
    pub persons: u64,
    /// Draws with a reward and a weight.
    pub rewarded: u64,
    /// Inverse propensity weighting.
    pub ipw: Interval,
    /// Self-normalised inverse propensity weighting.
    pub snips: Interval,
    /// Doubly robust.
    pub doubly_robust: Interval,
    /// The effective sample size.
    pub ess: f64,
    /// The mean weight, which is 1 but for chance when the log supports the policy.
    pub mean_weight: f64,
    /// The share of the policy's choices whose logging propensity is 0.
    pub unsupported: f64,
}

/// What another policy would change, a decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// By SNIPS.
    pub snips: Interval,
    /// Doubly robust.
    pub doubly_robust: Interval,
}

/// Why nothing is concluded.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Lack {
    /// Nothing was logged.
    #[error("no decisions")]
    NoDecisions,
    /// The log has not what the policy would choose.
    #[error(
        "{:.1} % of its choices have a logging propensity of 0 (at most {:.1} %): the log cannot say what they would have earned",
        .share * 100.0, .limit * 100.0
    )]
    Support {
        /// Of the policy's choices.
        share: f64,
        /// [`Limits::max_unsupported`].
        limit: f64,
    },
    /// Weights that cannot be of a log that supports the policy.
    #[error(
        "the mean weight is {mean:.3} and should be 1: the logged propensities are not those of the log, or it lacks what the policy would choose"
    )]
    Weights {
        /// The mean.
        mean: f64,
    },
    /// A few draws decide everything.
    #[error("an effective sample size of {ess:.1} (at least {limit}): a few decisions weigh more than all others")]
    Ess {
        /// The effective sample size.
        ess: f64,
        /// [`Limits::min_ess`].
        limit: f64,
    },
    /// Hardly anything was earned.
    #[error("{found} decisions with a reward (at least {limit})")]
    Rewarded {
        /// Draws with a reward and a weight.
        found: u64,
        /// [`Limits::min_rewarded`].
        limit: u64,
    },
    /// Hardly anybody was asked.
    #[error("decisions of {found} persons (at least {limit})")]
    Persons {
        /// How many.
        found: u64,
        /// [`Limits::min_persons`].
        limit: u64,
    },
}

/// An effective sample size below which intervals are widened by a bootstrap.
const SMALL_ESS: f64 = 1_000.0;
/// How far the mean weight may be from 1, in its standard errors, and at least.
const WEIGHT_ERRORS: f64 = 4.0;
const WEIGHT_LEAST: f64 = 0.05;

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { min_ess: 100.0, max_unsupported: 0.01, min_rewarded: 10, min_persons: 30 }
    }
}

// === impl Draw ===

impl Draw {
    fn snips(&self) -> Ratio {
        Ratio { numerator: self.weight * self.reward, denominator: self.weight }
    }

    fn ipw(&self) -> Ratio {
        Ratio { numerator: self.weight * self.reward, denominator: 1.0 }
    }

    fn doubly_robust(&self) -> Ratio {
        let numerator = self.expected + self.weight * (self.reward - self.expected_logged);
        Ratio { numerator, denominator: 1.0 }
    }
}

// === impl Worth ===

impl Worth {
    /// What the policy is worth. Values are NaN where they are of nothing.
    pub fn of(draws: &[Draw]) -> Self {
        let n = draws.len() as f64;
        let ess = ess(draws);
        let small = ess < SMALL_ESS;
        let of = |ratio: fn(&Draw) -> Ratio| {
            interval(draws.iter().map(|draw| (draw.person, [ratio(draw), Ratio::NOTHING])), small)
        };
        Self {
            decisions: draws.len() as u64,
            persons: draws.iter().map(|draw| draw.person).collect::<BTreeSet<_>>().len() as u64,
            rewarded: draws.iter().filter(|draw| draw.weight > 0.0 && draw.reward != 0.0).count() as u64,
            ipw: of(Draw::ipw),
            snips: of(Draw::snips),
            doubly_robust: of(Draw::doubly_robust),
            ess,
            mean_weight: draws.iter().map(|draw| draw.weight).sum::<f64>() / n,
            unsupported: draws.iter().map(|draw| draw.unsupported).sum::<f64>() / n,
        }
    }

    /// Why nothing can be concluded from it; nothing when it can.
    pub fn lacks(&self, draws: &[Draw], limits: &Limits) -> Vec<Lack> {
        if draws.is_empty() {
            return vec![Lack::NoDecisions];
        }
        let mut lacks = Vec::new();
        if self.unsupported > limits.max_unsupported {
            lacks.push(Lack::Support { share: self.unsupported, limit: limits.max_unsupported });
        }
        let n = draws.len() as f64;
        let spread: f64 =
            draws.iter().map(|draw| (draw.weight - self.mean_weight) * (draw.weight - self.mean_weight)).sum();
        let error = (spread / n / n).sqrt();
        // What is known to be unsupported explains a mean below 1.
        let off = (self.mean_weight + self.unsupported - 1.0).abs();
        if off > WEIGHT_LEAST.max(WEIGHT_ERRORS * error) {
            lacks.push(Lack::Weights { mean: self.mean_weight });
        }
        // NaN, of no weights at all, is no size either.
        if self.ess.is_nan() || self.ess < limits.min_ess {
            lacks.push(Lack::Ess { ess: if self.ess.is_nan() { 0.0 } else { self.ess }, limit: limits.min_ess });
        }
        if self.rewarded < limits.min_rewarded {
            lacks.push(Lack::Rewarded { found: self.rewarded, limit: limits.min_rewarded });
        }
        if self.persons < limits.min_persons {
            lacks.push(Lack::Persons { found: self.persons, limit: limits.min_persons });
        }
        lacks
    }
}

// === impl Change ===

impl Change {
    /// From what `before` says of the draws to what `after` does, draw by draw the same ones.
    pub fn of(before: &[Draw], after: &[Draw]) -> Self {
        let small = ess(before).min(ess(after)) < SMALL_ESS;
        let of = |ratio: fn(&Draw) -> Ratio| {
            let pairs = before.iter().zip(after);
            interval(pairs.map(|(before, after)| (after.person, [ratio(after), ratio(before)])), small)
        };
        Self { snips: of(Draw::snips), doubly_robust: of(Draw::doubly_robust) }
    }
}

fn ess(draws: &[Draw]) -> f64 {
    let sum: f64 = draws.iter().map(|draw| draw.weight).sum();
    let squares: f64 = draws.iter().map(|draw| draw.weight * draw.weight).sum();
    sum * sum / squares
}

#[cfg(test)]
mod tests;
