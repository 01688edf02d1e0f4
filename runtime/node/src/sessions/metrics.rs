//! What the session flow counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug)]
pub(super) struct Counters {
    applied: Counter,
    forgotten: Counter,
    known: Gauge<u64, AtomicU64>,
    sent: Counter,
    unsent: Gauge<u64, AtomicU64>,
    came: Counter,
    unreadable: Counter,
    on_the_way: Histogram,
}

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        Self {
            applied: Counter::default(),
            forgotten: Counter::default(),
            known: Gauge::default(),
            sent: Counter::default(),
            unsent: Gauge::default(),
            came: Counter::default(),
            unreadable: Counter::default(),
            // 1 ms to 65 s.
            on_the_way: Histogram::new(exponential_buckets(0.001, 2.0, 17)),
        }
    }
}

impl Counters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "selvedge_session_events",
            "Events applied to sessions, once for each session view",
            self.applied.clone(),
        );
        registry.register(
            "selvedge_sessions_forgotten",
            "Sessions forgotten because sessions.max was reached",
            self.forgotten.clone(),
        );
        registry.register("selvedge_sessions", "Sessions known, of all session views together", self.known.clone());
        registry.register("selvedge_session_slots_sent", "Slots of sessions that the core took", self.sent.clone());
        registry.register(
            "selvedge_session_slots_unsent",
            "Slots of sessions that wait to be sent",
            self.unsent.clone(),
        );
        registry.register(
            "selvedge_session_slots_came",
            "Slots of sessions from other runs and nodes",
            self.came.clone(),
        );
        registry.register(
            "selvedge_session_slots_unreadable",
            "Slots of sessions that this program cannot read",
            self.unreadable.clone(),
        );
        registry.register(
            "selvedge_session_travel_seconds",
            "From an event on another node to where decisions see it here",
            self.on_the_way.clone(),
        );
    }

    pub(super) fn sent(&self) {
        self.sent.inc();
    }

    pub(super) fn unsent(&self, slots: usize) {
        self.unsent.set(slots as u64);
    }

    /// A slot came whose last event was received so many microseconds ago.
    pub(super) fn came(&self, age_us: i64) {
        self.came.inc();
        self.on_the_way.observe(age_us.max(0) as f64 / 1e6);
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }

    pub(super) fn applied(&self, events: u64, forgotten: u64, known: usize) {
        self.applied.inc_by(events);
        self.forgotten.inc_by(forgotten);
        self.known.set(known as u64);
    }
}
