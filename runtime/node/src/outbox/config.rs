//! The outbox's bounds and delays. Owns no text form: that is the node's config.

use std::path::PathBuf;
use std::time::Duration;

use super::block::{HEADER_BYTES, MAX_WEIGHT};
use super::{Lane, Refused};
use crate::events::Event;

/// What the columns of a block with one event take beyond its texts, in bytes; rounded up.
const COLUMNS_BYTES: usize = 256;

/// Bounds and delays of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxConfig {
    /// The directory; nothing else may be in it.
    pub dir: PathBuf,
    /// Bytes of rewards on disk that the core has not acknowledged. The files take up to one segment more.
    pub rewards_bytes: u64,
    /// The same of decision records.
    pub decisions_bytes: u64,
    /// The same of events.
    pub events_bytes: u64,
    /// The size at which a segment file ends.
    pub segment_bytes: u64,
    /// The size of a block, which is one message: must be less than the server's `max_payload`.
    pub block_bytes: usize,
    /// How long a decision record may rest in memory.
    pub record_delay: Duration,
    /// Decision records that may rest in memory.
    pub resting_records: usize,
    /// Bytes of each lane that may rest in memory.
    pub resting_bytes: usize,
    /// Blocks of a lane on their way to the core at once.
    pub window: usize,
    /// Bytes of a lane on their way to the core at once.
    pub window_bytes: usize,
    /// How long an acknowledgement may take.
    pub ack_timeout: Duration,
    /// What a sender is told to wait when a lane is full.
    pub retry_after_s: u64,
    /// zstd's level.
    pub compression: i32,
    /// Message ids that are remembered, so that second copies are not stored; 0 for none.
    pub dedupe_ids: usize,
}

// === impl OutboxConfig ===

impl OutboxConfig {
    /// The defaults for an outbox in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            rewards_bytes: 1 << 30,
            decisions_bytes: 4 << 30,
            events_bytes: 4 << 30,
            segment_bytes: 16 << 20,
            block_bytes: 512 << 10,
            record_delay: Duration::from_millis(5),
            resting_records: 50_000,
            resting_bytes: 64 << 20,
            window: 256,
            window_bytes: 16 << 20,
            ack_timeout: Duration::from_secs(5),
            retry_after_s: 5,
            compression: 1,
            dedupe_ids: 1_000_000,
        }
    }

    /// What an event may weigh ([`Event::weight`](crate::events::Event::weight)), in bytes: half a block. An event within
    /// this fits into a block however badly it compresses.
    pub fn max_event_bytes(&self) -> usize {
        (self.block_bytes / 2).min(self.block_bytes.saturating_sub(HEADER_BYTES + COLUMNS_BYTES)).min(MAX_WEIGHT)
    }

    /// Refuses what would not fit into an empty outbox either.
    pub(super) fn check_fits(&self, batch: [(Lane, &[Event]); 2]) -> Result<(), Refused> {
        let (limit, block) = (self.max_event_bytes(), self.block_bytes);
        let heaviest = batch.iter().flat_map(|(_, events)| *events).map(Event::weight).max().unwrap_or(0);
        if heaviest > limit {
            let why =
                format!("an event takes {heaviest} bytes; {limit} fit into a block of {block}: raise outbox.block");
            return Err(Refused::TooLarge { why, limit });
        }
        for (lane, events) in batch {
            let bytes: usize = events.iter().map(Event::weight).sum();
            let limit = self.resting_bytes.min(usize::try_from(self.lane_bytes(lane)).unwrap_or(usize::MAX));
            if bytes > limit {
                let why = format!(
                    "the {lane} of this batch take {bytes} bytes, all that lane may hold is {limit}: send fewer at once, or \
                     raise outbox.max_{lane} and outbox.max_resting_bytes"
                );
                return Err(Refused::TooLarge { why, limit });
            }
        }
        Ok(())
    }

    pub(super) fn lane_bytes(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Rewards => self.rewards_bytes,
            Lane::Decisions => self.decisions_bytes,
            Lane::Events => self.events_bytes,
        }
    }
}
