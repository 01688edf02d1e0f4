//! What on-demand views count: how decisions found what they asked for, what was fetched, what went.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::ViewLabel;

/// The counters of all on-demand views.
#[derive(Debug, Clone)]
pub(super) struct Sights {
    reads: Family<Labels, Counter>,
    fetches: Family<Labels, Counter>,
    waits: Family<Labels, Counter>,
    evictions: Family<ViewLabel, Counter>,
    passed_by: Family<ViewLabel, Counter>,
    fetch_us: Family<ViewLabel, Histogram, fn() -> Histogram>,
}

/// The counters of one on-demand view.
#[derive(Debug)]
pub(crate) struct SightMetrics {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) negatives: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) busy: Counter,
    pub(crate) fetched_row: Counter,
    pub(crate) fetched_none: Counter,
    pub(crate) fetched_failed: Counter,
    pub(crate) waits_served: Counter,
    pub(crate) waits_timed_out: Counter,
    pub(crate) evictions: Counter,
    pub(crate) passed_by: Counter,
    pub(crate) fetch_us: Histogram,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    /// Read: held.
    Hit,
    /// Read: not held, and being fetched from now on.
    Miss,
    /// Read: the core is known not to have it.
    Negative,
    /// Read: not held, and the core is away.
    Unreachable,
    /// Read: not held, and as many are being fetched as may be.
    Busy,
    /// Fetched: there is a row.
    Row,
    /// Fetched: there is none.
    None,
    /// Not fetched: the core did not answer, or with an error.
    Failed,
    /// Waited for, and it came.
    Served,
    /// Waited for in vain.
    TimedOut,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    view: String,
    outcome: Outcome,
}

// === impl Sights ===

impl Sights {
    pub(super) fn new() -> Self {
        // 100 µs to three seconds, two buckets to each doubling.
        let histogram = || Histogram::new(exponential_buckets(100.0, std::f64::consts::SQRT_2, 30));
        Self {
            reads: Family::default(),
            fetches: Family::default(),
            waits: Family::default(),
            evictions: Family::default(),
            passed_by: Family::default(),
            fetch_us: Family::new_with_constructor(histogram as fn() -> Histogram),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("reads", "Reads of an on-demand view, by what they found", self.reads.clone());
        registry.register("fetches", "Rows asked of the core at first sight", self.fetches.clone());
        registry.register("fetch_us", "Microseconds until the core answered such a fetch", self.fetch_us.clone());
        registry.register("waits", "Rows that a decision waited for", self.waits.clone());
        registry.register("evictions", "Rows that went to make room for others", self.evictions.clone());
        let passed_by = "Changes at the core of rows that are not held";
        registry.register("changes_passed_by", passed_by, self.passed_by.clone());
    }

    pub(super) fn view(&self, view: &str) -> SightMetrics {
        let of = |family: &Family<Labels, Counter>, outcome| {
            family.get_or_create_owned(&Labels { view: view.to_owned(), outcome })
        };
        let label = || ViewLabel { view: view.to_owned() };
        SightMetrics {
            hits: of(&self.reads, Outcome::Hit),
            misses: of(&self.reads, Outcome::Miss),
            negatives: of(&self.reads, Outcome::Negative),
            unreachable: of(&self.reads, Outcome::Unreachable),
            busy: of(&self.reads, Outcome::Busy),
            fetched_row: of(&self.fetches, Outcome::Row),
            fetched_none: of(&self.fetches, Outcome::None),
            fetched_failed: of(&self.fetches, Outcome::Failed),
            waits_served: of(&self.waits, Outcome::Served),
            waits_timed_out: of(&self.waits, Outcome::TimedOut),
            evictions: self.evictions.get_or_create_owned(&label()),
            passed_by: self.passed_by.get_or_create_owned(&label()),
            fetch_us: self.fetch_us.get_or_create_owned(&label()),
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Negative => "negative",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Row => "row",
            Self::None => "none",
            Self::Failed => "failed",
            Self::Served => "served",
            Self::TimedOut => "timed_out",
        }
        .encode(encoder)
    }
}
