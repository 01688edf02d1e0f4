//! The weights of a logistic model: the mode of their posterior and the diagonal of the Hessian there. Owns the search for it, and what
//! stands in for observations that are no longer remembered one by one.
//!
//! The mode is found by Newton's method (iteratively reweighted least squares: Bishop, 4.3.3 and 4.5.1) with the whole Hessian. What is
//! looked for is strictly convex, so that there is one mode: it follows from the observations and not from their order, or from how
//! they are grouped.
//!
//! **A site** is what is left of observations that were let go of: their gradient and the diagonal of their Hessian at the mode of
//! then, as a quadratic function of the weights (assumed-density filtering; Chapelle and Li's algorithm 3 is this with a site for all
//! that was before). A reward that comes when its trial is in a site already is an observation of no trial and one reward: the
//! likelihood is linear in rewards, so that it counts as it would have.

use super::{STEPS, sigmoid};

/// Observations of one action that a model sees alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group<'a> {
    /// The features, in steps of a sixteenth.
    pub x: &'a [i8],
    /// How often it was chosen; as a weight, so that it need not be whole.
    pub trials: f64,
    /// How often that was rewarded.
    pub rewards: f64,
}

/// What is known without an observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Rewards and misses that were seen, so to say, with every feature at its center; each above 0.
    pub counts: [f64; 2],
    /// The precision of each weight but the intercept's, whose mean is 0; above 0.
    pub precision: f64,
}

/// What observations that were let go of say of the weights, the intercept first: `linear·θ - ½ Σ precision θ²`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Site {
    /// By weight; empty for nothing.
    pub linear: Vec<f64>,
    /// By weight.
    pub precision: Vec<f64>,
}

/// What is known of an action's weights, the intercept first.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// By weight.
    pub mean: Vec<f64>,
    /// By weight.
    pub precision: Vec<f64>,
}

/// Steps of Newton's method, of which some five are needed.
pub const MAX_STEPS: usize = 60;
/// A step this small, beside what it changes, is none.
const SMALL: f64 = 1e-13;
/// Halvings of a step that would lead uphill.
const MAX_HALVINGS: usize = 40;

/// The function that is made least, where it is looked at.
struct Slope {
    gradient: Vec<f64>,
    /// Row-major, the lower triangle.
    hessian: Vec<f64>,
}

/// The posterior of an action's weights by what was observed; `features` is how many a group has.
pub fn fit(prior: Prior, site: &Site, groups: &[Group<'_>], features: usize) -> Posterior {
    let n = features + 1;
    let problem = Problem { prior, site, groups, n };
    let mut mean = vec![0.0; n];
    let mut value = problem.value(&mean);
    for _ in 0..MAX_STEPS {
        let Slope { gradient, hessian } = problem.slope(&mean);
        let Some(step) = solve(hessian, &gradient) else { break };
        let largest = step.iter().zip(&mean).map(|(step, at)| step.abs() / (1.0 + at.abs())).fold(0.0, f64::max);
        // Near the mode all steps are downhill, and rounding cannot tell.
        let mut share = 1.0;
        let next = |share: f64| mean.iter().zip(&step).map(|(at, step)| at - share * step).collect::<Vec<f64>>();
        let mut to = next(share);
        let mut reached = problem.value(&to);
        if largest > 1e-6 {
            for _ in 0..MAX_HALVINGS {
                if reached <= value {
                    break;
                }
                share *= 0.5;
                to = next(share);
                reached = problem.value(&to);
            }
        }
        (mean, value) = (to, reached);
        if largest <= SMALL || !largest.is_finite() {
            break;
        }
    }
    let precision = problem.diagonal(&mean);
    Posterior { mean, precision }
}

/// What is looked for: the least of the negative logarithm of the posterior.
struct Problem<'a> {
    prior: Prior,
    site: &'a Site,
    groups: &'a [Group<'a>],
    n: usize,
}

// === impl Problem ===

