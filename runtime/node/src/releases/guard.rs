//! The guards: that of a new release counts its first decisions and faults and says when it must be taken back; that of a canary
//! compares it with the running release for as long as it is one. Pure: time and counts come in, a verdict goes out.

use selvedge_decision::definition::Guard;
use selvedge_decision::{Digest, TimeUs};

use super::counts::Counts;
use super::earned::Brought;

/// Decisions of either release before their 99th percentiles are compared: ten of them lie beyond.
const P99_DECISIONS: u64 = 1_000;
/// So many standard errors must the shares of rewarded decisions differ by. They are compared again and again, and the decisions of
/// one person are not independent, so it is more than one comparison would need.
const REWARD_ERRORS: f64 = 4.0;
/// Below this a 99th percentile is no reason to drop anything: it is the machine's noise.
const P99_NOISE_US: u64 = 500;

/// The watch over one release since its swap.
#[derive(Debug, Clone)]
pub(super) struct GuardWatch {
    release: Digest,
    guard: Guard,
    since_us: TimeUs,
    decisions: u64,
    faults: u64,
}

/// The watch over a canary, in windows one after another.
#[derive(Debug, Clone)]
pub(super) struct CanaryWatch {
    canary: Digest,
    running: Digest,
    guard: Guard,
    since_us: TimeUs,
    of_canary: Counts,
    of_running: Counts,
}

/// Why a release was taken back.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Tripped {
    /// A new release faults.
    #[error("{faults} of its first {decisions} decisions had a fault, the guard allows a share of {allowed}")]
    Faults {
        /// Decisions with a fault since the swap.
        faults: u64,
        /// Decisions since the swap.
        decisions: u64,
        /// The largest share allowed.
        allowed: f64,
    },
    /// More of a canary's decisions go wrong than of the running release's.
    #[error(
        "{bad} of its {decisions} decisions {what}, of those of the running release a share of {running:.4}: the guard's {key} \
         allows {allowed} more"
    )]
    Worse {
        /// What is wrong with them.
        what: &'static str,
        /// What the guard calls it.
        key: &'static str,
        /// Such decisions in this window.
        bad: u64,
        /// Decisions in this window.
        decisions: u64,
        /// The running release's share of such decisions.
        running: f64,
        /// How much larger the share may be.
        allowed: f64,
    },
    /// A canary is slow.
    #[error(
        "99 of 100 of its decisions take up to {p99_us} µs, with the running release up to {running_us} µs: the guard's \
         max_p99_ratio allows {allowed} times as long"
    )]
    Slow {
        /// The canary's 99th percentile.
        p99_us: u64,
        /// The running release's.
        running_us: u64,
        /// How many times as long is allowed.
        allowed: f64,
    },
    /// A canary's decisions bring less.
    #[error(
        "of its {decisions} decisions a share of {share:.4} brought {kind:?}, with the running release {running:.4}: the guard's \
         max_reward_drop allows a part of {allowed} less"
    )]
    Poorer {
        /// The kind of reward.
        kind: String,
        /// The canary's decisions.
        decisions: u64,
        /// The share of them that had one.
        share: f64,
        /// The running release's share.
        running: f64,
        /// By which part it may be smaller.
        allowed: f64,
    },
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
        let share = share(self.faults, self.decisions);
        if self.decisions < self.guard.min_decisions || share <= self.guard.max_fault_rate {
            return Ok(());
        }
        Err(Tripped::Faults { faults: self.faults, decisions: self.decisions, allowed: self.guard.max_fault_rate })
    }
}

// === impl CanaryWatch ===

impl CanaryWatch {
    /// Watches over `canary`, by its own guard, against `running` from `since_us` on.
    pub(super) fn new(canary: Digest, running: Digest, guard: Guard, since_us: TimeUs) -> Self {
        let (of_canary, of_running) = (Counts::default(), Counts::default());
        Self { canary, running, guard, since_us, of_canary, of_running }
    }

