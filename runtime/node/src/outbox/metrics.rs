//! What the outbox counts. For each lane, at any moment: accepted = stored + refused + dropped + resting, where `resting`
//! is what waits in memory for the next group. Every handle is made once; the hot path only adds.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::status::{LaneStatus, OutboxStatus};
use super::{Lane, Shared};
use crate::events::RejectCode;

/// Why an item was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The lane had all its bytes on disk, or too much waited in memory.
    Full,
    /// The disk failed.
    Failed,
    /// It does not fit into any block.
    TooLarge,
}

/// Why a block was sent again, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// No acknowledgement in time; the core may have it.
    Timeout,
    /// The core answered with an error, or there is no stream.
    Refused,
    /// The link broke.
    Link,
    /// The segment could not be read.
    Disk,
}

/// One lane's counters.
#[derive(Debug)]
pub(super) struct LaneMetrics {
    pub(super) accepted: Counter,
    pub(super) stored: Counter,
    pub(super) refused: [Counter; Cause::ALL.len()],
    pub(super) dropped: [Counter; Cause::ALL.len()],
    pub(super) inputs_dropped: [Counter; Cause::ALL.len()],
    pub(super) blocks: Counter,
    pub(super) stored_bytes: Counter,
    pub(super) published: Counter,
    pub(super) setbacks: [Counter; Setback::ALL.len()],
    pub(super) lost_bytes: Counter,
}

/// The outbox's counters and gauges, to be registered.
#[derive(Debug, Clone)]
pub struct Metrics(pub(super) Arc<Shared>);

/// The outbox's counters.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) lanes: [LaneMetrics; Lane::ALL.len()],
    rejected: [Counter; RejectCode::ALL.len()],
    pub(super) duplicates: Counter,
    pub(super) detached: Counter,
    pub(super) group_seconds: Histogram,
    pub(super) publish_seconds: Histogram,
    pub(super) sync_failures: Counter,
    families: Families,
}

/// The families that the lanes' counters belong to.
#[derive(Debug, Default)]
struct Families {
    accepted: Family<LaneLabel, Counter>,
    stored: Family<LaneLabel, Counter>,
    refused: Family<CauseLabels, Counter>,
    dropped: Family<CauseLabels, Counter>,
    inputs_dropped: Family<CauseLabels, Counter>,
    blocks: Family<LaneLabel, Counter>,
    stored_bytes: Family<LaneLabel, Counter>,
    published: Family<LaneLabel, Counter>,
    setbacks: Family<CauseLabels, Counter>,
    lost_bytes: Family<LaneLabel, Counter>,
    rejected: Family<CodeLabel, Counter>,
}

type LaneLabel = [(&'static str, &'static str); 1];
type CodeLabel = [(&'static str, &'static str); 1];
type CauseLabels = [(&'static str, &'static str); 2];

/// What is read from the outbox when somebody asks, rather than counted.
struct Gauges(Arc<Shared>);

// === impl Cause ===

impl Cause {
    /// Every cause, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Full, Self::Failed, Self::TooLarge];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
        }
    }
}

// === impl Setback ===

impl Setback {
    /// Every setback, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Refused, Self::Link, Self::Disk];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Link => "link",
            Self::Disk => "disk",
        }
    }
}

// === impl LaneMetrics ===

impl LaneMetrics {
    pub(super) fn refused(&self, cause: Cause) -> &Counter {
        &self.refused[cause as usize]
    }

    pub(super) fn dropped(&self, cause: Cause) -> &Counter {
        &self.dropped[cause as usize]
    }

    pub(super) fn inputs_dropped(&self, cause: Cause) -> &Counter {
        &self.inputs_dropped[cause as usize]
    }

    pub(super) fn setback(&self, setback: Setback) -> &Counter {
        &self.setbacks[setback as usize]
    }
}

/// The sum over all causes.
pub(super) fn total(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}

// === impl Metrics ===

impl Metrics {
    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        registry.register_collector(Box::new(Gauges(Arc::clone(&self.0))));
    }
}

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        let families = Families::default();
        Self {
            lanes: Lane::ALL.map(|lane| families.lane(lane)),
            rejected: families.codes(),
            duplicates: Counter::default(),
            detached: Counter::default(),
            group_seconds: Histogram::new([1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0]),
            publish_seconds: Histogram::new([2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0]),
            sync_failures: Counter::default(),
            families,
        }
    }
}

impl Counters {
    pub(super) fn lane(&self, lane: Lane) -> &LaneMetrics {
        &self.lanes[lane as usize]
    }

    pub(super) fn rejected(&self, code: RejectCode) -> &Counter {
        &self.rejected[code as usize]
    }

