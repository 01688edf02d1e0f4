//! Times of calls and what is told of them.

use std::time::Duration;

use serde::Serialize;

/// Times of single calls, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    us: Vec<f64>,
    pub(super) calls: usize,
}

/// What half of the calls and 99 in 100 did not exceed, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

// === impl Samples ===

impl Samples {
    pub(super) fn add(&mut self, time: Duration) {
        self.us.push(time.as_secs_f64() * 1e6);
        self.calls += 1;
    }

    /// The quantiles; NaN, which JSON tells as null, when there is no sample.
    pub(super) fn quantiles(&self) -> Quantiles {
        let mut sorted = self.us.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |q: f64| {
            let at = ((sorted.len() as f64 * q).ceil() as usize).saturating_sub(1);
            sorted.get(at).copied().unwrap_or(f64::NAN)
        };
        Quantiles { p50: at(0.5), p99: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_samples() {
        let mut samples = Samples::default();
        (1..=200).rev().for_each(|us| samples.add(Duration::from_micros(us)));
        let Quantiles { p50, p99 } = samples.quantiles();
        assert_eq!((p50.round(), p99.round(), samples.calls), (100.0, 198.0, 200));
        assert!(Samples::default().quantiles().p50.is_nan());
    }
}
