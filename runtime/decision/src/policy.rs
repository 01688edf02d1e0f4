//! How to choose among the scored: for each place the probability of every candidate that is left, then one draw. Owns the
//! policies' probabilities, the floor and the budget, and the order of draws; what a probability becomes is recorded as the
//! choice's propensity.
//!
//! Every policy is made of the same four steps, so that a propensity means the same in all of them: the policy's own
//! probabilities of the candidates that are left; at most the budget's share for others than the best; at least the floor for
//! each; one number of the decision's own sequence picks.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::contest::{Beta, Contest};
use crate::form::form;
use crate::logistic::Model;

/// How to choose, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which.
    pub kind: PolicyKind,
    /// The least probability of each candidate that may be chosen.
    pub floor: f64,
    /// The largest probability of any other than the best in one place, but for what the floor takes.
    pub budget: f64,
    /// The plan's bandit that it learns with.
    pub bandit: Option<usize>,
    /// Rewards and misses that each action begins with.
    pub prior: [f64; 2],
    /// What it learns by besides the action; none for the rate of each action alone.
    pub model: Option<Model>,
}

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PolicyKind {
    /// The best.
    Argmax,
    /// The best; in this share of draws any, all alike.
    Epsilon(f64),
    /// With probabilities in proportion to exp(score / temperature): place after place that is the model of Plackett and Luce.
    Softmax(f64),
    /// Thompson sampling: with the probability of being the best, by Beta distributions or by a model.
    Thompson,
}

/// A contest of Beta distributions with the odds of its first draw. Computed once, often by who learned what it is about, and used
/// while nothing else was learned.
#[derive(Debug)]
pub struct Ready {
    values: Vec<Beta>,
    contest: Arc<Contest>,
    first: Vec<f64>,
}

/// Contests that were computed, to be used again.
#[derive(Debug, Clone, Default)]
pub struct Contests {
    known: Vec<Arc<Ready>>,
}

/// What the quadratures of one decision may cost, in steps of some nanoseconds: with many candidates and places, later draws go by the
/// odds of the last that was computed.
const MOST_COST: usize = 400_000;
/// Distributions that are kept: a node's thread sees few placements at once.
const KEPT: usize = 16;

/// A contest and the odds that were computed last, those of the first place to begin with.
#[derive(Debug, Clone)]
pub(crate) struct Odds {
    contest: Arc<Contest>,
    first: Vec<f64>,
}

/// The draws of one decision.
pub(crate) struct Draws<'a> {
    policy: &'a Policy,
    /// Whether it may choose another than the best.
    explores: bool,
    /// Rows that are left, best first.
    left: Vec<u32>,
    /// How many of them the best-first order has given away.
    taken: usize,
    /// By row: its score, for a softmax.
    scores: Vec<f64>,
    odds: Option<Odds>,
    /// What quadratures may still cost.
    cost: usize,
    random: Random,
    drawn: u32,
    /// Rows to take one after another, instead of what chance says.
    wanted: Option<core::slice::Iter<'a, u32>>,
}

/// One that was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    /// The candidate.
    pub(crate) row: u32,
    /// Its probability in this draw.
    pub(crate) propensity: f64,
    /// The how-manieth draw it was, from 0.
    pub(crate) draw: u32,
    /// Whether it was not the best of those left.
    pub(crate) explored: bool,
}

/// A sequence of numbers from a seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014), so that one decision's draws follow from its id alone.
struct Random(u64);

// === forms ===

// No page decides what a model has a part in.
form!(struct Policy { kind, floor, budget, bandit, prior } leaves { model: None });
form!(enum PolicyKind { Argmax, 1 Epsilon(share), 2 Softmax(temperature), 3 Thompson });

// === impl Policy ===

impl Policy {
    /// The best, always.
    pub const fn argmax() -> Self {
        Self { kind: PolicyKind::Argmax, floor: 0.0, budget: 1.0, bandit: None, prior: [1.0, 1.0], model: None }
    }

    /// What it learns by besides the action; nothing in a page, which decides by no model.
    pub(crate) fn model(&self) -> Option<&Model> {
        self.model.as_ref().filter(|_| cfg!(feature = "std"))
    }

    /// Whether it ever chooses another than the best.
    pub fn explores(&self) -> bool {
        self.floor > 0.0 || (self.budget > 0.0 && !matches!(self.kind, PolicyKind::Argmax))
    }
}

// === impl Ready ===

impl Ready {
    /// The contest between `values` for so many places.
    pub fn new(values: Vec<Beta>, places: usize) -> Self {
        let contest = Arc::new(Contest::new(&values, places));
        let first = contest.odds(&(0..values.len() as u32).collect::<Vec<_>>());
        Self { values, contest, first }
    }

