//! What the feature flow counts. Owns names and labels; handles are resolved once a view, never by label on the way of an
//! update.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

mod sights;

pub(crate) use sights::SightMetrics;

/// The counters of all views.
#[derive(Debug, Clone)]
pub struct Metrics {
    applied: Family<AppliedLabels, Counter>,
    rows_refused: Family<RowLabels, Counter>,
    values_refused: Family<ValueLabels, Counter>,
    resyncs: Family<ResyncLabels, Counter>,
    interruptions: Family<InterruptionLabels, Counter>,
    freshness_us: Family<ViewLabel, Histogram, fn() -> Histogram>,
    delivery_us: Family<ViewLabel, Histogram, fn() -> Histogram>,
    store_failures: Family<StoreLabel, Counter>,
    sights: sights::Sights,
}

/// The counters of one view.
#[derive(Debug)]
pub(crate) struct ViewMetrics {
    pub(crate) puts: Counter,
    pub(crate) deletes: Counter,
    pub(crate) refused_key: Counter,
    pub(crate) refused_json: Counter,
    pub(crate) refused_binary: Counter,
    pub(crate) refused_schema: Counter,
    pub(crate) refused_size: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) values_wrong: Counter,
    pub(crate) values_cut: Counter,
    pub(crate) values_unknown: Counter,
    pub(crate) freshness_us: Histogram,
    pub(crate) delivery_us: Histogram,
    all: Metrics,
    view: String,
}

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Applied {
    Put,
    Delete,
}

/// Why a row was refused as a whole. The old one stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RowRefusal {
    Key,
    Json,
    /// A compact row that is broken.
    Binary,
    /// A compact row of another schema.
    Schema,
    Size,
    Full,
}

/// Why a value of a row does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ValueRefusal {
    Type,
    /// The end of a list that is longer than it may be.
    Cut,
    Unknown,
}

/// Why all rows of a view are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResyncCause {
    /// There was no complete copy yet.
    First,
    /// The bucket was deleted and made anew.
    Recreated,
    /// The stream ends before the position that was reached.
    SequenceLost,
    /// The stream begins behind the position that was reached.
    Trimmed,
    /// The node was away for longer than the marks of deletes live.
    Away,
    /// The bucket holds fewer keys than the view entities, without a word about the rest.
    Vanished,
    /// A release brought another schema, and the copy on disk could not fill it.
    Schema,
    /// Rows were refused for limits, or for a schema, that are others now.
    Limits,
    /// More changed since than it is worth reading, or changes passed by: what an on-demand view holds is fetched again.
    Behind,
}

/// Why a feed had to start again where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Interruption {
    /// The connection changed.
    Link,
    /// The server's count of messages went on without ours.
    Gap,
    /// The consumer stopped to deliver.
    Stalled,
    /// A request or the delivery failed.
    Error,
}