    /// Adds what `release` did lately; the canary is judged when it is told of. A window that had too few decisions to judge goes on.
    pub(super) fn count(&mut self, release: Digest, counts: &Counts, now_us: TimeUs) -> Result<(), Tripped> {
        if release == self.running {
            self.of_running.add(counts);
        }
        if release != self.canary {
            return Ok(());
        }
        self.of_canary.add(counts);
        if self.of_canary.decisions() < self.guard.min_decisions {
            return Ok(());
        }
        self.judge()?;
        if now_us.saturating_sub(self.since_us) > self.guard.window.us() {
            *self = Self::new(self.canary, self.running, self.guard.clone(), now_us);
        }
        Ok(())
    }

    /// Compares what both brought since the canary began. Rewards come late, for either alike, so shares compare before they are whole.
    pub(super) fn compare(&self, canary: Brought, running: Brought) -> Result<(), Tripped> {
        let Some(kind) = &self.guard.reward else { return Ok(()) };
        let least = self.guard.min_decisions.max(P99_DECISIONS);
        if canary.decisions.min(running.decisions) < least {
            return Ok(());
        }
        let of = |brought: Brought| share(brought.rewarded, brought.decisions);
        let (poor, rich, allowed) = (of(canary), of(running), self.guard.max_reward_drop);
        let pooled = share(canary.rewarded + running.rewarded, canary.decisions + running.decisions);
        let each = 1.0 / canary.decisions as f64 + 1.0 / running.decisions as f64;
        let error = (pooled * (1.0 - pooled) * each).sqrt();
        if rich * (1.0 - allowed) - poor <= REWARD_ERRORS * error {
            return Ok(());
        }
        let (kind, decisions) = (kind.clone(), canary.decisions);
        Err(Tripped::Poorer { kind, decisions, share: poor, running: rich, allowed })
    }

    /// Faults count against a running release that did nothing, too: that one has none.
    fn judge(&self) -> Result<(), Tripped> {
        let (canary, running, guard) = (&self.of_canary, &self.of_running, &self.guard);
        let worse = |what, key, bad: u64, of_running: u64, allowed: f64| {
            let (decisions, running) = (canary.decisions(), share(of_running, running.decisions()));
            let is_worse = share(bad, decisions) > running + allowed;
            is_worse.then_some(Tripped::Worse { what, key, bad, decisions, running, allowed }).map_or(Ok(()), Err)
        };
        worse("had a fault", "max_fault_rate", canary.faults, running.faults, guard.max_fault_rate)?;
        if running.decisions() < guard.min_decisions {
            return Ok(());
        }
        let (fell_back, of_running) = (canary.fallbacks, running.fallbacks);
        worse("fell back", "max_fallback_increase", fell_back, of_running, guard.max_fallback_increase)?;
        let (p99_us, running_us, allowed) = (canary.p99_us(), running.p99_us(), guard.max_p99_ratio);
        let enough = canary.decisions().min(running.decisions()) >= P99_DECISIONS;
        if enough && p99_us > P99_NOISE_US && p99_us as f64 > running_us as f64 * allowed {
            return Err(Tripped::Slow { p99_us, running_us, allowed });
        }
        Ok(())
    }
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selvedge_decision::definition::Span;

    use super::*;

    const GUARD: Guard = Guard {
        window: Span::from_us(1_000),
        max_fault_rate: 0.1,
        min_decisions: 100,
        max_fallback_increase: 0.2,
        max_p99_ratio: 2.0,
        reward: None,
        max_reward_drop: 0.1,
    };

