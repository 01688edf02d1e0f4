//! The breaker of one module of one release. Closed, it lets every call through. After some faults in a row it opens: the module is
//! not asked for a while. Then it is half-open: one call tries, and how that goes closes it or opens it again.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// When a module is not asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct BreakerConfig {
    /// Faults in a row that open it; 0 never does.
    pub after: u32,
    /// How long it stays open.
    pub cool_down: Duration,
}

/// Open, half-open or closed. Times are microseconds of the monotone clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: AtomicU32,
    /// Until when nobody calls; 0 while it is closed.
    open_until_us: AtomicI64,
}

// === impl Breaker ===

impl Breaker {
    /// Whether a call at `now_us` may be made. Where it was open for its time, the first who asks is let through to try, and the others
    /// wait for another such time or for how that goes.
    pub(super) fn lets(&self, config: BreakerConfig, now_us: i64) -> bool {
        let until_us = self.open_until_us.load(Ordering::Relaxed);
        if until_us == 0 {
            return true;
        }
        let next_us = now_us + config.cool_down.as_micros() as i64;
        let order = Ordering::Relaxed;
        now_us >= until_us && self.open_until_us.compare_exchange(until_us, next_us, order, order).is_ok()
    }

    /// Notes how a call went.
    pub(super) fn note(&self, config: BreakerConfig, now_us: i64, worked: bool) {
        if worked {
            // Plain loads first: the line stays shared between cores while all is well.
            if self.in_a_row.load(Ordering::Relaxed) != 0 {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            if self.open_until_us.load(Ordering::Relaxed) != 0 {
                self.open_until_us.store(0, Ordering::Relaxed);
            }
            return;
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if config.after > 0 && in_a_row >= config.after {
            let until_us = now_us + config.cool_down.as_micros() as i64;
            self.open_until_us.store(until_us.max(1), Ordering::Relaxed);
        }
    }

    /// Whether it is not closed.
    pub(super) fn is_open(&self) -> bool {
        self.open_until_us.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_faults_in_a_row_and_one_call_tries_after_the_cool_down() {
        let config = BreakerConfig { after: 2, cool_down: Duration::from_micros(100) };
        let breaker = Breaker::default();
        breaker.note(config, 0, false);
        breaker.note(config, 1, true);
        breaker.note(config, 2, false);
        assert!(breaker.lets(config, 3), "a call that worked in between starts the count anew");
        breaker.note(config, 3, false);
        assert!(!breaker.lets(config, 102));
        assert!(breaker.lets(config, 103), "half-open, it lets one call try");
        assert!(!breaker.lets(config, 104), "and no second beside it");
        breaker.note(config, 105, false);
        assert!(!breaker.lets(config, 204), "which failed, so it is open again from then on");
        assert!(breaker.lets(config, 205));
        breaker.note(config, 206, true);
        assert!(breaker.lets(config, 207) && !breaker.is_open(), "which worked, so it is closed");
    }

    #[test]
    fn a_try_that_is_never_told_of_does_not_keep_it_open_for_good() {
        let config = BreakerConfig { after: 1, cool_down: Duration::from_micros(10) };
        let breaker = Breaker::default();
        breaker.note(config, 0, false);
        assert!(breaker.lets(config, 10));
        assert!(!breaker.lets(config, 19));
        assert!(breaker.lets(config, 20));
    }
}
