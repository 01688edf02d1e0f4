//! How the outbox is, for `/readyz`, `status` and the console. Reads; moves nothing.

use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::Serialize;

use super::metrics::total;
use super::{Alarm, Lane, Shared};

/// How the outbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxStatus {
    /// The node.
    pub node: NodeId,
    /// Its run.
    #[serde(serialize_with = "as_text")]
    pub epoch: Epoch,
    /// Why the last group could not be stored, while that is so.
    pub failing: Option<Trouble>,
    /// Why the last block could not be published, while that is so; of several lanes, the one that is stuck longest.
    pub stuck: Option<Trouble>,
    /// Events that were not stored in this run because copies of them are.
    pub duplicates: u64,
    /// Message ids by which a second copy is recognised.
    pub remembered_ids: usize,
    /// The lanes: rewards, decisions, events.
    pub lanes: [LaneStatus; Lane::ALL.len()],
}

/// What is wrong at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// When it began, µs since 1970 UTC; it may have changed its reason since.
    pub since_us: TimeUs,
    /// What it is, in words.
    pub why: String,
}

/// How one lane is. `accepted` = `stored` + `refused` + `dropped` + `resting`, but for what moves while it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneStatus {
    /// Which.
    pub lane: Lane,
    /// Items handed over in this run.
    pub accepted: u64,
    /// Items on disk.
    pub stored: u64,
    /// Bytes that they took there in this run.
    pub stored_bytes: u64,
    /// Items not taken; their sender was told.
    pub refused: u64,
    /// Items given up.
    pub dropped: u64,
    /// Items in memory, on their way to disk.
    pub resting: u64,
    /// Records that lost their inputs.
    pub inputs_dropped: u64,
    /// Items acknowledged by the core in this run, those of earlier runs included.
    pub published: u64,
    /// Bytes on disk that the core has not acknowledged.
    pub backlog_bytes: u64,
    /// Bytes there may be.
    pub limit_bytes: u64,
    /// Segment files.
    pub files: usize,
    /// Age of the oldest block that the core has not acknowledged.
    pub oldest_age_ms: Option<u64>,
    /// Bytes of damaged segments that were stepped over.
    pub lost_bytes: u64,
}

// === impl OutboxStatus ===

impl OutboxStatus {
    pub(super) fn of(shared: &Shared) -> Self {
        let now_us = shared.clock.now_us();
        let resting = shared.queue.resting();
        let lanes = Lane::ALL.map(|lane| {
            let (metrics, log) = (shared.metrics.lane(lane), shared.log(lane));
            LaneStatus {
                lane,
                accepted: metrics.accepted.get(),
                stored: metrics.stored.get(),
                stored_bytes: metrics.stored_bytes.get(),
                refused: total(&metrics.refused),
                dropped: total(&metrics.dropped),
                resting: resting[lane as usize],
                inputs_dropped: total(&metrics.inputs_dropped),
                published: metrics.published.get(),
                backlog_bytes: log.backlog_bytes(),
                limit_bytes: shared.config.lane_bytes(lane),
                files: log.files(),
                oldest_age_ms: log.oldest_us().map(|oldest_us| (now_us - oldest_us).max(0) as u64 / 1000),
                lost_bytes: metrics.lost_bytes.get(),
            }
        });
        Self {
            node: shared.node.clone(),
            epoch: shared.epoch,
            failing: shared.failing.get(),
            duplicates: shared.metrics.duplicates.get(),
            remembered_ids: shared.seen.len(),
            stuck: shared.stuck.iter().filter_map(Alarm::get).min_by_key(|trouble| trouble.since_us),
            lanes,
        }
    }

    /// Whether everything that is durable has been acknowledged by the core.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.backlog_bytes == 0)
    }

    /// Whether the lane has less than a twentieth of its bytes left.
    pub fn is_nearly_full(&self, lane: Lane) -> bool {
        let lane = &self.lanes[lane as usize];
        lane.backlog_bytes > lane.limit_bytes / 20 * 19
    }
}

fn as_text<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(epoch)
}
