//! What the decide flow counts. Every handle is made once; a decision only adds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use selvedge_decision::{Fault, Reason, Record};
use selvedge_host::Host;

use super::page::TakenRecords;

/// Counters of decisions.
#[derive(Debug, Clone)]
pub struct Metrics {
    by_reason: Family<ReasonLabel, Counter>,
    by_fault: Family<FaultLabel, Counter>,
    reasons: [Counter; Reason::ALL.len()],
    faults: [Counter; Fault::ALL.len()],
    late_views: Counter,
    old_values: Counter,
    seconds: Histogram,
    page_records: Family<OutcomeLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabel {
    fault: &'static str,
}

/// What became of a record: `accepted`, `duplicate`, or the code of why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let by_reason = Family::<ReasonLabel, Counter>::default();
        let by_fault = Family::<FaultLabel, Counter>::default();
        let buckets = [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1];
        Self {
            reasons: Reason::ALL
                .map(|reason| by_reason.get_or_create(&ReasonLabel { reason: reason.as_str() }).clone()),
            faults: Fault::ALL.map(|fault| by_fault.get_or_create(&FaultLabel { fault: fault.as_str() }).clone()),
            by_reason,
            by_fault,
            late_views: Counter::default(),
            old_values: Counter::default(),
            seconds: Histogram::new(buckets),
            page_records: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("selvedge_decisions", "Decisions by reason", self.by_reason.clone());
        registry.register("selvedge_faults", "Module calls that did not answer, by fault", self.by_fault.clone());
        let late = "Views that were late when a decision read them";
        registry.register("selvedge_decide_late_views", late, self.late_views.clone());
        let old = "Values that were older than their ttl when a decision read them";
        registry.register("selvedge_decide_old_values", old, self.old_values.clone());
        registry.register(
            "selvedge_decide_seconds",
            "Time from a parsed request to its decision",
            self.seconds.clone(),
        );
        let records = "Records of decisions that pages made, by what became of them";
        registry.register("selvedge_page_records", records, self.page_records.clone());
    }

    /// Decisions so far, in the order of [`Reason::ALL`].
    pub fn by_reason(&self) -> [u64; Reason::ALL.len()] {
        // A counter stands where its reason does as a number.
        Reason::ALL.map(|reason| self.reasons[reason as usize].get())
    }

    pub(super) fn decided(&self, record: &Record, (late, old): (u32, u32), took: Duration) {
        if late > 0 {
            self.late_views.inc_by(u64::from(late));
        }
        if old > 0 {
            self.old_values.inc_by(u64::from(old));
        }
        self.reasons[record.reason as usize].inc();
        for fault in &record.faults {
            self.faults[fault.fault as usize].inc();
        }
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn took_page_records(&self, taken: &TakenRecords) {
        let add = |outcome, count| _ = self.page_records.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
        add("accepted", taken.accepted);
        add("duplicate", taken.duplicates);
        taken.rejected.iter().for_each(|rejected| add(rejected.code, 1));
    }
}

/// What loading modules came to, asked of the host when somebody looks.
struct Loading(Arc<Host>);

/// Makes what the host counts visible at `/metrics`.
pub fn register_host(host: &Arc<Host>, registry: &mut Registry) {
    registry.register_collector(Box::new(Loading(Arc::clone(host))));
}

impl fmt::Debug for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading").finish_non_exhaustive()
    }
}

impl Collector for Loading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        for (name, help, value) in [
            ("selvedge_modules_compiled", "Modules compiled", counts.compiled),
            ("selvedge_modules_cached", "Modules whose code came from the cache", counts.cache_hits),
            ("selvedge_modules_cache_refused", "Cache files that were torn or foreign", counts.cache_refused),
            ("selvedge_modules_cache_evicted", "Cache files removed for want of room", counts.cache_evicted),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(family)?;
        }
        Ok(())
    }
}