/// What went wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StoreFailure {
    /// It would not open and was moved aside.
    MovedAside,
    /// Rows could not be read from it.
    Read,
    /// Rows could not be written to it.
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViewLabel {
    view: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppliedLabels {
    view: String,
    op: Applied,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    view: String,
    cause: RowRefusal,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ValueLabels {
    view: String,
    cause: ValueRefusal,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResyncLabels {
    view: String,
    cause: ResyncCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InterruptionLabels {
    view: String,
    cause: Interruption,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabel {
    failure: StoreFailure,
}

fn freshness_histogram() -> Histogram {
    // 50 µs to twenty days: an event may have happened long before somebody wrote the row.
    Histogram::new(exponential_buckets(50.0, 2.0, 36))
}

fn delivery_histogram() -> Histogram {
    // 50 µs to two minutes and beyond, two buckets to each doubling.
    Histogram::new(exponential_buckets(50.0, std::f64::consts::SQRT_2, 44))
}

// === impl Metrics ===

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            applied: Family::default(),
            rows_refused: Family::default(),
            values_refused: Family::default(),
            resyncs: Family::default(),
            interruptions: Family::default(),
            freshness_us: Family::new_with_constructor(freshness_histogram as fn() -> Histogram),
            delivery_us: Family::new_with_constructor(delivery_histogram as fn() -> Histogram),
            store_failures: Family::default(),
            sights: sights::Sights::new(),
        }
    }

    /// Registers everything under `selvedge_features_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("selvedge_features");
        registry.register("rows_applied", "Rows put or deleted", self.applied.clone());
        registry.register("rows_refused", "Rows refused as a whole; the old row stays", self.rows_refused.clone());
        registry.register("values_refused", "Values left out of a row", self.values_refused.clone());
        registry.register("resyncs", "Times all rows of a view were read again", self.resyncs.clone());
        registry.register("interruptions", "Times a feed started again where it was", self.interruptions.clone());
        let freshness = "Microseconds from the event of a row (its _time, else the core's) until decisions use it";
        registry.register("freshness_us", freshness, self.freshness_us.clone());
        let delivery = "Microseconds from the core's time of a row until decisions use it";
        registry.register("delivery_us", delivery, self.delivery_us.clone());
        registry.register("store_failures", "Failures of the store on disk", self.store_failures.clone());
        self.sights.register(registry);
    }

    /// The counters of a view that is on-demand.
    pub(crate) fn sights(&self, view: &str) -> SightMetrics {
        self.sights.view(view)
    }

    pub(crate) fn view(&self, view: &str) -> Arc<ViewMetrics> {
        let label = || view.to_owned();
        let refused = |cause| self.rows_refused.get_or_create_owned(&RowLabels { view: label(), cause });
        let value = |cause| self.values_refused.get_or_create_owned(&ValueLabels { view: label(), cause });
        let applied = |op| self.applied.get_or_create_owned(&AppliedLabels { view: label(), op });
        Arc::new(ViewMetrics {
            puts: applied(Applied::Put),
            deletes: applied(Applied::Delete),
            refused_key: refused(RowRefusal::Key),
            refused_json: refused(RowRefusal::Json),
            refused_binary: refused(RowRefusal::Binary),
            refused_schema: refused(RowRefusal::Schema),
            refused_size: refused(RowRefusal::Size),
            refused_full: refused(RowRefusal::Full),
            values_wrong: value(ValueRefusal::Type),
            values_cut: value(ValueRefusal::Cut),
            values_unknown: value(ValueRefusal::Unknown),
            freshness_us: self.freshness_us.get_or_create_owned(&ViewLabel { view: label() }),
            delivery_us: self.delivery_us.get_or_create_owned(&ViewLabel { view: label() }),
            all: self.clone(),
            view: label(),
        })
    }

    pub(crate) fn store_failed(&self, failure: StoreFailure) {
        self.store_failures.get_or_create(&StoreLabel { failure }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

// === impl ViewMetrics ===

impl ViewMetrics {
    pub(crate) fn resync(&self, cause: ResyncCause) {
        self.all.resyncs.get_or_create(&ResyncLabels { view: self.view.clone(), cause }).inc();
    }

    pub(crate) fn interrupted(&self, cause: Interruption) {
        self.all.interruptions.get_or_create(&InterruptionLabels { view: self.view.clone(), cause }).inc();
    }

    pub(crate) fn store_failed(&self, failure: StoreFailure) {
        self.all.store_failed(failure);
    }
}

// === labels ===

impl EncodeLabelValue for Applied {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for RowRefusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Key => "key",
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Schema => "schema",
            Self::Size => "size",
            Self::Full => "full",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for ValueRefusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Type => "type",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for ResyncCause {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::First => "first",
            Self::Recreated => "recreated",
            Self::SequenceLost => "sequence_lost",
            Self::Trimmed => "trimmed",
            Self::Away => "away",
            Self::Vanished => "vanished",
            Self::Schema => "schema",
            Self::Limits => "limits",
            Self::Behind => "behind",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Interruption {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Link => "link",
            Self::Gap => "gap",
            Self::Stalled => "stalled",
            Self::Error => "error",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for StoreFailure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::MovedAside => "moved_aside",
            Self::Read => "read",
            Self::Write => "write",
        }
        .encode(encoder)
    }
}
