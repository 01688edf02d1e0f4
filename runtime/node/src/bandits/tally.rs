//! What was learned of each action, by time buckets, and what it weighs now. Whole numbers: added in any order they are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use serde::{Deserialize, Serialize};

use super::ledger::Gain;

/// Trials and rewards of each action, by the time buckets of their decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally {
    actions: BTreeMap<Arc<str>, BTreeMap<i64, (i64, i64)>>,
}

/// Buckets of an action that are kept: of what lies ten half-lives back a thousandth counts.
pub(super) const MOST_BUCKETS: usize = 80;
/// Buckets of a half-life.
const PARTS: i64 = 8;

// === impl Tally ===

impl Tally {
    /// Adds a gain; `sign` is -1 to take it away again.
    pub fn add(&mut self, gain: &Gain, sign: i64) {
        let buckets = self.actions.entry(gain.action.clone()).or_default();
        let (trials, rewards) = buckets.entry(gain.bucket).or_default();
        *trials += sign * gain.trials;
        *rewards += sign * gain.rewards;
        if buckets.len() > MOST_BUCKETS {
            buckets.pop_first();
        }
    }

    /// Rewards and misses of an action, here and in `other` together, as they weigh at `now_us`: half after each half-life, of
    /// which a bucket of `bucket_us` is an eighth; all the same when it is 0.
    pub fn weighed(&self, other: &Self, action: &str, bucket_us: i64, now_us: TimeUs) -> [f64; 2] {
        let now = if bucket_us == 0 { 0 } else { now_us.div_euclid(bucket_us) };
        let mut buckets: BTreeMap<i64, (i64, i64)> = self.actions.get(action).cloned().unwrap_or_default();
        for (bucket, (trials, rewards)) in other.actions.get(action).into_iter().flatten() {
            let sum = buckets.entry(*bucket).or_default();
            *sum = (sum.0 + trials, sum.1 + rewards);
        }
        let mut sums = [0.0; 2];
        for (bucket, (trials, rewards)) in buckets {
            let weight = weight((now - bucket).max(0));
            sums[0] += weight * rewards.max(0) as f64;
            sums[1] += weight * (trials - rewards).max(0) as f64;
        }
        sums
    }

    /// All trials and rewards, whatever they weigh.
    pub fn totals(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        self.actions.iter().map(|(action, buckets)| {
            let sum = buckets.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            (&**action, sum.0, sum.1)
        })
    }
}

/// 2 to the power of minus `age` eighths.
pub(super) fn weight(age: i64) -> f64 {
    // Correctly rounded: the eighth roots of a half.
    const EIGHTHS: [f64; PARTS as usize] = [
        1.0,
        0.917_004_043_204_671_2,
        0.840_896_415_253_714_5,
        0.771_105_412_703_970_4,
        std::f64::consts::FRAC_1_SQRT_2,
        0.648_419_777_325_504_8,
        0.594_603_557_501_360_5,
        0.545_253_866_332_628_8,
    ];
    let halves = i32::try_from(age / PARTS).unwrap_or(i32::MAX).min(1_000);
    EIGHTHS[(age % PARTS) as usize] * f64::from_bits(((1_023 - halves.min(1_022)) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(action: &str, bucket: i64, trials: i64, rewards: i64) -> Gain {
        Gain { action: action.into(), bucket, trials, rewards, decision: 1, reward: None, features: None }
    }

    #[test]
    fn what_was_learned_fades_by_half_lives() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.add(&gain("a", 0, 10, 4), 1);
        two.add(&gain("a", 8, 6, 1), 1);
        let check = |bucket_us: i64, now_us: i64, expected: [f64; 2]| {
            assert_eq!(one.weighed(&two, "a", bucket_us, now_us), expected);
            assert_eq!(two.weighed(&one, "a", bucket_us, now_us), expected, "either way round");
        };
        check(0, 99, [5.0, 11.0]);
        check(10, 80, [3.0, 8.0]);
        check(10, 160, [1.5, 4.0]);
        // A clock that is behind does not make old what is not.
        check(10, 0, [5.0, 11.0]);
        assert_eq!(one.weighed(&two, "b", 10, 0), [0.0, 0.0]);
        one.add(&gain("a", 0, 10, 4), -1);
        assert_eq!(one.weighed(&two, "a", 0, 0), [1.0, 5.0]);
        assert!((weight(3) * weight(5) - 0.5).abs() < 1e-15 && weight(80) == 1.0 / 1024.0 && weight(i64::MAX) >= 0.0);
    }

    #[test]
    fn old_buckets_go() {
        let mut tally = Tally::default();
        (0..200).for_each(|bucket| tally.add(&gain("a", bucket, 1, 0), 1));
        assert_eq!(tally.totals().collect::<Vec<_>>(), [("a", 80, 0)]);
    }
}