    fn is_of(&self, values: &[Beta], places: usize) -> bool {
        // One that was for fewer places is another: it left out who could not win them.
        self.contest.places() == places && self.values == values
    }
}

// === impl Contests ===

impl Contests {
    /// Takes one that was computed elsewhere.
    pub fn offer(&mut self, ready: &Arc<Ready>) {
        if !self.known.iter().any(|known| Arc::ptr_eq(known, ready)) {
            self.keep(Arc::clone(ready));
        }
    }

    /// The contest between `values` for so many places.
    pub(crate) fn between(&mut self, values: Vec<Beta>, places: usize) -> Odds {
        if let Some(at) = self.known.iter().position(|known| known.is_of(&values, places)) {
            let found = self.known.remove(at);
            let odds = Odds { contest: Arc::clone(&found.contest), first: found.first.clone() };
            self.known.push(found);
            return odds;
        }
        let ready = Ready::new(values, places);
        let odds = Odds { contest: Arc::clone(&ready.contest), first: ready.first.clone() };
        self.keep(Arc::new(ready));
        odds
    }

    fn keep(&mut self, ready: Arc<Ready>) {
        if self.known.len() == KEPT {
            self.known.remove(0);
        }
        self.known.push(ready);
    }
}

// === impl Odds ===

impl Odds {
    /// Of a contest that is for this decision alone.
    pub(crate) fn of(contest: Contest, count: usize) -> Self {
        let first = contest.odds(&(0..count as u32).collect::<Vec<_>>());
        Self { contest: Arc::new(contest), first }
    }
}

// === impl Draws ===

impl<'a> Draws<'a> {
    /// Draws from `order`, best first. `scores` are by row; `odds` are those of a Thompson policy, in which only rows of `order`
    /// have a part.
    pub(crate) fn new(
        policy: &'a Policy,
        explores: bool,
        order: Vec<u32>,
        scores: &[f64],
        odds: Option<Odds>,
        seed: u64,
    ) -> Self {
        let explores = explores && policy.explores();
        let is_softmax = explores && matches!(policy.kind, PolicyKind::Softmax(_));
        let scores = if is_softmax { scores.to_vec() } else { Vec::new() };
        let random = Random(seed);
        Self { policy, explores, left: order, taken: 0, scores, odds, cost: MOST_COST, random, drawn: 0, wanted: None }
    }

    /// The same that take these rows, as long as each could be drawn.
    pub(crate) fn taking(self, wanted: &'a [u32]) -> Self {
        Self { wanted: Some(wanted.iter()), ..self }
    }

    /// The next, until none is left.
    pub(crate) fn next(&mut self) -> Option<Drawn> {
        let draw = self.drawn;
        self.drawn += 1;
        let wanted = match &mut self.wanted {
            Some(wanted) => Some(*wanted.next()?),
            None => None,
        };
        if !self.explores {
            let row = *self.left.get(self.taken)?;
            if wanted.is_some_and(|wanted| wanted != row) {
                return None;
            }
            self.taken += 1;
            return Some(Drawn { row, propensity: 1.0, draw, explored: false });
        }
        if self.left.is_empty() {
            return None;
        }
        let probabilities = self.probabilities();
        let at = match wanted {
            Some(wanted) => self.left.iter().position(|row| *row == wanted)?,
            None => self.random.pick(&probabilities),
        };
        let row = self.left.remove(at);
        Some(Drawn { row, propensity: probabilities[at], draw, explored: at != 0 })
    }

    /// Of each that is left, best first.
    fn probabilities(&mut self) -> Vec<f64> {
        let n = self.left.len();
        let mut of = self.own();
        let others = 1.0 - of[0];
        if others > self.policy.budget {
            of[1..].iter_mut().for_each(|p| *p *= self.policy.budget / others);
            of[0] = 1.0 - self.policy.budget;
        }
        let floor = self.policy.floor.min(1.0 / n as f64);
        if floor > 0.0 {
            of.iter_mut().for_each(|p| *p = *p * (1.0 - floor * n as f64) + floor);
        }
        of
    }

    /// The policy's own.
    fn own(&mut self) -> Vec<f64> {
        let n = self.left.len();
        let mut of = match (self.policy.kind, &mut self.odds) {
            (PolicyKind::Epsilon(epsilon), _) => {
                let mut of = vec![epsilon / n as f64; n];
                of[0] += 1.0 - epsilon;
                return of;
            }
            (PolicyKind::Softmax(temperature), _) => {
                // By the best of those left: by the first of all, those left may all be nothing beside it.
                let score = |row: &u32| self.scores[*row as usize];
                let top = score(&self.left[0]);
                self.left.iter().map(|row| libm::exp((score(row) - top) / temperature)).collect()
            }
            (PolicyKind::Thompson, Some(odds)) => {
                let cost = odds.contest.cost(n);
                if self.drawn > 1 && cost <= self.cost {
                    self.cost -= cost;
                    for (row, odd) in self.left.iter().zip(odds.contest.odds(&self.left)) {
                        odds.first[*row as usize] = odd;
                    }
                }
                self.left.iter().map(|row| odds.first[*row as usize]).collect()
            }
            (PolicyKind::Thompson, None) | (PolicyKind::Argmax, _) => vec![0.0; n],
        };
        let sum: f64 = of.iter().sum();
        if sum.is_normal() {
            of.iter_mut().for_each(|p| *p /= sum);
        } else {
            // None of them stands out: the best it is.
            of.fill(0.0);
            of[0] = 1.0;
        }
        of
    }
}