impl Problem<'_> {
    fn value(&self, at: &[f64]) -> f64 {
        let [rewards, misses] = self.prior.counts;
        let mut value = (rewards + misses) * softplus(at[0]) - rewards * at[0];
        value += at[1..].iter().map(|weight| 0.5 * self.prior.precision * weight * weight).sum::<f64>();
        for ((linear, precision), weight) in self.site.linear.iter().zip(&self.site.precision).zip(at) {
            value += 0.5 * precision * weight * weight - linear * weight;
        }
        for group in self.groups {
            let logit = logit(at, group.x);
            value += group.trials * softplus(logit) - group.rewards * logit;
        }
        value
    }

    fn slope(&self, at: &[f64]) -> Slope {
        let n = self.n;
        let (mut gradient, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
        let [rewards, misses] = self.prior.counts;
        let rate = sigmoid(at[0]);
        gradient[0] += (rewards + misses) * rate - rewards;
        hessian[0] += (rewards + misses) * rate * (1.0 - rate);
        for weight in 1..n {
            gradient[weight] += self.prior.precision * at[weight];
            hessian[weight * n + weight] += self.prior.precision;
        }
        for (weight, (linear, precision)) in self.site.linear.iter().zip(&self.site.precision).enumerate().take(n) {
            gradient[weight] += precision * at[weight] - linear;
            hessian[weight * n + weight] += precision;
        }
        // A feature that is 0 adds nothing: of a symbol's values all but one are.
        let mut x: Vec<(usize, f64)> = Vec::with_capacity(n);
        for group in self.groups {
            x.clear();
            x.push((0, 1.0));
            let seen = group.x.iter().enumerate().filter(|(_, steps)| **steps != 0);
            x.extend(seen.map(|(at, steps)| (at + 1, f64::from(*steps) / STEPS)));
            let rate = sigmoid(logit(at, group.x));
            let miss = group.trials * rate - group.rewards;
            let curve = group.trials * rate * (1.0 - rate);
            for (place, (row, value)) in x.iter().enumerate() {
                gradient[*row] += miss * value;
                let scaled = curve * value;
                let line = &mut hessian[row * n..row * n + n];
                x[..=place].iter().for_each(|(column, value)| line[*column] += scaled * value);
            }
        }
        Slope { gradient, hessian }
    }

    /// The diagonal of the Hessian.
    fn diagonal(&self, at: &[f64]) -> Vec<f64> {
        let [rewards, misses] = self.prior.counts;
        let rate = sigmoid(at[0]);
        let mut of = vec![self.prior.precision; self.n];
        of[0] = (rewards + misses) * rate * (1.0 - rate);
        of.iter_mut().zip(&self.site.precision).for_each(|(of, precision)| *of += precision);
        self.groups.iter().for_each(|group| curve(at, group, &mut of));
        of
    }
}

// === impl Posterior ===

impl Posterior {
    /// Of a model without any observation.
    pub fn unlearned(prior: Prior, features: usize) -> Self {
        fit(prior, &Site::default(), &[], features)
    }

    /// Mean and variance of the logit of what a model sees so.
    pub fn logit(&self, x: &[i8]) -> [f64; 2] {
        let mut mean = self.mean.first().copied().unwrap_or(0.0);
        let mut variance = self.precision.first().map_or(0.0, |precision| 1.0 / precision);
        for ((steps, weight), precision) in x.iter().zip(self.mean.iter().skip(1)).zip(self.precision.iter().skip(1)) {
            let x = f64::from(*steps) / STEPS;
            mean += x * weight;
            variance += x * x / precision;
        }
        [mean, variance]
    }
}

// === impl Site ===

