//! The release flow's counters. Owns their names and labels; whoever moves them calls the methods here.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::status::RefusalCode;

/// Upper bounds of the staging time's buckets, in seconds.
const STAGE_SECONDS: [f64; 9] = [0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// The release flow's counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(super) swaps: Counter,
    pub(super) taken_back: Counter,
    pub(super) refused: Family<RefusedLabels, Counter>,
    pub(super) stage_seconds: Histogram,
    pub(super) counter: Gauge<u64, AtomicU64>,
    pub(super) since: Gauge,
    pub(super) canary_share_bp: Gauge<u64, AtomicU64>,
    pub(super) reports_failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusedLabels {
    pub(super) code: RefusalCode,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self {
            swaps: Counter::default(),
            taken_back: Counter::default(),
            refused: Family::default(),
            stage_seconds: Histogram::new(STAGE_SECONDS),
            counter: Gauge::default(),
            since: Gauge::default(),
            canary_share_bp: Gauge::default(),
            reports_failed: Counter::default(),
        }
    }
}

impl Metrics {
    /// Makes the counters known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let sub = registry.sub_registry_with_prefix("selvedge_release");
        sub.register("swaps", "Releases that began to run, the first after a start among them", self.swaps.clone());
        let taken_back = "Releases this node took back by itself, canaries among them";
        sub.register("taken_back", taken_back, self.taken_back.clone());
        let share = "The share of subjects that the canary decides for, in hundredths of a percent; 0 without one";
        sub.register("canary_share_bp", share, self.canary_share_bp.clone());
        sub.register("refused", "Tries to follow the channel that failed, by reason", self.refused.clone());
        sub.register("stage_seconds", "Time to make a release ready", self.stage_seconds.clone());
        sub.register("channel_counter", "The highest counter seen of the channel", self.counter.clone());
        sub.register("since_timestamp_seconds", "When the running release began to run", self.since.clone());
        sub.register("reports_failed", "Reports of this node that did not reach the core", self.reports_failed.clone());
    }
}

impl EncodeLabelValue for RefusalCode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}
