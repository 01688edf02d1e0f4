//! A sample a second of what the node did, for the last ten minutes. Owns what a sample is, and their form as columns.

use std::collections::VecDeque;

use selvedge_decision::Reason;
use serde::Serialize;

use crate::outbox::{Lane, OutboxStatus};
use crate::releases::Counts;

/// Samples that are kept: ten minutes.
const MOST: usize = 600;

/// What the node did in about a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// When it was taken, milliseconds since 1970.
    pub time_ms: i64,
    /// What all releases did.
    pub all: Part,
    /// The running release's part.
    pub running: Part,
    /// The canary's, where there is one.
    pub canary: Option<Part>,
    /// Decisions by reason since the node started, in the order of `reasons`.
    pub reasons: [u64; Reason::ALL.len()],
    /// Whether the core could be reached.
    pub connected: bool,
    /// Events and rewards taken since the node started.
    pub events: u64,
    /// Events and rewards refused since then.
    pub refused: u64,
    /// Bytes that the core has not acknowledged, by lane: rewards, decisions, events.
    pub backlog: [u64; Lane::ALL.len()],
    /// The largest lag of the views, in milliseconds; none when one was never current.
    pub lag_ms: Option<u64>,
}

/// What one release did in about a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Part {
    /// Decisions.
    pub decisions: u64,
    /// Of them, those of which a module did not answer rightly.
    pub faults: u64,
    /// Of them, those that fell back.
    pub fallbacks: u64,
    /// What half of them took at most, in microseconds.
    pub p50_us: u64,
    /// The same of 90 in 100.
    pub p90_us: u64,
    /// The same of 99 in 100.
    pub p99_us: u64,
}

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub struct Samples {
    kept: VecDeque<Sample>,
    /// Samples in all.
    taken: u64,
}

// === impl Part ===

impl From<&Counts> for Part {
    fn from(counts: &Counts) -> Self {
        Self {
            decisions: counts.decisions(),
            faults: counts.faults,
            fallbacks: counts.fallbacks,
            p50_us: counts.quantile_us(0.5),
            p90_us: counts.quantile_us(0.9),
            p99_us: counts.quantile_us(0.99),
        }
    }
}

// === impl Sample ===

impl Sample {
    /// With what the outbox says.
    #[must_use]
    pub fn with_outbox(mut self, outbox: &OutboxStatus) -> Self {
        let events = || outbox.lanes.iter().filter(|lane| lane.lane != Lane::Decisions);
        self.events = events().map(|lane| lane.stored).sum();
        self.refused = events().map(|lane| lane.refused).sum();
        for (bytes, lane) in self.backlog.iter_mut().zip(&outbox.lanes) {
            *bytes = lane.backlog_bytes;
        }
        self
    }
}

// === impl Samples ===

impl Samples {
    /// Takes one more.
    pub fn add(&mut self, sample: Sample) {
        if self.kept.len() == MOST {
            self.kept.pop_front();
        }
        self.taken += 1;
        self.kept.push_back(sample);
    }

    /// All of them, the oldest first, and how many there were in all.
    pub fn all(&self) -> (Vec<Sample>, u64) {
        (self.kept.iter().cloned().collect(), self.taken)
    }

    /// The last one, when there is one behind number `after`; and its number.
    pub fn last(&self, after: u64) -> Option<(Sample, u64)> {
        self.kept.back().filter(|_| self.taken > after).map(|last| (last.clone(), self.taken))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;

    fn sample(time_ms: i64) -> Sample {
        let part = Part::from(&Counts::of(200, Duration::from_micros(3)));
        Sample {
            time_ms,
            all: part,
            running: part,
            canary: None,
            reasons: [0; 6],
            connected: true,
            events: 0,
            refused: 0,
            backlog: [0; 3],
            lag_ms: None,
        }
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut samples = Samples::default();
        (0..700).for_each(|second| samples.add(sample(second)));
        let (all, taken) = samples.all();
        assert_eq!((all.len(), all[0].time_ms, taken), (MOST, 100, 700));
        assert_eq!(samples.last(699).map(|(last, number)| (last.time_ms, number)), Some((699, 700)));
        assert!(samples.last(700).is_none());
        assert_eq!((all[0].all.decisions, all[0].all.p50_us, all[0].all.p99_us), (200, 3, 3));
    }
}