    fn register(&self, registry: &mut Registry) {
        let Families {
            accepted,
            stored,
            refused,
            dropped,
            inputs_dropped,
            blocks,
            stored_bytes,
            published,
            setbacks,
            lost_bytes,
            rejected,
        } = &self.families;
        let help = "Events and records handed to the outbox; the sum of stored, refused, dropped and resting";
        registry.register("selvedge_outbox_accepted", help, accepted.clone());
        registry.register("selvedge_outbox_stored", "Events and records on disk", stored.clone());
        let help = "Events not taken, by cause; their senders were told";
        registry.register("selvedge_outbox_refused", help, refused.clone());
        registry.register("selvedge_outbox_dropped", "Records given up, by cause", dropped.clone());
        let help = "Records that lost their inputs, by cause";
        registry.register("selvedge_outbox_inputs_dropped", help, inputs_dropped.clone());
        registry.register("selvedge_outbox_blocks", "Blocks on disk", blocks.clone());
        registry.register("selvedge_outbox_stored_bytes", "Bytes of blocks on disk", stored_bytes.clone());
        let help = "Events and records that the core acknowledged";
        registry.register("selvedge_outbox_published", help, published.clone());
        let help = "Times a lane went back to its first unacknowledged block, by cause";
        registry.register("selvedge_outbox_setbacks", help, setbacks.clone());
        registry.register("selvedge_outbox_lost_bytes", "Bytes of damaged segments stepped over", lost_bytes.clone());
        let help = "Events not taken for what is wrong with them, by code; their senders were told";
        registry.register("selvedge_outbox_rejected", help, rejected.clone());
        let help = "Events not stored because copies of them are, by their message ids";
        registry.register("selvedge_outbox_duplicates", help, self.duplicates.clone());
        let help = "Events taken without the decision that they named, because its token's time was over; their senders were told";
        registry.register("selvedge_outbox_detached", help, self.detached.clone());
        let help = "Time of one group commit, fdatasync included";
        registry.register("selvedge_outbox_group_seconds", help, self.group_seconds.clone());
        let help = "Time from sending a block to its acknowledgement";
        registry.register("selvedge_outbox_publish_seconds", help, self.publish_seconds.clone());
        let help = "Group commits that the disk failed";
        registry.register("selvedge_outbox_sync_failures", help, self.sync_failures.clone());
    }
}

// === impl Families ===

impl Families {
    fn lane(&self, lane: Lane) -> LaneMetrics {
        let lane = ("lane", lane.as_str());
        let one = |family: &Family<LaneLabel, Counter>| family.get_or_create_owned(&[lane]);
        let causes = |family: &Family<CauseLabels, Counter>| {
            Cause::ALL.map(|cause| family.get_or_create_owned(&[lane, ("cause", cause.as_str())]))
        };
        LaneMetrics {
            accepted: one(&self.accepted),
            stored: one(&self.stored),
            refused: causes(&self.refused),
            dropped: causes(&self.dropped),
            inputs_dropped: causes(&self.inputs_dropped),
            blocks: one(&self.blocks),
            stored_bytes: one(&self.stored_bytes),
            published: one(&self.published),
            setbacks: Setback::ALL.map(|cause| self.setbacks.get_or_create_owned(&[lane, ("cause", cause.as_str())])),
            lost_bytes: one(&self.lost_bytes),
        }
    }

    /// One for each code: those that nobody caused yet are 0.
    fn codes(&self) -> [Counter; RejectCode::ALL.len()] {
        RejectCode::ALL.map(|code| self.rejected.get_or_create_owned(&[("code", code.as_str())]))
    }
}

// === impl Gauges ===

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = OutboxStatus::of(&self.0);
        let mut gauge = |name: &str, help: &str, of: fn(&LaneStatus) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for lane in &status.lanes {
                ConstGauge::new(of(lane)).encode(family.encode_family(&[("lane", lane.lane.as_str())])?)?;
            }
            Ok(())
        };
        let help = "Bytes on disk that the core has not acknowledged";
        gauge("selvedge_outbox_backlog_bytes", help, |lane| lane.backlog_bytes as f64)?;
        gauge("selvedge_outbox_limit_bytes", "Bytes the lane may have on disk", |lane| lane.limit_bytes as f64)?;
        gauge("selvedge_outbox_resting", "Events and records in memory", |lane| lane.resting as f64)?;
        let help = "Age of the oldest block that the core has not acknowledged, 0 for none";
        gauge("selvedge_outbox_oldest_seconds", help, |lane| lane.oldest_age_ms.unwrap_or(0) as f64 / 1000.0)?;
        let help = "Message ids by which a second copy is recognised";
        let family = encoder.encode_descriptor("selvedge_outbox_remembered_ids", help, None, MetricType::Gauge)?;
        ConstGauge::new(status.remembered_ids as f64).encode(family)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}
