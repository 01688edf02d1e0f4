//! What the session flow counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Default)]
pub(super) struct Counters {
    applied: Counter,
    forgotten: Counter,
    known: Gauge<u64, AtomicU64>,
}

// === impl Counters ===

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
    }

    pub(super) fn applied(&self, events: u64, forgotten: u64, known: usize) {
        self.applied.inc_by(events);
        self.forgotten.inc_by(forgotten);
        self.known.set(known as u64);
    }
}