impl Site {
    /// Takes observations in, by their slope at `mean`, and weighs what was in it by `kept` before.
    pub fn take(&mut self, kept: f64, groups: &[Group<'_>], mean: &[f64]) {
        self.linear.resize(mean.len(), 0.0);
        self.precision.resize(mean.len(), 0.0);
        self.weigh(kept);
        let mut curves = vec![0.0; mean.len()];
        for group in groups {
            curve(mean, group, &mut curves);
            let hit = group.rewards - group.trials * sigmoid(logit(mean, group.x));
            self.linear[0] += hit;
            for (linear, steps) in self.linear[1..].iter_mut().zip(group.x) {
                *linear += hit * f64::from(*steps) / STEPS;
            }
        }
        for ((linear, precision), (curve, mean)) in
            self.linear.iter_mut().zip(&mut self.precision).zip(curves.iter().zip(mean))
        {
            *precision += curve;
            *linear += curve * mean;
        }
    }

    /// Makes it weigh less.
    pub fn weigh(&mut self, kept: f64) {
        self.linear.iter_mut().chain(&mut self.precision).for_each(|part| *part *= kept);
    }
}

fn logit(at: &[f64], x: &[i8]) -> f64 {
    let sum: f64 = x.iter().zip(&at[1..]).map(|(steps, weight)| f64::from(*steps) * weight).sum();
    at[0] + sum / STEPS
}

/// Adds a group's part of the Hessian's diagonal.
fn curve(at: &[f64], group: &Group<'_>, to: &mut [f64]) {
    let rate = sigmoid(logit(at, group.x));
    let curve = group.trials * rate * (1.0 - rate);
    to[0] += curve;
    for (to, steps) in to[1..].iter_mut().zip(group.x) {
        let x = f64::from(*steps) / STEPS;
        *to += curve * x * x;
    }
}

/// log(1 + e^z).
fn softplus(z: f64) -> f64 {
    z.max(0.0) + libm::log1p(libm::exp(-z.abs()))
}

/// The solution of `matrix · x = right` by Cholesky's decomposition of the lower triangle; `None` when it is not positive.
fn solve(mut matrix: Vec<f64>, right: &[f64]) -> Option<Vec<f64>> {
    let n = right.len();
    for row in 0..n {
        for column in 0..=row {
            let (above, below) = matrix.split_at(row * n);
            let line = if column == row { &below[..n] } else { &above[column * n..column * n + n] };
            let dot: f64 = below[..column].iter().zip(&line[..column]).map(|(a, b)| a * b).sum();
            let rest = below[column] - dot;
            matrix[row * n + column] = if column == row {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / matrix[column * n + column]
            };
        }
    }
    let mut x = right.to_vec();
    for row in 0..n {
        let dot: f64 = (0..row).map(|column| matrix[row * n + column] * x[column]).sum();
        x[row] = (x[row] - dot) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        let dot: f64 = (row + 1..n).map(|below| matrix[below * n + row] * x[below]).sum();
        x[row] = (x[row] - dot) / matrix[row * n + row];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const PRIOR: Prior = Prior { counts: [1.0, 1.0], precision: 1.0 };

    fn group(x: &[i8], trials: f64, rewards: f64) -> Group<'_> {
        Group { x, trials, rewards }
    }

    fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + a.abs()))
    }

    #[test]
    fn without_features_it_is_the_rate_with_the_prior() {
        let found = fit(PRIOR, &Site::default(), &[group(&[], 98.0, 19.0)], 0);
        // The mode of a Beta distribution's logit: 20 of 100.
        assert!(near(&found.mean, &[libm::log(0.25)], 1e-12), "{found:?}");
        assert!(near(&found.precision, &[16.0], 1e-12), "{found:?}");
    }

    #[test]
    fn at_the_mode_nothing_pulls() {
        let (a, b, c) = ([16, 0, -8], [0, 16, 40], [-16, 16, 0]);
        let groups = [group(&a, 400.0, 30.0), group(&b, 90.0, 80.0), group(&c, 20.0, 0.0), group(&c, 0.0, 3.0)];
        let site = Site { linear: vec![1.0, -2.0, 0.0, 3.0], precision: vec![4.0, 2.0, 0.0, 9.0] };
        let found = fit(PRIOR, &site, &groups, 3);
        let problem = Problem { prior: PRIOR, site: &site, groups: &groups, n: 4 };
        let Slope { gradient, hessian } = problem.slope(&found.mean);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-10), "{gradient:?}");
        // By differences: the gradient is that of the value, and the diagonal that of the gradient.
        for weight in 0..4 {
            let moved = |by: f64| {
                let mut at = found.mean.clone();
                at[weight] += by;
                at
            };
            let by_value = (problem.value(&moved(1e-4)) - problem.value(&moved(-1e-4))) / 2e-4;
            assert!(by_value.abs() < 1e-6, "{weight}: {by_value}");
            let by_slope =
                (problem.slope(&moved(1e-5)).gradient[weight] - problem.slope(&moved(-1e-5)).gradient[weight]) / 2e-5;
            assert!((by_slope - found.precision[weight]).abs() < 1e-4 * by_slope, "{weight}: {by_slope}");
            assert!((hessian[weight * 4 + weight] - found.precision[weight]).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_far_off_is_found_as_well() {
        // All rewarded, none rewarded, a million of each: Newton's steps alone would run away.
        let (a, b) = ([127], [-127]);
        for groups in [[group(&a, 1e6, 1e6), group(&b, 1e6, 0.0)], [group(&a, 1e6, 0.0), group(&b, 3.0, 3.0)]] {
            let found = fit(Prior { counts: [1.0, 1e6], precision: 1e-3 }, &Site::default(), &groups, 1);
            let site = Site::default();
            let problem =
                Problem { prior: Prior { counts: [1.0, 1e6], precision: 1e-3 }, site: &site, groups: &groups, n: 2 };
            let slope = problem.slope(&found.mean).gradient;
            assert!(slope.iter().all(|slope| slope.abs() < 1e-5), "{groups:?}: {found:?} {slope:?}");
        }
    }

    #[test]
    fn a_site_is_as_good_as_what_is_in_it_where_it_was_taken() {
        let (a, b) = ([16, -16], [8, 24]);
        let groups = [group(&a, 300.0, 40.0), group(&b, 500.0, 20.0)];
        let all = fit(PRIOR, &Site::default(), &groups, 2);
        let mut site = Site::default();
        site.take(1.0, &groups, &all.mean);
        let again = fit(PRIOR, &site, &[], 2);
        assert!(near(&again.mean, &all.mean, 1e-9) && near(&again.precision, &all.precision, 1e-9), "{again:?}");
        // A reward that comes later counts, and one that is taken back does not.
        let late = fit(PRIOR, &site, &[group(&a, 0.0, 1.0)], 2);
        assert!(late.logit(&a)[0] > again.logit(&a)[0], "{late:?}");
        site.take(1.0, &[group(&a, 0.0, 1.0)], &all.mean);
        site.take(1.0, &[group(&a, 0.0, -1.0)], &all.mean);
        assert!(near(&fit(PRIOR, &site, &[], 2).mean, &all.mean, 1e-9));
        site.weigh(0.0);
        assert!(near(&fit(PRIOR, &site, &[], 2).mean, &Posterior::unlearned(PRIOR, 2).mean, 1e-12));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The order of the groups, and how they are cut, is nothing to the weights.
        #[test]
        fn it_is_about_the_set(
            groups in proptest::collection::vec((proptest::collection::vec(-40..40i8, 3), 1..30u32, any::<prop::sample::Index>()), 1..40),
            shift in any::<prop::sample::Index>(),
        ) {
            let rewarded: Vec<_> = groups.iter().map(|(x, n, which)| (x, *n, which.index(*n as usize + 1) as u32)).collect();
            let whole: Vec<_> = rewarded.iter().map(|(x, n, r)| group(x, f64::from(*n), f64::from(*r))).collect();
            let mut cut = Vec::new();
            for (x, n, r) in &rewarded {
                cut.extend((0..*n).map(|at| group(x, 1.0, f64::from(at < *r))));
            }
            let by = shift.index(cut.len());
            cut.rotate_left(by);
            let (one, other) = (fit(PRIOR, &Site::default(), &whole, 3), fit(PRIOR, &Site::default(), &cut, 3));
            prop_assert!(near(&one.mean, &other.mean, 1e-9) && near(&one.precision, &other.precision, 1e-9));
        }
    }
}
