//! The breaker of one module of one release: after some faults in a row it is not asked for a while, then asked again.

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

/// Open or closed. Times are microseconds of the monotone clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: AtomicU32,
    open_until_us: AtomicI64,
}

// === impl Breaker ===

impl Breaker {
    /// Whether the module is not to be asked at `now_us`.
    pub(super) fn is_open(&self, now_us: i64) -> bool {
        now_us < self.open_until_us.load(Ordering::Relaxed)
    }

    /// Notes how a call went.
    pub(super) fn note(&self, config: BreakerConfig, now_us: i64, worked: bool) {
        if worked {
            // A plain load first: the line stays shared between cores while all is well.
            if self.in_a_row.load(Ordering::Relaxed) != 0 {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            return;
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if config.after > 0 && in_a_row >= config.after {
            self.open_until_us.store(now_us + config.cool_down.as_micros() as i64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_faults_in_a_row_and_tries_again_after_the_cool_down() {
        let config = BreakerConfig { after: 2, cool_down: Duration::from_micros(100) };
        let breaker = Breaker::default();
        breaker.note(config, 0, false);
        breaker.note(config, 1, true);
        breaker.note(config, 2, false);
        assert!(!breaker.is_open(3), "a call that worked in between starts the count anew");
        breaker.note(config, 3, false);
        assert!(breaker.is_open(102));
        assert!(!breaker.is_open(103));
        breaker.note(config, 103, false);
        assert!(breaker.is_open(104), "one more fault after the cool-down opens it at once");
    }
}
