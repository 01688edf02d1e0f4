//! Who is best, when what each candidate is worth is known only as a distribution: the probability of each to be the best of
//! those that are left, by quadrature. Owns the grid and the sums; what is drawn with the probabilities is `policy`'s.
//!
//! For independent values θ with densities f and distribution functions F, P(i is best) = ∫ f_i(x) Π_{j≠i} F_j(x) dx. The
//! integral is a sum over points, each with what of a distribution lies about it and what lies below it. For Beta distributions the
//! points are cells of a grid that follows every distribution that can win, the others taken at a cell's middle; `normal` has those
//! of normal ones. The probabilities are what is drawn with and what is recorded, so how close they are to the integral changes
//! what is explored and never whether a propensity is true.

#[cfg(feature = "std")]
mod normal;

use alloc::vec;
use alloc::vec::Vec;

#[cfg(feature = "std")]
pub use normal::Normal;

use crate::order;

/// Where a distribution's cells begin and end, in standard deviations from its mean. Those far out are for skewed ones, whose tails
/// are long.
const SPREAD: [f64; 17] =
    [-13.0, -8.0, -5.0, -3.5, -2.5, -1.75, -1.1, -0.55, 0.0, 0.55, 1.1, 1.75, 2.5, 3.5, 5.0, 8.0, 13.0];
/// So far from its mean a distribution is taken to end.
const END: f64 = 13.0;
/// Who is worse at so many deviations above its mean than others at as many below does not win.
const REACH: f64 = 5.0;
/// The most points of a grid: with more distributions each of them has fewer of its own.
const MAX_POINTS: usize = 512;
/// What is this near to 0 or 1 counts as being there: a density may have no value at the ends.
const EDGE: f64 = 1e-14;

/// What one candidate is worth, as far as that is known: successes and failures, each with those of the prior, above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    /// Successes.
    pub a: f64,
    /// Failures.
    pub b: f64,
    /// The value is θ times this.
    pub scale: f64,
}

/// Distributions at points that they share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contest {
    places: usize,
    points: usize,
    /// By candidate: the how-manieth it is of those that can win.
    winners: Vec<Option<u32>>,
    /// Of each that can win, by point: what of its distribution lies there.
    mass: Vec<f64>,
    /// Of each that can win, by point: the share of its distribution below.
    below: Vec<f64>,
}

// === impl Beta ===

impl Beta {
    /// The mean of the value.
    pub fn mean(&self) -> f64 {
        self.scale * self.a / (self.a + self.b)
    }

    fn deviation(&self) -> f64 {
        let sum = self.a + self.b;
        self.scale * libm::sqrt(self.a * self.b / (sum * sum * (sum + 1.0)))
    }

    /// The value so many deviations from the mean, as far as there is one.
    fn reach(&self, deviations: f64) -> f64 {
        (self.mean() + deviations * self.deviation()).clamp(0.0, self.scale)
    }

    /// The logarithm of the density at `x`, up to a constant.
    fn log_density(&self, x: f64) -> f64 {
        let x = (x / self.scale).clamp(EDGE, 1.0 - EDGE);
        (self.a - 1.0) * libm::log(x) + (self.b - 1.0) * libm::log1p(-x)
    }

    /// Its distribution function at the points of a grid, by the trapezoid rule, 0 at the first point and 1 at the last.
    fn below(&self, grid: &[f64]) -> Vec<f64> {
        let logs: Vec<f64> = grid.iter().map(|x| self.log_density(*x)).collect();
        let inside = |x: f64| (0.0..=self.scale).contains(&x);
        let top = grid.iter().zip(&logs).filter(|(x, _)| inside(**x)).map(|(_, log)| *log).fold(f64::MIN, f64::max);
        let density = |at: usize| if inside(grid[at]) { libm::exp(logs[at] - top) } else { 0.0 };
        // A cell that reaches beyond the distribution's end is as wide as another one says: no trapezoid of ours.
        let (first, last) = (self.reach(-END), self.reach(END));
        let mut below = Vec::with_capacity(grid.len());
        let (mut sum, mut left) = (0.0, density(0));
        below.push(0.0);
        for at in 1..grid.len() {
            let right = density(at);
            if grid[at - 1] >= first && grid[at] <= last {
                sum += (left + right) * 0.5 * (grid[at] - grid[at - 1]);
            }
            left = right;
            below.push(sum);
        }
        if sum > 0.0 {
            below.iter_mut().for_each(|share| *share /= sum);
        } else {
            // Narrower than any cell: it is where its mean is.
            let mean = self.mean();
            below.iter_mut().zip(grid).for_each(|(share, x)| *share = f64::from(*x > mean));
            below.last_mut().into_iter().for_each(|share| *share = 1.0);
        }
        below
    }
}