    #[test]
    fn it_trips_inside_the_window_on_enough_decisions_only() {
        let mine = Digest::of(b"mine");
        let check = |counts: &[(&[u8], u64, u64, TimeUs)], trips: bool| {
            let mut watch = GuardWatch::new(mine, GUARD, 5_000);
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

    #[test]
    fn a_canary_trips_when_its_decisions_bring_less_beyond_chance() {
        let guard = Guard { reward: Some("add_to_cart".to_owned()), ..GUARD };
        let watch = CanaryWatch::new(Digest::of(b"canary"), Digest::of(b"running"), guard, 0);
        let brought = |(decisions, rewarded)| Brought { decisions, rewarded };
        let check = |canary: (u64, u64), running: (u64, u64), trips: bool| {
            let tripped = watch.compare(brought(canary), brought(running)).err().map(|tripped| tripped.to_string());
            assert_eq!(tripped.is_some(), trips, "{canary:?} against {running:?}: {tripped:?}");
        };
        check((2_000, 100), (20_000, 2_000), true);
        check((2_000, 200), (20_000, 2_000), false);
        check((2_000, 400), (20_000, 2_000), false);
        // A tenth less is allowed, and so is what chance may do.
        check((1_000_000, 90_001), (1_000_000, 100_000), false);
        check((1_000_000, 85_000), (1_000_000, 100_000), true);
        check((2_000, 140), (20_000, 2_000), false);
        // Of few decisions nothing is said; a running release that brings nothing is no measure.
        check((999, 0), (20_000, 10_000), false);
        check((20_000, 0), (999, 999), false);
        check((20_000, 0), (20_000, 0), false);
        let none = CanaryWatch::new(Digest::of(b"canary"), Digest::of(b"running"), GUARD, 0);
        assert_eq!(none.compare(brought((9_999, 0)), brought((9_999, 9_999))), Ok(()), "it asks for no reward");
    }

    /// Decisions, their time in µs, faults and fallbacks.
    type Did = (u64, u64, u64, u64);

    #[test]
    fn a_canary_trips_when_it_is_worse_than_what_runs() {
        let check = |seconds: &[(Did, Did, TimeUs)], expected: Option<&str>| {
            let (canary, running) = (Digest::of(b"canary"), Digest::of(b"running"));
            let mut watch = CanaryWatch::new(canary, running, GUARD, 5_000);
            let counts = |(decisions, us, faults, fallbacks): Did| Counts {
                faults,
                fallbacks,
                ..Counts::of(decisions, Duration::from_micros(us))
            };
            let tripped = seconds.iter().find_map(|(of_running, of_canary, at_us)| {
                let other = watch.count(Digest::of(b"other"), &counts((9_999, 9, 9_999, 0)), *at_us);
                let running = watch.count(running, &counts(*of_running), *at_us);
                let canary = watch.count(canary, &counts(*of_canary), *at_us);
                other.and(running).and(canary).err()
            });
            let said = tripped.map(|tripped| tripped.to_string());
            match expected {
                Some(expected) => assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{said:?}"),
                None => assert_eq!(said, None, "{seconds:?}"),
            }
        };
        let fine = (2_000, 50, 0, 0);
        check(&[(fine, (100, 50, 11, 0), 5_001)], Some("11 of its 100 decisions had a fault"));
        check(&[(fine, (100, 50, 10, 0), 5_001)], None);
        check(&[(fine, (99, 50, 99, 99), 5_001)], None);
        // What the running release does wrong, too, is not the canary's fault.
        check(&[((2_000, 50, 1_000, 0), (100, 50, 55, 0), 5_001)], None);
        check(&[((2_000, 50, 1_000, 0), (100, 50, 61, 0), 5_001)], Some("a share of 0.5000"));
        // Faults need no comparison, the others do.
        check(&[((0, 0, 0, 0), (100, 50, 11, 0), 5_001)], Some("had a fault"));
        check(&[((0, 0, 0, 0), (2_000, 50_000, 0, 2_000), 5_001)], None);
        check(&[(fine, (100, 50, 0, 21), 5_001)], Some("fell back"));
        check(&[((2_000, 50, 0, 600), (100, 50, 0, 45), 5_001)], None);
        check(&[((2_000, 400, 0, 0), (1_000, 900, 0, 0), 5_001)], Some("up to 1023 µs, with"));
        check(&[((2_000, 400, 0, 0), (999, 900, 0, 0), 5_001)], None);
        check(&[((2_000, 400, 0, 0), (1_000, 700, 0, 0), 5_001)], None);
        check(&[((2_000, 20, 0, 0), (1_000, 400, 0, 0), 5_001)], None);
        // Each window is judged alone, and one with too few decisions goes on.
        let half = (1_000, 50, 0, 0);
        check(&[(fine, half, 6_001), (fine, (1_000, 50, 150, 0), 6_002)], Some("150 of its 1000"));
        check(&[(fine, half, 6_000), (fine, (1_000, 50, 150, 0), 6_002)], None);
        check(&[(fine, (60, 50, 8, 0), 5_500), (fine, (60, 50, 8, 0), 9_000)], Some("16 of its 120"));
    }
}
