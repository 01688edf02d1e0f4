//! What a release did: counted where it decides, taken about once a second for its guard. Owns how long decisions took, as a
//! histogram that is near enough to compare two releases. Adding costs a decision one atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four buckets for each doubling, up to 16 s: a percentile is told at most a quarter too high.
const BUCKETS: usize = 92;

/// What a release does, while it does.
#[derive(Debug)]
pub struct Counters {
    took: [AtomicU64; BUCKETS],
    faults: AtomicU64,
    fallbacks: AtomicU64,
}

/// What a release did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Decisions by how long they took.
    pub(super) took: [u64; BUCKETS],
    /// Decisions of which a module did not answer, or not rightly.
    pub faults: u64,
    /// Decisions that fell back to the static order.
    pub fallbacks: u64,
}

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        let took = std::array::from_fn(|_| AtomicU64::new(0));
        Self { took, faults: AtomicU64::new(0), fallbacks: AtomicU64::new(0) }
    }
}

impl Counters {
    /// Counts a decision.
    pub fn count(&self, took: Duration, faulted: bool, fell_back: bool) {
        if let Some(bucket) = self.took.get(bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if faulted {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if fell_back {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call of this.
    pub fn take(&self) -> Counts {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Counts {
            faults: take(&self.faults),
            fallbacks: take(&self.fallbacks),
            took: std::array::from_fn(|at| self.took.get(at).map_or(0, take)),
        }
    }
}

// === impl Counts ===

impl Default for Counts {
    fn default() -> Self {
        Self { took: [0; BUCKETS], faults: 0, fallbacks: 0 }
    }
}

impl Counts {
    /// So many decisions, each of which took so long.
    pub fn of(decisions: u64, took: Duration) -> Self {
        let mut counts = Self::default();
        if let Some(bucket) = counts.took.get_mut(bucket(took)) {
            *bucket = decisions;
        }
        counts
    }

    /// Decisions in all.
    pub fn decisions(&self) -> u64 {
        self.took.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What 99 of 100 decisions took at most, in µs; 0 when there were none.
    pub fn p99_us(&self) -> u64 {
        self.quantile_us(0.99)
    }

    /// What a share of the decisions took at most, in µs; 0 when there were none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let beyond = (self.decisions() as f64 * (1.0 - share) + 1e-9) as u64;
        let mut seen = 0u64;
        for (at, count) in self.took.iter().enumerate().rev() {
            seen = seen.saturating_add(*count);
            if seen > beyond {
                return upper_us(at);
            }
        }
        0
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.took.iter_mut().zip(&other.took) {
            *mine = mine.saturating_add(*others);
        }
        self.faults = self.faults.saturating_add(other.faults);
        self.fallbacks = self.fallbacks.saturating_add(other.fallbacks);
    }
}

/// Up to 3 µs one for each, then four for each doubling.
fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if us < 4 {
        return us as usize;
    }
    let doubling = us.ilog2();
    let quarter = (us >> (doubling - 2)) & 3;
    ((doubling as usize - 1) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The longest that falls into a bucket, in µs; the last has no end and tells its beginning's.
fn upper_us(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    ((5 + bucket as u64 % 4) << (bucket / 4 - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_a_quarter_above_what_falls_into_it() {
        for us in (0..20_000u64).chain((1..16_000_000).step_by(7_919)) {
            let upper = upper_us(bucket(Duration::from_micros(us)));
            assert!(upper >= us && upper <= us + us / 4, "{us} µs fall into a bucket up to {upper} µs");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let counters = Counters::default();
        for us in 1..=200 {
            counters.count(Duration::from_micros(us), us % 2 == 0, us % 4 == 0);
        }
        let counts = counters.take();
        assert_eq!((counts.decisions(), counts.faults, counts.fallbacks), (200, 100, 50));
        assert_eq!(counters.take(), Counts::default());
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!((twice.decisions(), twice.faults), (400, 200));
    }

    #[test]
    fn the_99th_percentile_leaves_one_of_a_hundred_beyond() {
        let check = |slow: u64, expected: u64| {
            let mut counts = Counts::of(1_000 - slow, Duration::from_micros(7));
            counts.add(&Counts::of(slow, Duration::from_micros(1_000)));
            assert_eq!(counts.p99_us(), expected, "{slow} of 1,000 are slow");
        };
        check(0, 7);
        check(10, 7);
        check(11, 1_023);
        assert_eq!(Counts::default().p99_us(), 0);
        let mut counts = Counts::of(50, Duration::from_micros(2));
        counts.add(&Counts::of(50, Duration::from_micros(40)));
        assert_eq!((counts.quantile_us(0.5), counts.quantile_us(0.51), counts.quantile_us(1.0)), (2, 47, 47));
    }
}