// === impl Contest ===

impl Contest {
    /// Between Beta distributions, for so many places.
    pub fn new(values: &[Beta], places: usize) -> Self {
        let mut floors: Vec<f64> = values.iter().map(|value| value.reach(-REACH)).collect();
        order::sort(&mut floors, |a, b| b.total_cmp(a));
        let floor = floors.get(places.saturating_sub(1)).copied().unwrap_or(0.0);
        let can_win: Vec<bool> = values.iter().map(|value| value.scale > 0.0 && value.reach(REACH) >= floor).collect();
        let mut grid = Vec::new();
        for (value, _) in values.iter().zip(&can_win).filter(|(_, can_win)| **can_win) {
            grid.extend(SPREAD.iter().map(|step| value.reach(*step)));
            grid.push(value.scale * (1.0 - EDGE));
        }
        order::sort(&mut grid, f64::total_cmp);
        grid.dedup();
        let every = grid.len().div_ceil(MAX_POINTS).max(1);
        let last = grid.last().copied();
        let mut grid: Vec<f64> = grid.into_iter().step_by(every).collect();
        if grid.last() != last.as_ref() {
            grid.extend(last);
        }
        let mut contest = Self::of(places, grid.len().saturating_sub(1), &can_win);
        for (value, _) in values.iter().zip(&can_win).filter(|(_, can_win)| **can_win) {
            let below = value.below(&grid);
            contest.mass.extend(below.windows(2).map(|cell| cell[1] - cell[0]));
            contest.below.extend(below.windows(2).map(|cell| 0.5 * (cell[0] + cell[1])));
        }
        contest
    }

    /// With so many points, at which nothing is yet.
    fn of(places: usize, points: usize, can_win: &[bool]) -> Self {
        let mut n = 0;
        let winners = can_win.iter().map(|can_win| {
            let winner = can_win.then_some(n);
            n += u32::from(*can_win);
            winner
        });
        let winners = winners.collect();
        let room = || Vec::with_capacity(n as usize * points);
        Self { places, points, mass: room(), below: room(), winners }
    }

    /// What [`Contest::odds`] of so many costs, in steps.
    pub(crate) fn cost(&self, alive: usize) -> usize {
        self.points * alive
    }

    /// For how many places it is.
    pub fn places(&self) -> usize {
        self.places
    }

    /// The probability of each of `alive` to be the best of them, in their order; they add up to 1 unless none of them can be
    /// told apart, when all are 0.
    pub fn odds(&self, alive: &[u32]) -> Vec<f64> {
        let mut odds = vec![0.0; alive.len()];
        let who = alive.iter().enumerate().filter_map(|(at, row)| Some((at, self.winners[*row as usize]? as usize)));
        let who: Vec<(usize, usize)> = who.collect();
        if let [(at, _)] = who[..] {
            odds[at] = 1.0;
            return odds;
        }
        // At each point, the product of what all others have below is one from the left times one from the right.
        let points = self.points;
        let of = |winner: usize| winner * points..(winner + 1) * points;
        let mut right = vec![1.0; (who.len() + 1) * points];
        for (at, (_, winner)) in who.iter().enumerate().rev() {
            let (to, from) = right.split_at_mut((at + 1) * points);
            let below = &self.below[of(*winner)];
            for ((to, from), below) in to[at * points..].iter_mut().zip(from).zip(below) {
                *to = *from * below;
            }
        }
        let mut left = vec![1.0; points];
        for (at, (to, winner)) in who.iter().enumerate() {
            let right = &right[(at + 1) * points..(at + 2) * points];
            odds[*to] = product(&self.mass[of(*winner)], &left, right);
            let below = &self.below[of(*winner)];
            left.iter_mut().zip(below).for_each(|(left, below)| *left *= below);
        }
        let sum: f64 = odds.iter().sum();
        if sum > 0.0 {
            odds.iter_mut().for_each(|odd| *odd /= sum);
        }
        odds
    }
}

