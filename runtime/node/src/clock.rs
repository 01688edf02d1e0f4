//! The node's clock: wall time that never goes back while the node runs. Everything that stamps a time asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_decision::TimeUs;

/// Wall time in microseconds UTC, never below what it said before. Cheap to clone: all clones are one clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    latest_us: Arc<AtomicI64>,
}

// === impl Clock ===

impl Clock {
    /// A clock that starts at the system's time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Microseconds since 1970-01-01T00:00:00Z. When the system's clock is set back, it stands still until that catches up.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    pub fn now_us(&self) -> TimeUs {
        let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        self.latest_us.fetch_max(wall_us, Ordering::Relaxed).max(wall_us)
    }
}