// === impl Random ===

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// An index, each with its probability.
    fn pick(&mut self, probabilities: &[f64]) -> usize {
        // 53 bits: every number of [0, 1) that an f64 has at this distance.
        let mut point = (self.next() >> 11) as f64 / 9_007_199_254_740_992.0;
        let mut last = 0;
        for (at, probability) in probabilities.iter().enumerate().filter(|(_, probability)| **probability > 0.0) {
            if point < *probability {
                return at;
            }
            point -= probability;
            last = at;
        }
        // What rounding leaves over.
        last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SCORES: [f64; 4] = [0.3, 0.9, 0.1, 0.6];

    fn policy(kind: PolicyKind, floor: f64, budget: f64) -> Policy {
        Policy { kind, floor, budget, bandit: None, prior: [1.0, 1.0], model: None }
    }

    fn draws<'a>(policy: &'a Policy, seed: u64) -> Draws<'a> {
        let odds = (policy.kind == PolicyKind::Thompson).then(|| {
            let values = SCORES.map(|score| Beta { a: 10.0 * score, b: 10.0 - 10.0 * score, scale: 1.0 });
            Contests::default().between(values.to_vec(), 4)
        });
        Draws::new(policy, true, vec![1, 3, 0, 2], &SCORES, odds, seed)
    }

    #[test]
    fn probabilities_are_the_policy_s_within_floor_and_budget() {
        let check = |kind: PolicyKind, floor: f64, budget: f64, expected: [f64; 4]| {
            let policy = policy(kind, floor, budget);
            let found = draws(&policy, 1).probabilities();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{policy:?}: {found:?}");
        };
        check(PolicyKind::Argmax, 0.0, 1.0, [1.0, 0.0, 0.0, 0.0]);
        check(PolicyKind::Argmax, 0.05, 1.0, [0.85, 0.05, 0.05, 0.05]);
        check(PolicyKind::Epsilon(0.2), 0.0, 1.0, [0.85, 0.05, 0.05, 0.05]);
        check(PolicyKind::Epsilon(0.2), 0.0, 0.03, [0.97, 0.01, 0.01, 0.01]);
        check(PolicyKind::Epsilon(0.0), 9.0, 1.0, [0.25; 4]);
        let e = [0.0, -0.3, -0.6, -0.8].map(|z: f64| libm::exp(z / 0.5));
        let sum: f64 = e.iter().sum();
        check(PolicyKind::Softmax(0.5), 0.0, 1.0, e.map(|e| e / sum));
        check(PolicyKind::Epsilon(0.2), 0.02, 0.03, [0.97 * 0.92 + 0.02, 0.0292, 0.0292, 0.0292]);
    }

    #[test]
    fn what_is_wanted_is_drawn_with_the_probability_that_chance_has_for_it() {
        for kind in [PolicyKind::Epsilon(0.2), PolicyKind::Softmax(0.5), PolicyKind::Thompson] {
            let policy = policy(kind, 0.01, 1.0);
            let firsts: f64 = (0..4).map(|row| draws(&policy, 1).taking(&[row]).next().unwrap().propensity).sum();
            assert!((firsts - 1.0).abs() < 1e-12, "{kind:?}: the first is one of them: {firsts}");
            for seed in 0..50 {
                let mut chance = draws(&policy, seed);
                let drawn: Vec<Drawn> = std::iter::from_fn(|| chance.next()).collect();
                let wanted: Vec<u32> = drawn.iter().map(|drawn| drawn.row).collect();
                // Another seed: nothing is left to it.
                let mut taking = draws(&policy, seed + 1_000).taking(&wanted);
                let taken: Vec<Drawn> = std::iter::from_fn(|| taking.next()).collect();
                assert_eq!(taken, drawn, "{kind:?}");
            }
        }
        let best = Policy::argmax();
        let mut taking = Draws::new(&best, true, vec![1, 3], &SCORES, None, 1).taking(&[1, 0]);
        assert_eq!(taking.next().map(|drawn| (drawn.row, drawn.propensity)), Some((1, 1.0)));
        assert_eq!(taking.next(), None, "the best is another");
        assert_eq!(
            draws(&policy(PolicyKind::Epsilon(0.5), 0.0, 1.0), 1).taking(&[9]).next(),
            None,
            "it is none of them"
        );
    }

    #[test]
    fn the_rest_of_a_softmax_is_told_apart_when_the_first_is_gone() {
        let policy = policy(PolicyKind::Softmax(0.1), 0.0, 1.0);
        let scores = [1_000.0, 1.0, 0.99, 0.98];
        let mut draws = Draws::new(&policy, true, vec![0, 1, 2, 3], &scores, None, 1);
        assert_eq!(draws.next().unwrap().row, 0);
        let found = draws.probabilities();
        assert!(found.windows(2).all(|pair| pair[0] > pair[1] && pair[1] > 0.2), "{found:?}");
    }

    #[test]
    fn later_draws_are_of_the_best_among_those_left() {
        let policy = policy(PolicyKind::Thompson, 0.0, 1.0);
        let values = [(900.0, 100.0), (5.0, 95.0), (5.0, 95.0)].map(|(a, b)| Beta { a, b, scale: 1.0 });
        let odds = Contests::default().between(values.to_vec(), 2);
        let mut draws = Draws::new(&policy, true, vec![0, 1, 2], &[0.9, 0.05, 0.05], Some(odds), 1);
        assert_eq!(draws.next().unwrap().row, 0);
        assert!((draws.next().unwrap().propensity - 0.5).abs() < 1e-9);
    }

    /// Draws as often as the propensities say: chi-square of the first two places over many seeds.
    #[test]
    fn what_is_drawn_is_as_frequent_as_recorded() {
        for kind in [PolicyKind::Epsilon(0.3), PolicyKind::Softmax(0.4), PolicyKind::Thompson] {
            let policy = policy(kind, 0.02, 1.0);
            let mut counts = std::collections::BTreeMap::<(u32, u32), (u32, f64)>::new();
            let n = 20_000;
            for seed in 0..n {
                let mut draws = draws(&policy, seed);
                let (one, two) = (draws.next().unwrap(), draws.next().unwrap());
                assert!(one.propensity >= 0.02 && two.propensity >= 0.02, "{one:?} {two:?}");
                assert_eq!((one.draw, two.draw, one.explored), (0, 1, one.row != 1));
                let place = counts.entry((one.row, two.row)).or_default();
                *place = (place.0 + 1, one.propensity * two.propensity);
            }
            let (mut chi, mut sum) = (0.0, 0.0);
            for (count, propensity) in counts.values() {
                let expected = propensity * n as f64;
                chi += (f64::from(*count) - expected) * (f64::from(*count) - expected) / expected;
                sum += propensity;
            }
            assert!((sum - 1.0).abs() < 1e-9, "{kind:?}: all pairs came, and their propensities are {sum}");
            // The 99.9 % quantile with 11 degrees of freedom.
            assert!(chi < 31.26, "{kind:?}: {chi} {counts:?}");
        }
    }

    #[test]
    fn without_exploration_the_best_come_in_order() {
        let policy = policy(PolicyKind::Softmax(9.0), 0.1, 1.0);
        let mut draws = Draws::new(&policy, false, vec![1, 3, 0, 2], &SCORES, None, 7);
        let rows: Vec<(u32, f64)> =
            std::iter::from_fn(|| draws.next()).map(|drawn| (drawn.row, drawn.propensity)).collect();
        assert_eq!(rows, [(1, 1.0), (3, 1.0), (0, 1.0), (2, 1.0)]);
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // SplitMix64 from seed 1234567, as in the test vectors that go round with its reference implementation.
        let mut random = Random(1_234_567);
        let found: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn what_was_computed_is_used_again_until_something_was_learned() {
        let mut contests = Contests::default();
        let values = |a: f64| vec![Beta { a, b: 9.0, scale: 1.0 }, Beta { a: 2.0, b: 9.0, scale: 1.0 }];
        let first = contests.between(values(1.0), 1);
        assert!(Arc::ptr_eq(&first.contest, &contests.between(values(1.0), 1).contest));
        assert!(!Arc::ptr_eq(&first.contest, &contests.between(values(2.0), 1).contest));
        assert!(!Arc::ptr_eq(&first.contest, &contests.between(values(1.0), 2).contest));
        (0..100).for_each(|at| drop(contests.between(values(f64::from(at) + 3.0), 1)));
        assert_eq!(contests.known.len(), KEPT);
        // What somebody else computed is taken as it is.
        let ready = Arc::new(Ready::new(values(0.5), 1));
        contests.offer(&ready);
        contests.offer(&ready);
        assert_eq!(contests.known.iter().filter(|known| Arc::ptr_eq(known, &ready)).count(), 1);
        assert!(Arc::ptr_eq(&ready.contest, &contests.between(values(0.5), 1).contest));
    }
}
