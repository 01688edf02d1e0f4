//! The guard of a new release: counts its first decisions and faults and says when it must be taken back. Pure: time and
//! counts come in, a verdict goes out.

use selvedge_decision::definition::Guard;
use selvedge_decision::{Digest, TimeUs};

/// The watch over one release since its swap.
#[derive(Debug, Clone)]
pub(super) struct GuardWatch {
    release: Digest,
    guard: Guard,
    since_us: TimeUs,
    decisions: u64,
    faults: u64,
}

/// Why a release was taken back.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{faults} of its first {decisions} decisions had a fault, the guard allows a share of {allowed}")]
pub(super) struct Tripped {
    /// Decisions with a fault since the swap.
    pub(super) faults: u64,
    /// Decisions since the swap.
    pub(super) decisions: u64,
    /// The largest share allowed.
    pub(super) allowed: f64,
}

// === impl GuardWatch ===

impl GuardWatch {
    /// Watches over `release` from `since_us`, the time of its swap.
    pub(super) fn new(release: Digest, guard: Guard, since_us: TimeUs) -> Self {
        Self { release, guard, since_us, decisions: 0, faults: 0 }
    }

    /// Adds what `release` did lately. Counts of another release, and those after the window, do not matter.
    pub(super) fn count(
        &mut self,
        release: Digest,
        decisions: u64,
        faults: u64,
        now_us: TimeUs,
    ) -> Result<(), Tripped> {
        if release != self.release || now_us.saturating_sub(self.since_us) > self.guard.window.us() {
            return Ok(());
        }
        self.decisions = self.decisions.saturating_add(decisions);
        self.faults = self.faults.saturating_add(faults);
        let share = self.faults as f64 / self.decisions.max(1) as f64;
        if self.decisions < self.guard.min_decisions || share <= self.guard.max_fault_rate {
            return Ok(());
        }
        Err(Tripped { faults: self.faults, decisions: self.decisions, allowed: self.guard.max_fault_rate })
    }
}

#[cfg(test)]
mod tests {
    use selvedge_decision::definition::Span;

    use super::*;

    #[test]
    fn it_trips_inside_the_window_on_enough_decisions_only() {
        let mine = Digest::of(b"mine");
        let guard = Guard { window: Span::from_us(1_000), max_fault_rate: 0.1, min_decisions: 100 };
        let check = |counts: &[(&[u8], u64, u64, TimeUs)], trips: bool| {
            let mut watch = GuardWatch::new(mine, guard, 5_000);
            let tripped = counts.iter().any(|(release, decisions, faults, at_us)| {
                watch.count(Digest::of(release), *decisions, *faults, *at_us).is_err()
            });
            assert_eq!(tripped, trips, "{counts:?}");
        };
        check(&[(b"mine", 100, 11, 5_500)], true);
        check(&[(b"mine", 100, 10, 5_500)], false);
        check(&[(b"mine", 99, 99, 5_500)], false);
        check(&[(b"mine", 60, 10, 5_500), (b"mine", 60, 10, 5_900)], true);
        check(&[(b"mine", 60, 10, 5_500), (b"mine", 60, 10, 6_001)], false);
        check(&[(b"other", 100, 100, 5_500)], false);
        check(&[(b"mine", 100, 100, 6_000)], true);
        check(&[(b"mine", u64::MAX, 1, 5_500), (b"mine", 1, u64::MAX, 5_600)], true);
        check(&[(b"mine", 0, 0, 5_500)], false);
    }
}
