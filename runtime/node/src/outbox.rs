//! The outbox: the durable queue of events, rewards and decision records on their way to the core. Owns the order in which
//! they are told, (node, epoch, lane, seq), and the promise that what was answered 202 is told; must not decide, and must not
//! make a decision wait.
//!
//! An append goes past `seen`, which keeps second copies out, to the `queue`; the `writer` makes a group durable as one `block`
//! a lane, the lane's `log` knows which segments hold what, `publish` sends them over the link, and `reader` counts every item
//! once.

pub mod block;
mod config;
mod epoch;
mod files;
mod json;
mod log;
mod metrics;
mod publish;
mod queue;
pub mod reader;
#[cfg(test)]
pub(crate) mod samples;
mod seen;
mod segments;
mod status;
mod writer;

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use selvedge_decision::{DecisionId, Epoch, NodeId, Record, TimeUs};
use serde::Serialize;

pub use config::OutboxConfig;
pub use epoch::EpochError;
pub use json::write_line;
pub use metrics::{Cause, Metrics, Setback};
pub use status::{LaneStatus, OutboxStatus, Trouble};

use crate::clock::Clock;
use crate::events::{Event, RejectCode};
use files::Disk;
use log::LaneLog;
use metrics::Counters;
use queue::{NotStored, NotTaken, Queue, RecordTaken};
use seen::Seen;
use writer::Writer;

/// A class of items, with its own order, bounds and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// What decisions brought.
    Rewards,
    /// Decision records.
    Decisions,
    /// All other events.
    Events,
}

/// The outbox. Cheap to clone: all clones are one outbox; when the last is dropped, what rests is written and the writer
/// ends.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    writer: Arc<WriterThread>,
}

/// Whoever learns of what is stored once it is durable.
pub trait Follower: fmt::Debug + Send + Sync {
    /// Events of one lane are on disk, numbered from `first_seq` on. Called in their order, before their senders are told.
    fn stored(&self, lane: Lane, first_seq: u64, events: &[Event]);

    /// Decision records are on disk, numbered from `first_seq` on. Called in their order, before [`Follower::stored`] of the events
    /// of the same group.
    fn recorded(&self, first_seq: u64, records: &[Record]) {
        let _ = (first_seq, records);
    }
}

/// The seqs that one lane gave to the events of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// The first.
    pub first: u64,
    /// How many, without a gap.
    pub count: u64,
}

/// A batch that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// The seqs of its rewards, in the order they were given.
    pub rewards: Option<SeqRange>,
    /// The seqs of its other events, in the order they were given.
    pub events: Option<SeqRange>,
    /// Events that were not stored because copies of them are: their message ids were seen before, or stand in it twice.
    pub duplicates: u64,
}

/// Why nothing of a batch was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room; the sender keeps the events.
    #[error("the outbox is full: the core has not taken what is in it; try again in {retry_after_s} s")]
    Full {
        /// When to try again.
        retry_after_s: u64,
    },
    /// It never fits: waiting does not help.
    #[error("{why}")]
    TooLarge {
        /// What is too large, and which setting or what smaller batch would do.
        why: String,
        /// What it may weigh, in bytes.
        limit: usize,
    },
    /// The disk failed, or the node is stopping. What a failed disk holds is unknown, but it was not promised.
    #[error("the events could not be made durable: {why}")]
    Failed {
        /// What went wrong.
        why: String,
    },
}

/// Why an outbox does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the outbox {dir} is in use by another process: every node needs a data directory of its own")]
    InUse {
        /// The directory.
        dir: String,
    },
    /// The directory cannot be used.
    #[error("cannot open the outbox {dir}: {error}")]
    Io {
        /// The directory.
        dir: String,
        /// What went wrong.
        error: io::Error,
    },
    /// There is no epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}

/// What appenders, writer and publisher share.
#[derive(Debug)]
struct Shared {
    config: OutboxConfig,
    node: NodeId,
    epoch: Epoch,
    clock: Clock,
    disk: Disk,
    queue: Queue,
    seen: Arc<Seen>,
    logs: [LaneLog; Lane::ALL.len()],
    metrics: Counters,
    followers: OnceLock<Vec<Arc<dyn Follower>>>,
    /// Why the last group was not stored.
    failing: Alarm,
    /// Why the last block of each lane was not published.
    stuck: [Alarm; Lane::ALL.len()],
}

/// The writer's thread and the lock on the directory, both held as long as there is a handle.
struct WriterThread {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

/// What is wrong at the moment, if anything is.
#[derive(Debug, Default)]
struct Alarm(Mutex<Option<Trouble>>);

// === impl Lane ===

impl Lane {
    /// Every lane, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Rewards, Self::Decisions, Self::Events];

