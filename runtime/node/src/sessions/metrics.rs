//! What the session flow counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge as Measured};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Sessions;
use crate::features::ViewStatus;

/// A name, its help, and its value for one view.
type Gauge = (&'static str, &'static str, fn(&ViewStatus) -> i64);

#[derive(Debug)]
pub(super) struct Counters {
    applied: Counter,
    forgotten: Counter,
    entities_forgotten: Counter,
    known: Measured<u64, AtomicU64>,
    sent: Counter,
    unsent: Measured<u64, AtomicU64>,
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
            entities_forgotten: Counter::default(),
            known: Measured::default(),
            sent: Counter::default(),
            unsent: Measured::default(),
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
        registry.register(
            "selvedge_aggregates_forgotten",
            "People, items and pairs forgotten because features.max_entities or features.max_view was reached",
            self.entities_forgotten.clone(),
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

    /// The counter of entities that the core counts and that are forgotten here.
    pub(super) fn forgotten(&self) -> Counter {
        self.entities_forgotten.clone()
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

/// How the views are that the core counts.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Sessions);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.0.status();
        let gauges: [Gauge; 3] = [
            ("selvedge_aggregates_entities", "People, items and pairs held", |view| view.entities as i64),
            ("selvedge_aggregates_bytes", "Bytes of their slots", |view| view.bytes as i64),
            ("selvedge_aggregates_lag_ms", "Milliseconds since the core had counted all; -1 for never", |view| {
                view.lag_ms.map_or(-1, |lag_ms| lag_ms as i64)
            }),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &status {
                ConstGauge::new(value(view)).encode(family.encode_family(&[("view", view.view.as_str())])?)?;
            }
        }
        Ok(())
    }
}
