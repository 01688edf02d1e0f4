//! How sure an estimate is. Owns the interval of a ratio of sums, or of the difference of two, over persons.

use std::collections::BTreeMap;

use serde::Serialize;

/// An estimate and where it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Its standard error, by the influence function.
    pub standard_error: f64,
    /// The lower end of its interval of 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What a draw adds to the two sums of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    pub(super) numerator: f64,
    pub(super) denominator: f64,
}

/// The quantile 0.975 of the standard normal distribution.
const NORMAL_975: f64 = 1.959_963_984_540_054;
/// Bootstrap resamples.
const RESAMPLES: usize = 1_000;
/// Persons beyond whom the normal interval is near enough, and a bootstrap slow.
const MOST_RESAMPLED: usize = 20_000;
/// What the bootstrap's draws follow from.
const SEED: u64 = 0x5e1b_ed6e;

// === impl Ratio ===

impl Ratio {
    /// Of which a difference takes nothing away.
    pub(super) const NOTHING: Self = Self { numerator: 0.0, denominator: 1.0 };

    const ZERO: Self = Self { numerator: 0.0, denominator: 0.0 };

    fn value(self) -> f64 {
        self.numerator / self.denominator
    }

    fn plus(self, other: Self) -> Self {
        Self { numerator: self.numerator + other.numerator, denominator: self.denominator + other.denominator }
    }
}

/// The first ratio less the second, over draws given with their person; `small` asks for a bootstrap.
pub(super) fn interval(draws: impl Iterator<Item = (u64, [Ratio; 2])>, small: bool) -> Interval {
    let mut persons: BTreeMap<u64, [Ratio; 2]> = BTreeMap::new();
    for (person, [first, second]) in draws {
        let sums = persons.entry(person).or_insert([Ratio::ZERO; 2]);
        *sums = [sums[0].plus(first), sums[1].plus(second)];
    }
    let persons: Vec<[Ratio; 2]> = persons.into_values().collect();
    let [first, second] = sums(persons.iter());
    let value = first.value() - second.value();
    let influence = |own: Ratio, all: Ratio| (own.numerator - all.value() * own.denominator) / all.denominator;
    let squares: f64 = persons
        .iter()
        .map(|[own, own_second]| influence(*own, first) - influence(*own_second, second))
        .map(|influence| influence * influence)
        .sum();
    let count = persons.len() as f64;
    let standard_error = if persons.len() > 1 { (squares * count / (count - 1.0)).sqrt() } else { f64::NAN };
    let (mut low, mut high) = (value - NORMAL_975 * standard_error, value + NORMAL_975 * standard_error);
    if small && (2..=MOST_RESAMPLED).contains(&persons.len()) {
        let (lower, upper) = bootstrap(&persons);
        // NaN, of a resample without weights, leaves the normal ends.
        (low, high) = (low.min(lower), high.max(upper));
    }
    Interval { value, standard_error, low, high }
}

fn sums<'a>(persons: impl Iterator<Item = &'a [Ratio; 2]>) -> [Ratio; 2] {
    persons.fold([Ratio::ZERO; 2], |sum, own| [sum[0].plus(own[0]), sum[1].plus(own[1])])
}

/// The percentiles 2.5 and 97.5 over resamples of persons.
fn bootstrap(persons: &[[Ratio; 2]]) -> (f64, f64) {
    let mut random = SEED;
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..persons.len()).map(|_| &persons[below(&mut random, persons.len())]);
            let [first, second] = sums(drawn);
            first.value() - second.value()
        })
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len() as f64) as usize).copied().unwrap_or(f64::NAN);
    (at(0.025), at(0.975))
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), scaled.
fn below(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    ((u128::from(bits) * count as u128) >> 64) as usize
}