    /// Its name in subjects, files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewards => "rewards",
            Self::Decisions => "decisions",
            Self::Events => "events",
        }
    }

    /// Its number in a block.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Outbox ===

impl Outbox {
    /// Opens the outbox: locks the directory, looks at what earlier runs left, makes a new epoch durable, starts the writer.
    /// Blocks on the disk.
    pub fn open(config: OutboxConfig, node: NodeId, clock: Clock) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { dir: config.dir.display().to_string(), error };
        let disk = Disk::open(&config.dir).map_err(io)?;
        Self::open_on(disk, config, node, clock)
    }

    fn open_on(disk: Disk, config: OutboxConfig, node: NodeId, clock: Clock) -> Result<Self, OpenError> {
        let dir = config.dir.display().to_string();
        let io = |error| OpenError::Io { dir: dir.clone(), error };
        let lock = File::create(disk.path("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { dir }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let old = segments::recover(&disk).map_err(io)?;
        let seen = old.iter().map(|segment| segment.id.epoch).max();
        let epoch = epoch::mint(&config.dir, seen, clock.now_us())?;
        let backlog_bytes: u64 = old.iter().map(|segment| segment.end).sum();
        tracing::info!(%epoch, segments = old.len(), backlog_bytes, "outbox opened");
        let logs = Lane::ALL.map(|lane| LaneLog::new(old.iter().filter(|segment| segment.id.lane == lane).cloned()));
        let queue = Queue::new(config.record_delay, config.resting_bytes, config.resting_records);
        let (seen, seen_file) = seen::open(&disk, config.dedupe_ids, &old);
        let shared = Arc::new(Shared {
            config,
            node,
            epoch,
            clock,
            disk: disk.clone(),
            queue,
            seen,
            logs,
            metrics: Counters::default(),
            followers: OnceLock::new(),
            failing: Alarm::default(),
            stuck: Default::default(),
        });
        let writer = Writer::new(Arc::clone(&shared), disk, seen_file);
        let thread = std::thread::Builder::new().name("outbox".to_owned()).spawn(move || writer.run()).map_err(io)?;
        let writer = WriterThread { shared: Arc::clone(&shared), thread: Mutex::new(Some(thread)), _lock: lock };
        Ok(Self { shared, writer: Arc::new(writer) })
    }

    /// Tells `followers` of every group from now on, in this order. Once: others are not told anything, which `false` says.
    pub fn follow(&self, followers: Vec<Arc<dyn Follower>>) -> bool {
        self.shared.followers.set(followers).is_ok()
    }

    /// Holds the segments of a lane back, also those that the core has, until [`Outbox::kept`] and [`Outbox::kept_earlier`] say
    /// that their items are kept elsewhere.
    pub(crate) fn hold(&self, lane: Lane) {
        self.shared.log(lane).hold(self.shared.epoch);
    }

    /// The items of this run below `seq` are kept elsewhere: their segments go once the core has them. Blocks.
    pub(crate) fn kept(&self, lane: Lane, seq: u64) {
        self.discard(self.shared.log(lane).kept(seq));
    }

    /// As [`Outbox::kept`], for all items of earlier runs.
    pub(crate) fn kept_earlier(&self, lane: Lane) {
        self.discard(self.shared.log(lane).kept_earlier());
    }

    fn discard(&self, done: Vec<log::Done>) {
        done.iter().for_each(|done| self.shared.disk.discard(done));
    }

    /// The events of earlier runs that are still on disk, in their order, with the number of the first of each block. What
    /// cannot be read is left out, and the publisher tells. Blocks.
    pub(crate) fn earlier_events(&self, mut each: impl FnMut(&NodeId, Epoch, u64, Vec<Event>)) {
        let segments = match reader::segments(&self.shared.config.dir) {
            Ok(segments) => segments,
            Err(error) => return tracing::error!(%error, "cannot list what earlier runs left"),
        };
        for bytes in segments.of(Lane::Events, self.shared.epoch).filter_map(Result::ok) {
            if let Ok((header, block::Items::Events(events))) = block::decode(&bytes) {
                each(&header.node, header.epoch, header.first_seq, events);
            }
        }
    }

    /// A decision that is still on disk, looked for until `until`; and whether all that is there was looked through. Blocks.
    pub(crate) fn find_record(&self, id: DecisionId, until: Instant) -> (Option<Record>, bool) {
        let segments = match reader::segments(&self.shared.config.dir) {
            Ok(segments) => segments,
            Err(error) => {
                tracing::warn!(%error, "cannot list the outbox");
                return (None, false);
            }
        };
        for bytes in segments.of_lane(Lane::Decisions).filter_map(Result::ok) {
            if Instant::now() >= until {
                return (None, false);
            }
            let Ok((_, block::Items::Records(records))) = block::decode(&bytes) else { continue };
            if let Some(found) = records.into_iter().find(|record| record.id == id) {
                return (Some(found), true);
            }
        }
        (None, true)
    }

    /// The epoch of this run.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// Stores a batch, all of it or nothing, but for events whose copies are stored already. When this resolves to `Ok`, the
    /// batch is durable. Dropping the future does not take the batch back.
    pub async fn append_events(&self, mut events: Vec<Event>) -> Result<Accepted, Refused> {
        let sent = events.len();
        let claim = self.shared.seen.claim(&mut events).await;
        let duplicates = (sent - events.len()) as u64;
        let (mut rewards, mut events) = split(events);
        let counts = [(Lane::Rewards, rewards.len() as u64), (Lane::Events, events.len() as u64)];
        if counts.iter().all(|(_, count)| *count == 0) {
            self.shared.metrics.duplicates.inc_by(duplicates);
            return Ok(Accepted { duplicates, ..Accepted::default() });
        }
        for (lane, count) in counts {
            self.shared.metrics.lane(lane).accepted.inc_by(count);
        }
        let refuse = |cause| {
            for (lane, count) in counts {
                self.shared.metrics.lane(lane).refused(cause).inc_by(count);
            }
        };
        if let Err(refused) = self.shared.config.check_fits([(Lane::Rewards, &rewards), (Lane::Events, &events)]) {
            refuse(Cause::TooLarge);
            return Err(refused);
        }
        let full = Refused::Full { retry_after_s: self.shared.config.retry_after_s };
        match self.shared.queue.push_events(&mut rewards, &mut events, claim, |lane| self.shared.room(lane)) {
            Ok(taken) => match taken.stored.await {
                Ok(Ok(())) => {
                    self.shared.metrics.duplicates.inc_by(duplicates);
                    Ok(Accepted { duplicates, ..taken.accepted })
                }
                Ok(Err(NotStored::DiskFull)) => Err(full),
                Ok(Err(NotStored::Failed(why))) => Err(Refused::Failed { why }),
                Err(_) => Err(Refused::Failed { why: "the writer ended".to_owned() }),
            },
            Err(NotTaken::Full) => {
                refuse(Cause::Full);
                Err(full)
            }
            Err(NotTaken::Closed) => {
                refuse(Cause::Failed);
                Err(Refused::Failed { why: "the outbox is closed".to_owned() })
            }
        }
    }

    /// Takes a decision record for the next group; never waits for the disk. A record that finds no room loses its inputs,
    /// then is dropped; both are counted.
    pub fn append_record(&self, record: Record) {
        let bytes = block::record_weight(&record);
        let inputs = record.inputs.as_ref().map_or(0, block::inputs_weight);
        let metrics = self.shared.metrics.lane(Lane::Decisions);
        metrics.accepted.inc();
        match self.shared.queue.push_record(record, bytes, bytes - inputs, self.shared.room(Lane::Decisions)) {
            RecordTaken::Whole => {}
            RecordTaken::WithoutInputs => _ = metrics.inputs_dropped(Cause::Full).inc(),
            RecordTaken::Dropped(NotTaken::Full) => _ = metrics.dropped(Cause::Full).inc(),
            RecordTaken::Dropped(NotTaken::Closed) => _ = metrics.dropped(Cause::Failed).inc(),
        }
    }

    /// Stores records that pages sent, all of them or none, but for those whose copies are stored already: how many these were.
    /// When this resolves to `Ok`, they are durable. They fill half of their lane at most: the rest is for what this node decides.
    pub async fn append_page_records(&self, mut records: Vec<Record>) -> Result<u64, Refused> {
        let sent = records.len();
        let claim = self.shared.seen.claim_records(&mut records).await;
        let duplicates = (sent - records.len()) as u64;
        let metrics = self.shared.metrics.lane(Lane::Decisions);
        metrics.accepted.inc_by(records.len() as u64);
        if records.is_empty() {
            self.shared.metrics.duplicates.inc_by(duplicates);
            return Ok(duplicates);
        }
        let count = records.len() as u64;
        let full = Refused::Full { retry_after_s: self.shared.config.retry_after_s };
        let weighed = |record: Record| {
            let weight = block::record_weight(&record);
            (record, weight)
        };
        let records = records.into_iter().map(weighed).collect();
        let room = self.shared.room_of_pages();
        match self.shared.queue.push_records(records, claim, room) {
            // What the writer does not store it counts as dropped.
            Ok(stored) => match stored.await {
                Ok(Ok(())) => {
                    self.shared.metrics.duplicates.inc_by(duplicates);
                    Ok(duplicates)
                }
                Ok(Err(NotStored::DiskFull)) => Err(full),
                Ok(Err(NotStored::Failed(why))) => Err(Refused::Failed { why }),
                Err(_) => Err(Refused::Failed { why: "the writer ended".to_owned() }),
            },
            Err(NotTaken::Full) => {
                metrics.refused(Cause::Full).inc_by(count);
                Err(full)
            }
            Err(NotTaken::Closed) => {
                metrics.refused(Cause::Failed).inc_by(count);
                Err(Refused::Failed { why: "the outbox is closed".to_owned() })
            }
        }
    }

    /// Counts events that were not taken, by what was wrong with them, so that the exported balance covers everything senders sent.
    pub fn reject_events(&self, codes: impl IntoIterator<Item = RejectCode>) {
        for code in codes {
            self.shared.metrics.rejected(code).inc();
        }
    }

    /// Counts events that were taken without the decision that they named.
    pub fn detach_events(&self, count: usize) {
        self.shared.metrics.detached.inc_by(count as u64);
    }

    /// Resolves when everything appended before is written.
    pub async fn flush(&self) {
        if let Some(written) = self.shared.queue.push_flush() {
            // The sender can only be dropped when the writer has ended: then nothing is left to wait for.
            drop(written.await);
        }
    }

    /// Resolves when the core has acknowledged everything that is durable now. Needs a [`Outbox::drain`] that runs; give it
    /// a deadline.
    pub async fn drained(&self) {
        for log in &self.shared.logs {
            loop {
                let acked = log.acked.notified();
                tokio::pin!(acked);
                acked.as_mut().enable();
                if log.backlog_bytes() == 0 {
                    break;
                }
                acked.await;
            }
        }
    }

    /// How it is.
    pub fn status(&self) -> OutboxStatus {
        OutboxStatus::of(&self.shared)
    }

    /// What it counts.
    pub fn metrics(&self) -> Metrics {
        Metrics(Arc::clone(&self.shared))
    }

    /// Takes nothing more, writes what rests and ends the writer; blocks until then. Dropping the last handle does the same.
    pub fn close(&self) {
        self.writer.close();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("dir", &self.shared.config.dir).field("epoch", &self.shared.epoch).finish()
    }
}

/// Rewards, and all other events, each in the order they were given.
fn split(events: Vec<Event>) -> (Vec<Event>, Vec<Event>) {
    if events.iter().all(|event| event.lane() == Lane::Events) {
        return (Vec::new(), events);
    }
    events.into_iter().partition(|event| event.lane() == Lane::Rewards)
}

// === impl Shared ===

impl Shared {
    fn log(&self, lane: Lane) -> &LaneLog {
        &self.logs[lane as usize]
    }

    /// Bytes that the lane may still have on disk.
    fn room(&self, lane: Lane) -> u64 {
        self.config.lane_bytes(lane).saturating_sub(self.log(lane).backlog_bytes())
    }

    /// The same of decisions, for records of pages.
    fn room_of_pages(&self) -> u64 {
        let lane = Lane::Decisions;
        (self.config.lane_bytes(lane) / 2).saturating_sub(self.log(lane).backlog_bytes())
    }

    fn stamp(&self, lane: Lane, first_seq: u64, sealed_us: TimeUs) -> block::Stamp {
        block::Stamp { lane, node: self.node.clone(), epoch: self.epoch, first_seq, sealed_us }
    }
}

// === impl Alarm ===

impl Alarm {
    /// There is trouble; one that is there already keeps the time it began.
    fn raise(&self, now_us: TimeUs, why: String) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One line when trouble begins or changes, not one for every group.
        if current.as_ref().is_none_or(|trouble| trouble.why != why) {
            tracing::warn!(why, "outbox in trouble");
        }
        let since_us = current.as_ref().map_or(now_us, |trouble| trouble.since_us);
        *current = Some(Trouble { since_us, why });
    }

    fn clear(&self) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!("outbox out of trouble");
        }
    }

    fn get(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl WriterThread ===

impl WriterThread {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the outbox's writer ended by a panic");
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
