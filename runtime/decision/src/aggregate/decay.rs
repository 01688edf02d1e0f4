//! What fades: an event weighs half as much after every half-life.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::state::is_time;
use crate::TimeUs;
use crate::layout::pack;

/// Half-lives that a decayed count looks back; what is older weighs less than a four-billionth.
const HALF_LIVES: i64 = 32;
/// The weight 1, in the integers that weights are summed in.
const ONE: f64 = (1u64 << 40) as f64;

/// A decayed count: for every half-life since 1970 the weights of its events, as they stand at its beginning. Integers, so that
/// their order does not matter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Count {
    newest: i64,
    /// The newest last; what an event at the end of its half-life weighs at the beginning is twice that at its own time.
    weights: Vec<u64>,
}

/// A decayed mean of vectors, summed in the order in which they are added.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Mean {
    at: TimeUs,
    /// Weights and weighted sums, as of `at`.
    weight: f64,
    sums: Vec<f64>,
}

// === impl Count ===

impl Count {
    pub(super) fn add(&mut self, half_life: i64, now: TimeUs) {
        let (period, part) = split(half_life, now);
        if self.weights.is_empty() {
            (self.newest, self.weights) = (period, vec![0]);
        }
        self.advance(period);
        let back = usize::try_from(self.newest - period).unwrap_or(usize::MAX);
        if back >= HALF_LIVES as usize {
            return;
        }
        self.reach(back);
        let at = self.weights.len() - 1 - back;
        self.weights[at] = self.weights[at].saturating_add((ONE * half_to_the(-part)) as u64);
    }

    pub(super) fn at(&self, half_life: i64, now: TimeUs) -> f64 {
        let (period, part) = split(half_life, now);
        let mut sum = 0.0;
        for (back, weight) in (0..).zip(self.weights.iter().rev()) {
            let periods = period - self.newest + back;
            if (0..HALF_LIVES).contains(&periods) {
                sum += *weight as f64 / ONE / (1u64 << periods) as f64;
            }
        }
        sum * half_to_the(part)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.weights.is_empty() {
            return;
        }
        if self.weights.is_empty() {
            self.clone_from(other);
            return;
        }
        self.advance(other.newest);
        let behind = usize::try_from(self.newest - other.newest).unwrap_or(usize::MAX);
        for (back, weight) in other.weights.iter().rev().enumerate() {
            let back = behind.saturating_add(back);
            if back >= HALF_LIVES as usize {
                break;
            }
            self.reach(back);
            let at = self.weights.len() - 1 - back;
            self.weights[at] = self.weights[at].saturating_add(*weight);
        }
    }

    /// Whether it has no more than is kept, at a time that is one.
    pub(super) fn is_sound(&self) -> bool {
        is_time(self.newest) && self.weights.len() <= HALF_LIVES as usize
    }

    fn advance(&mut self, period: i64) {
        let newer = period.saturating_sub(self.newest);
        if newer <= 0 {
            return;
        }
        self.newest = period;
        if newer >= HALF_LIVES {
            self.weights = vec![0];
            return;
        }
        self.weights.extend((0..newer).map(|_| 0));
        let too_many = self.weights.len().saturating_sub(HALF_LIVES as usize);
        self.weights.drain(..too_many);
    }

    /// Makes room for a period so far behind the newest.
    fn reach(&mut self, back: usize) {
        while self.weights.len() <= back {
            self.weights.insert(0, 0);
        }
    }
}

// === impl Mean ===

impl Mean {
    pub(super) fn new(len: usize) -> Self {
        Self { at: 0, weight: 0.0, sums: vec![0.0; len] }
    }

    pub(super) fn add(&mut self, half_life: i64, now: TimeUs, vector: &[f32]) {
        if vector.len() != self.sums.len() || !vector.iter().all(|x| x.is_finite()) {
            return;
        }
        if now < self.at {
            // One that comes late has faded since.
            let late = Self { at: now, weight: 1.0, sums: vector.iter().map(|x| f64::from(*x)).collect() };
            return self.merge(half_life, &late);
        }
        self.fade(half_life, now);
        self.weight += 1.0;
        self.sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x));
    }

    /// The mean, two values a cell; the row stays as it is when there is none.
    pub(super) fn write(&self, row: &mut [u64]) {
        if self.weight <= 0.0 {
            return;
        }
        let mean = |sum: Option<&f64>| sum.map_or(f32::NAN, |sum| (sum / self.weight) as f32);
        for (cell, pair) in row.iter_mut().zip(self.sums.chunks(2)) {
            *cell = pack(mean(pair.first()), mean(pair.get(1)));
        }
    }

    /// The later of the two fades the earlier one first; both were summed in the order of their own events.
    pub(super) fn merge(&mut self, half_life: i64, other: &Self) {
        if other.weight <= 0.0 || other.sums.len() != self.sums.len() {
            return;
        }
        let mut other = other.clone();
        other.fade(half_life, self.at);
        self.fade(half_life, other.at);
        self.weight += other.weight;
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, theirs)| *sum += theirs);
    }

    /// Whether it is one of vectors of so many numbers.
    pub(super) fn is_sound(&self, len: usize) -> bool {
        let finite = self.weight >= 0.0 && self.sums.iter().chain([&self.weight]).all(|number| number.is_finite());
        finite && is_time(self.at) && self.sums.len() == len
    }

    /// Brings it to `now`, when that is later.
    fn fade(&mut self, half_life: i64, now: TimeUs) {
        if now <= self.at {
            return;
        }
        let (periods, part) = split(half_life, now - self.at);
        let factor = if self.weight > 0.0 && periods < 1_000 {
            // Exact: a power of two.
            half_to_the(part) * f64::from_bits(((1_023 - periods) as u64) << 52)
        } else {
            0.0
        };
        self.at = now;
        self.weight *= factor;
        self.sums.iter_mut().for_each(|sum| *sum *= factor);
    }
}

/// A time in half-lives: whole ones, and the part of the next from 0 to 1.
fn split(half_life: i64, time: i64) -> (i64, f64) {
    (time.div_euclid(half_life), time.rem_euclid(half_life) as f64 / half_life as f64)
}

/// 2^-x for x from -1 to 1, by its series; the same bits everywhere.
fn half_to_the(x: f64) -> f64 {
    let y = -x * core::f64::consts::LN_2;
    let mut sum = 0.0;
    for n in (1..=20).rev() {
        sum = (sum + 1.0) * y / f64::from(n);
    }
    1.0 + sum
}