/// Σ a·b·c, in four sums that a machine makes side by side.
fn product(a: &[f64], b: &[f64], c: &[f64]) -> f64 {
    let ((a, rest_a), (b, rest_b), (c, rest_c)) = (a.as_chunks::<4>(), b.as_chunks::<4>(), c.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane] * c[lane];
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).zip(rest_c).map(|((a, b), c)| a * b * c).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beta(a: f64, b: f64) -> Beta {
        Beta { a, b, scale: 1.0 }
    }

    fn odds(values: &[Beta]) -> Vec<f64> {
        Contest::new(values, 1).odds(&(0..values.len() as u32).collect::<Vec<_>>())
    }

    /// For whole numbers, P(θ1 > θ2) in closed form: the sum over i < a1 of
    /// B(a2 + i, b1 + b2) / ((b1 + i) B(1 + i, b1) B(a2, b2)).
    fn exactly(one: Beta, two: Beta) -> f64 {
        let ln_beta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
        (0..one.a as u32)
            .map(f64::from)
            .map(|i| {
                let log = ln_beta(two.a + i, one.b + two.b)
                    - libm::log(one.b + i)
                    - ln_beta(1.0 + i, one.b)
                    - ln_beta(two.a, two.b);
                libm::exp(log)
            })
            .sum()
    }

    #[test]
    fn two_are_as_the_closed_form_says() {
        for (one, two) in [
            (beta(1.0, 1.0), beta(1.0, 1.0)),
            (beta(2.0, 9.0), beta(1.0, 1.0)),
            (beta(11.0, 200.0), beta(15.0, 190.0)),
            (beta(500.0, 9_500.0), beta(520.0, 9_480.0)),
            (beta(50.0, 100_000.0), beta(1.0, 20.0)),
            (beta(3.0, 1.0), beta(30.0, 10.0)),
            // Low rates, as shops have them: tails that are long beside what is narrow.
            (beta(1.0, 1_000.0), beta(1.0, 2_000.0)),
            (beta(2.0, 1_000.0), beta(2.0, 2_000.0)),
            (beta(100.0, 10_000.0), beta(3.0, 400.0)),
            (beta(1.0, 1e9), beta(2.0, 1e9)),
            (beta(1.0, 1e9), beta(1.0, 1.0)),
            (beta(1_000.0, 1e6), beta(1_001.0, 1e6)),
        ] {
            let (found, expected) = (odds(&[one, two])[0], exactly(one, two));
            assert!((found - expected).abs() < 0.012, "{one:?} against {two:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn equals_are_equal_and_who_cannot_win_does_not() {
        let check = |values: &[Beta], expected: &[f64]| {
            let found = odds(values);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{values:?}: {found:?}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{found:?}");
        };
        check(&[beta(1.0, 1.0); 4], &[0.25; 4]);
        check(&[beta(900.0, 100.0), beta(100.0, 900.0)], &[1.0, 0.0]);
        check(&[beta(1.0, 1.0), Beta { scale: 0.0, ..beta(1.0, 1.0) }], &[1.0, 0.0]);
        check(&[beta(7.0, 3.0)], &[1.0]);
        // Of those that are left.
        let values = [beta(900.0, 100.0), beta(50.0, 50.0), beta(50.0, 50.0)];
        let left = |places: usize| Contest::new(&values, places).odds(&[1, 2]);
        assert_eq!(left(1), [0.0, 0.0], "they were never to win the one place");
        assert!(left(2).iter().all(|odd| (odd - 0.5).abs() < 1e-9), "{:?}", left(2));
        // Twice as much of half as often is as good.
        let found = odds(&[Beta { scale: 2.0, ..beta(100.0, 900.0) }, beta(200.0, 800.0)]);
        assert!((found[0] - 0.5).abs() < 0.05, "{found:?}");
        // Many of them share the points.
        let many: Vec<Beta> = (0..300).map(|at| beta(1.0 + f64::from(at % 7), 20.0)).collect();
        assert!((odds(&many).iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
